"""The model that ships answers in DSPy's formats, and the page about DSPy is true of it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

import lmconf
from tests.pages import with_assertions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/dspy.md").read_text(encoding="utf-8")
ANSWERS = {
    "What is the capital of Japan?": "Tokyo",
    "What is 3 + 4?": "7",
    "What is the opposite of hot?": "Cold",
}

pytestmark = pytest.mark.slow


@pytest.fixture
def profile() -> Iterator[lmconf.Profile]:
    assert importlib.util.find_spec("xllamacpp"), "the model needs the extra `local`"
    with lmconf.load("demo") as loaded:
        yield loaded


def test_the_model_answers_in_dspys_formats(profile: lmconf.Profile) -> None:
    adapted = profile.lm.as_dspy()
    predict = dspy.Predict("question -> answer")
    for adapter in (dspy.ChatAdapter(use_json_adapter_fallback=False), dspy.JSONAdapter()):
        with dspy.context(lm=adapted, adapter=adapter):
            got = {question: predict(question=question).answer for question in ANSWERS}
        assert got == ANSWERS

    class Sum(dspy.Signature):  # type: ignore[misc]
        """Answer the question."""

        question: str = dspy.InputField()
        answer: int = dspy.OutputField()

    async def both() -> list[Any]:
        solve = dspy.ChainOfThought("question -> answer")
        return list(await asyncio.gather(*(solve.acall(question=one) for one in ANSWERS)))

    with dspy.context(lm=adapted):
        assert isinstance(dspy.Predict(Sum)(question="What is 3 + 4?").answer, int)
        assert [one.answer for one in asyncio.run(both())] == list(ANSWERS.values())
    assert profile.lm.usage.calls >= 2 * len(ANSWERS)


def test_the_python_shown_runs_and_comes_to_what_is_shown(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    script = "".join(map(with_assertions, blocks))
    assert script.count("assert repr(") == PAGE.count("# -> ") > 0
    (tmp_path / "shown.py").write_text(script, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "shown.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
