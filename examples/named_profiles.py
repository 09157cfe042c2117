"""Loading named LMs in code: roles, inheritance, and overrides that touch no file.

    python examples/named_profiles.py
"""

from __future__ import annotations

from pathlib import Path

import lmconf

TEAM = Path(__file__).parent / "profiles" / "team.yaml"


def main() -> None:
    with lmconf.load(TEAM) as team:
        print("LMs:", ", ".join(team))
        print("main:", team.lm.name, "with max_tokens", team.lm.spec.max_tokens)

        # The reference's call: a list of texts.
        print(team["answerer"]("What is the capital of France?"))
        # A call's own settings.
        print(team["answerer"]("What is 3 + 4?", temperature=0.7, cache=False))
        # A second turn.
        print(
            team["terse"](
                messages=[
                    {"role": "user", "content": "What is the capital of Japan?"},
                    {"role": "assistant", "content": "The capital of Japan is Tokyo."},
                    {"role": "user", "content": "And of France?"},
                ]
            )
        )
        print("calls so far:", len(team["answerer"].history))

    # The same profile, with other values laid over it.
    with lmconf.load(TEAM, overrides={"lms.*.temperature": 0.3}, vars={"words": 10}) as changed:
        spec = changed.lm.spec
        print("changed:", spec.temperature, spec.max_tokens)


if __name__ == "__main__":
    main()
