"""Keyword arguments are typed: editors and type checkers see what the spec's fields are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from lmconf.schema.declaration import fields
from lmconf.spec.build import CALL_FIELDS
from lmconf.spec.keywords import CallSettings, CopySettings, LMSettings
from lmconf.spec.lm import LMSpec

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """\
from typing_extensions import Unpack

import lmconf
from lmconf import CallSettings

lm = lmconf.LM("openai/gpt-4o-mini", temperature=1, api_key=lmconf.Env("KEY"), callbacks=[object()],
               cache=False, timeout="20s", retry={"initial": 0.1}, api_base=None, fallbacks=["x"])
lm("hi", temperature=0.5, stop="x", n=2, rollout_id="a", cache={"mode": "refresh"}, deadline="2min")
lm.ask(messages=[{"role": "user", "content": "hi"}], response_format=dict, headers={"X-A": "b"})
lm.copy(model="openai/gpt-4o", model_type="chat", max_tokens=None, tools=[{"type": "function"}])
lm.batch(["a"], reasoning_effort="low", seed=1)


def twice(prompt: str, **settings: Unpack[CallSettings]) -> list[str]:
    return lm(prompt, **settings) + lm(prompt, **settings)


async def main() -> None:
    await lm.acall("hi", top_p=0.5)
    await lm.aask("hi", user="me")
    lm.stream("hi", logprobs=True)
    lm.astream("hi", extra={"top_k": 4})


lm("hi", temperature="hot")  # WRONG arg-type
lm("hi", temprature=0.1)  # WRONG call-arg
lm("hi", n="2")  # WRONG arg-type
lm("hi", api_key="sk")  # WRONG call-arg
lm("hi", stop=5)  # WRONG arg-type
lm.ask("hi", verbosity="lots")  # WRONG arg-type
lm.stream("hi", cache=3.5)  # WRONG arg-type
lm.batch(["a"], tempature=1)  # WRONG call-overload
lm.copy(models="x")  # WRONG call-arg
lmconf.LM("openai/x", max_token=3)  # WRONG call-arg
lmconf.LM("openai/x", num_retries="3")  # WRONG arg-type
twice("hi", temperature="hot")  # WRONG arg-type
"""


def test_the_keywords_are_the_fields_of_the_spec() -> None:
    assert set(get_type_hints(CallSettings)) == CALL_FIELDS
    named = set(get_type_hints(LMSettings))
    assert named == set(fields(LMSpec)) - {"model", "model_type"}
    assert set(get_type_hints(CopySettings)) == set(fields(LMSpec))
    assert not CopySettings.__required_keys__


@pytest.mark.slow
def test_a_type_checker_accepts_what_fits_and_refuses_the_rest(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(program)]
    command += ["--cache-dir", str(tmp_path / "cache"), "--follow-imports", "silent"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = set(re.findall(r"program\.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout))
    wrong = {
        (str(number), line.partition("# WRONG ")[2])
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if "# WRONG" in line
    }
    assert found == wrong, done.stdout + done.stderr
