"""What tests see of other threads and processes."""

from __future__ import annotations

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
