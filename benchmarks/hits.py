"""Answers from the cache: from memory in a running process, and from disk in a new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from benchmarks.server import serving
from benchmarks.timing import Row, in_process, processes

MODEL = "openai/benchmark"
PROMPT = "What is the capital of Japan?"
OURS = "import lmconf; lm = lmconf.LM({model!r}, api_base={base!r}, api_key=''); lm({prompt!r})"
DSPY = "import dspy; lm = dspy.LM({model!r}, api_base={base!r}, api_key='none'); lm({prompt!r})"


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, serving() as base:
        caches = {
            "LMCONF_CACHE_DIR": str(Path(folder) / "lmconf"),
            "DSPY_CACHEDIR": str(Path(folder) / "dspy"),
        }
        os.environ.update(caches)
        has_dspy = find_spec("dspy") is not None
        yield _memory(base, has_dspy=has_dspy)
        yield _disk(base, has_dspy=has_dspy)


def _memory(base: str, *, has_dspy: bool) -> Row:
    import lmconf

    lm = lmconf.LM(MODEL, api_base=base, api_key="")
    lm(PROMPT)
    theirs: Callable[[], object] | None = None
    if has_dspy:
        other = import_module("dspy").LM(MODEL, api_base=base, api_key="none")
        other(PROMPT)
        theirs = lambda: other(PROMPT)  # noqa: E731 - a name for the call that is timed
    mine, peer = in_process(lambda: lm(PROMPT), theirs, rounds=9, calls=500)
    lm.close()
    name = "dspy.LM" if has_dspy else "(dspy is not installed)"
    return Row("a hit in memory", mine * 1e6, "µs", name, peer and peer * 1e6, "<= 20 µs")


def _disk(base: str, *, has_dspy: bool) -> Row:
    words = {"model": MODEL, "base": base, "prompt": PROMPT}
    # The peer's line fills its own cache in the first, uncounted run.
    peer = DSPY.format(**words) if has_dspy else "pass"
    ours = OURS.format(**words)
    processes(["-c", ours], ["-c", peer], rounds=1)
    mine, theirs = processes(["-c", ours], ["-c", peer], rounds=7)
    name = "dspy.LM" if has_dspy else "bare Python"
    return Row(
        "an answer from disk, new process", mine * 1e3, "ms", name, theirs * 1e3, "<= 250 ms"
    )
