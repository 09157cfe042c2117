"""Answers from the cache: from memory in a running process, and from disk in a new one."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import lmconf
from benchmarks.peers import Dictionary
from benchmarks.server import ANSWER, serving
from benchmarks.timing import Row, in_process, on_a_loop, processes

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
        yield from _memory(base, has_dspy=has_dspy)
        yield from _memory_on_a_loop(base, has_dspy=has_dspy)
        yield _disk(base, has_dspy=has_dspy)


# litellm's own cache is no peer: with what its base install brings, a hit raises an ImportError.
def _memory(base: str, *, has_dspy: bool) -> Iterator[Row]:
    with _filled(base) as lm:
        floor = Dictionary()
        messages = [{"role": "user", "content": PROMPT}]
        floor.put(messages, ANSWER)
        peers: list[tuple[str, Callable[[], object]]] = []
        if has_dspy:
            other = import_module("dspy").LM(MODEL, api_base=base, api_key="none")
            other(PROMPT)
            peers.append(("dspy.LM", lambda: other(PROMPT)))
        peers.append(("a dict of JSON", lambda: floor.get(messages)))
        for name, peer in peers:
            mine, theirs = in_process(lambda: lm(PROMPT), peer, rounds=15, calls=500)
            assert theirs is not None
            yield Row("a hit in memory", mine * 1e6, "µs", name, theirs * 1e6, "<= 10 µs")


def _memory_on_a_loop(base: str, *, has_dspy: bool) -> Iterator[Row]:
    async def main() -> tuple[float, float | None]:
        with _filled(base) as lm:
            theirs: Callable[[], Awaitable[object]] | None = None
            if has_dspy:
                other = import_module("dspy").LM(MODEL, api_base=base, api_key="none")
                other(PROMPT)
                theirs = lambda: other.acall(PROMPT)  # noqa: E731 - a name for what is timed
            return await on_a_loop(lambda: lm.acall(PROMPT), theirs, rounds=15, calls=500)

    mine, peer = asyncio.run(main())
    name = "dspy.LM" if has_dspy else "(dspy is not installed)"
    yield Row("a hit in memory, async", mine * 1e6, "µs", name, peer and peer * 1e6, "<= 10 µs")


@contextmanager
def _filled(base: str) -> Iterator[lmconf.LM]:
    """Give an LM whose answer to the prompt is in memory."""
    with lmconf.LM(MODEL, api_base=base, api_key="") as lm:
        lm(PROMPT)
        yield lm


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
