"""A DSPy program whose LM comes from a profile: asked, streamed, scored, saved and loaded.

pip install 'lmconf-runtime[dspy,local]'
python examples/dspy_program.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import dspy

import lmconf
import lmconf.dspy

QUESTIONS = {
    "What is the capital of Japan?": "Tokyo",
    "What is 3 + 4?": "7",
    "What is the opposite of hot?": "Cold",
}


def main() -> None:
    dspy.disable_logging()  # its evaluation tells the score as well
    with lmconf.load("demo") as profile, tempfile.TemporaryDirectory() as folder:
        dspy.configure(lm=profile.lm.as_dspy())
        program = dspy.ChainOfThought("question -> answer")

        prediction = program(question="What is the capital of Japan?")
        print(f"asked: {prediction.answer} ({prediction.reasoning})")
        asyncio.run(stream(program, "What is the capital of France?"))
        print(f"scored: {score(program)}")

        # What is saved names the LM; what the LM is, the profile says.
        program.set_lm(profile.lm.as_dspy(temperature=0.0, max_tokens=60))
        program.save(file := Path(folder, "program.json"))
        again = lmconf.dspy.load(dspy.ChainOfThought("question -> answer"), file, profile)
        lm = again.get_lm()
        print(f"loaded: {again(question='What is 3 + 4?').answer}, with max_tokens", end=" ")
        print(lm.kwargs["max_tokens"])

        with dspy.track_usage() as tracker:
            program(question="What is 3 + 4?")
        print(f"asked again, from the cache: {tracker.get_total_tokens() or 'no'} tokens")


async def stream(program: Any, question: str) -> None:
    """Show the reasoning while it comes."""
    listener = dspy.streaming.StreamListener(signature_field_name="reasoning")
    print("streamed:", end=" ")
    async for value in dspy.streamify(program, stream_listeners=[listener])(question=question):
        if isinstance(value, dspy.streaming.StreamResponse):
            print(value.chunk, end="", flush=True)
    print()


def score(program: Any) -> float:
    examples = [dspy.Example(question=q, answer=a) for q, a in QUESTIONS.items()]
    evaluate = dspy.Evaluate(
        devset=[example.with_inputs("question") for example in examples],
        metric=lambda example, prediction, trace=None: example.answer == prediction.answer,
        num_threads=2,
        display_progress=False,
    )
    result: float = evaluate(program).score
    return result


if __name__ == "__main__":
    main()
