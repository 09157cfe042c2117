"""Counts the files of the package that one call runs code of; with `--check`, holds their bounds.

Two calls are counted, both warm: one that no cache answers, and a server on this machine does, and
one that the memory answers.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import lmconf
from benchmarks.server import serving
from tools.bounds import report_counts

ROOT = Path(__file__).resolve().parent.parent

BOUNDS = {"a call that no cache answers": 54, "a hit in memory": 16}
"""How many files each may run code of. A bound is lowered when the count falls."""

PROMPT = "What is the capital of Japan?"


def files_of(call: Callable[[], object]) -> list[str]:
    """Return the files of the package whose functions run in this thread during `call`."""
    package = str(ROOT / "lmconf") + os.sep
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    names = {code.co_filename for code in codes if code.co_filename.startswith(package)}
    return sorted(name.removeprefix(str(ROOT) + os.sep) for name in names)


def measure() -> dict[str, list[str]]:
    """Return the files of a call that a server answers, and of one that the memory answers."""
    with tempfile.TemporaryDirectory() as folder, serving() as base:
        os.environ["LMCONF_CACHE_DIR"] = folder
        with lmconf.LM("openai/benchmark", api_base=base, api_key="none") as lm:
            for prompt in (PROMPT, PROMPT, f"{PROMPT} Once more."):
                lm(prompt)
            return {
                "a call that no cache answers": files_of(lambda: lm(f"{PROMPT} In short.")),
                "a hit in memory": files_of(lambda: lm(PROMPT)),
            }


if __name__ == "__main__":
    sys.exit(report_counts(measure, BOUNDS, __doc__))
