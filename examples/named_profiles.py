"""Loading named LMs in code: roles, inheritance, and values that touch no file.

python examples/named_profiles.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import lmconf

TEAM = Path(__file__).parent / "profiles" / "team.yaml"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "calls.jsonl")
        with lmconf.load(TEAM, vars={"log": str(log)}) as team:
            ask(team)
        calls = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        print("the callback `audit` recorded:", ", ".join(call["lm"] for call in calls))

    # The same profile, with other values laid over it: no LM is called, so no server starts.
    with lmconf.load(TEAM, overrides={"lms.*.temperature": 0.3}, vars={"words": 10}) as variant:
        spec = variant.lm.spec
        print("with other values: temperature", spec.temperature, "max_tokens", spec.max_tokens)


def ask(team: lmconf.Profile) -> None:
    print("LMs:", ", ".join(team))
    print("main:", team.lm.name, "with max_tokens", team.lm.spec.max_tokens)

    answerer, terse = team["answerer"], team["terse"]
    # The call of dspy.LM: a list of texts.
    print(answerer("What is the capital of France?"))
    # A call's own settings.
    print(answerer("What is 3 + 4?", temperature=0.7, cache=False))
    # A conversation; `terse` extends `answerer` and may say less.
    print(
        terse(
            messages=[
                {"role": "user", "content": "What is the capital of Japan?"},
                {"role": "assistant", "content": "The capital of Japan is Tokyo."},
                {"role": "user", "content": "And of France?"},
            ]
        )
    )
    print("calls of answerer:", len(answerer.history), "of terse:", len(terse.history))


if __name__ == "__main__":
    main()
