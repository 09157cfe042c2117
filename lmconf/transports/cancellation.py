"""A way to end attempts from another thread than theirs."""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Protocol

__all__ = ["Cancellation", "Line", "current_cancellation", "use_cancellation"]


class Line(Protocol):
    """The connection that an attempt waits for."""

    def close(self) -> None:
        """Close it, whoever waits for it."""


class Waiting(Protocol):
    """An attempt that may be waiting for its connection."""

    line: Line | None


class Cancellation:
    """Ends the attempts that are made in some contexts."""

    def __init__(self) -> None:
        self.given = False
        self._attempts: weakref.WeakSet[Waiting] = weakref.WeakSet()

    def add(self, attempt: Waiting) -> None:
        """Note an attempt that begins."""
        self._attempts.add(attempt)

    def give(self) -> None:
        """Close the connections of the attempts that are under way; no further one is sent."""
        self.given = True
        for attempt in list(self._attempts):
            line = attempt.line
            if line is not None:
                line.close()


_cut: ContextVar[Cancellation | None] = ContextVar("lmconf_cut", default=None)


def use_cancellation(cut: Cancellation) -> None:
    """Let `cut` end what is sent in the current context."""
    _cut.set(cut)


def current_cancellation() -> Cancellation | None:
    """Return what may end what is sent in the current context."""
    return _cut.get()
