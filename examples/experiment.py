"""A reproducible experiment: the state that answered is kept beside the results.

A resolved state writes every value that has an effect, so that a later version's defaults change
nothing; loading it gives an equal LM, and its answers come from the cache.

    python examples/experiment.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import lmconf

PROFILE = Path(__file__).parent / "profiles" / "experiment.yaml"
QUESTIONS = (
    "What is the capital of Italy?",
    "What is 2 + 5?",
    "What is the opposite of hot?",
)


def run(folder: Path, temperature: float) -> None:
    """Answer every question at `temperature`, and keep results and state in `folder`."""
    with lmconf.load(PROFILE, vars={"temperature": temperature}) as profile:
        answers = [profile.lm.ask(question) for question in QUESTIONS]
    results = [
        {"question": question, "answer": answer.text, "usage": answer.usage}
        for question, answer in zip(QUESTIONS, answers, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    lmconf.dump(profile.lm, folder / f"t{temperature}.state.yaml")
    (folder / f"t{temperature}.results.json").write_text(json.dumps(results, indent=1))


def repeat(folder: Path, temperature: float) -> bool:
    """Answer again from the kept state; say whether every answer is the same, and kept."""
    results = json.loads((folder / f"t{temperature}.results.json").read_text())
    with lmconf.load(folder / f"t{temperature}.state.yaml") as profile:
        again = [profile.lm.ask(result["question"]) for result in results]
    return all(
        answer.text == result["answer"] and answer.cache_hit
        for answer, result in zip(again, results, strict=True)
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    for temperature in (0.0, 0.7):
        run(folder, temperature)
        alike = "the same" if repeat(folder, temperature) else "NOT the same"
        print(f"temperature {temperature}: answers from the kept state are {alike}")
    print("results and states are in", folder)


if __name__ == "__main__":
    main()
