"""How far a batch has come: one line on a terminal that rewrites itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

from lmconf.errors import UsageError

__all__ = ["Progress", "Tell", "progress_reporter"]

Tell: TypeAlias = Callable[[int, int], object]
"""Is called with how many items have ended and how many there are."""

Progress: TypeAlias = bool | Tell
"""True for a line on standard error, if that is a terminal; or what is called after each item."""

_BETWEEN = 0.1  # seconds from one rewriting to the next
_ERASE = "\x1b[K"  # what an older, longer line leaves behind


@contextmanager
def progress_reporter(progress: Progress) -> Iterator[Tell]:
    """Return what is to be called after each item of a batch.

    Raises:
        UsageError: `progress` is neither a bool nor callable.
    """
    if not isinstance(progress, bool):
        if not callable(progress):
            raise UsageError(
                f"progress must be true, false or a function, not {type(progress).__name__}"
            )
        yield progress
    elif progress and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        line = _ProgressLine(sys.stderr)
        try:
            yield line.tell
        finally:
            line.end()
    else:
        yield lambda _, __: None


class _ProgressLine:
    def __init__(self, out: TextIO) -> None:
        self._out: TextIO | None = out
        self._begun = time.monotonic()
        self._told: float | None = None

    def tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or self._told is None or now - self._told >= _BETWEEN:
            self._told = now
            self._write(f"\r{_progress_text(done, total, now - self._begun)}{_ERASE}")

    def end(self) -> None:
        """Leave the line as it is, and begin the next."""
        if self._told is not None:
            self._write("\n")

    def _write(self, text: str) -> None:
        if self._out is None:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._out = None  # the terminal went away: the batch goes on without it


def _progress_text(done: int, total: int, seconds: float) -> str:
    text = f"{done:,} of {total:,} ({done / total:.0%}), {done / max(seconds, 1e-6):,.1f}/s"
    if done < total:
        left = round(seconds / done * (total - done))
        hours, minutes, rest = left // 3600, left // 60 % 60, left % 60
        clock = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
        text += f", {clock} left"
    return text
