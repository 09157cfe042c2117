"""What tests see of other threads and processes, and how long things take."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path


def until(holds: Callable[[], object], *, within: float = 20.0, look: float = 0.02) -> None:
    """Wait until something holds, looking every `look` seconds; fail after `within` seconds."""
    late = time.monotonic() + within
    while not holds():
        assert time.monotonic() < late
        time.sleep(look)


def parent(pid: int) -> int:
    """The process that started `pid`, as Linux tells it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()


def seconds(work: Callable[[], object]) -> float:
    """How long something takes, in seconds."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def processor_seconds(work: Callable[[], object]) -> float:
    """What something takes of a processor in this thread, in seconds.

    Neither other threads nor what other tests left for the garbage collector count.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        begun = time.thread_time()
        work()
        return time.thread_time() - begun
    finally:
        if collects:
            gc.enable()
