"""Timing two things in turn, so that a machine whose speed drifts treats both alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure beside its peer's, in the same unit; `target` is what we aim for, in words."""

    what: str
    ours: float
    unit: str
    peer: str
    theirs: float | None
    target: str = ""


def in_process(
    ours: Callable[[], object], theirs: Callable[[], object] | None, *, rounds: int, calls: int
) -> tuple[float, float | None]:
    """Return the median seconds of CPU that one call of each takes, over interleaved rounds."""
    mine: list[float] = []
    other: list[float] = []
    for _ in range(rounds):
        mine.append(_cpu(ours, calls))
        if theirs is not None:
            other.append(_cpu(theirs, calls))
    return statistics.median(mine), statistics.median(other) if other else None


def _cpu(call: Callable[[], object], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls


async def on_a_loop(
    ours: Callable[[], Awaitable[object]],
    theirs: Callable[[], Awaitable[object]] | None,
    *,
    rounds: int,
    calls: int,
) -> tuple[float, float | None]:
    """Return what `in_process` returns of two things that are awaited."""
    mine: list[float] = []
    other: list[float] = []
    for _ in range(rounds):
        mine.append(await _acpu(ours, calls))
        if theirs is not None:
            other.append(await _acpu(theirs, calls))
    return statistics.median(mine), statistics.median(other) if other else None


async def _acpu(call: Callable[[], Awaitable[object]], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - began) / calls


def processes(
    ours: Sequence[str], theirs: Sequence[str], *, rounds: int, env: dict[str, str] | None = None
) -> tuple[float, float]:
    """Return the median wall seconds of two Python command lines, run in turn."""
    mine, other = [], []
    whole = {**os.environ, **(env or {})}
    for _ in range(rounds):
        mine.append(_wall(ours, whole))
        other.append(_wall(theirs, whole))
    return statistics.median(mine), statistics.median(other)


def _wall(words: Sequence[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=env)
    return time.perf_counter() - began
