"""The connection that an attempt waits for, and a way to end the wait from another thread."""

from __future__ import annotations

import time
import weakref
from contextvars import ContextVar
from typing import Protocol

__all__ = ["Cancellation", "ConnectionState", "Line", "current_cancellation", "use_cancellation"]

_IDLE_END = 2.0
"""Within how many seconds the end of a connection comes that the server had closed before it read
the request: a round trip, on a slow network or machine. What ends later may have been at work."""


class Line(Protocol):
    """The connection that an attempt waits for."""

    def close(self) -> None:
        """Close it, whoever waits for it."""


class Cancellation:
    """Ends the attempts that are made in some contexts."""

    def __init__(self) -> None:
        self.given = False
        self._attempts: weakref.WeakSet[ConnectionState] = weakref.WeakSet()

    def add(self, attempt: ConnectionState) -> None:
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


class ConnectionState:
    """What sockets and pools note of the connection of one attempt.

    `line` is the connection while a thread waits for it, `host` and `secure` where it leads,
    `answering` says that bytes of the answer came, and `closed` that this side closed it.
    """

    def __init__(self) -> None:
        self.line: Line | None = None
        self.host = ""
        self.secure = False
        self.answering = False
        self.closed = False
        self._reused_at: float | None = None
        self._unread = False
        self._cancellation = current_cancellation()
        if self._cancellation is not None:
            self._cancellation.add(self)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was given up while it waited."""
        return self._cancellation is not None and self._cancellation.given

    def cancel(self) -> None:
        """End the wait, from another thread than the one that waits."""
        if self._cancellation is None:
            self._cancellation = Cancellation()
            self._cancellation.add(self)
        self._cancellation.give()

    def begin(self, *, reused: bool) -> None:
        """Note that the request is sent from now on, on a new connection or on a reused one."""
        self._reused_at = time.monotonic() if reused else None
        self.answering = self._unread = False

    def end(self, *, unread: bool) -> None:
        """Note that the connection ended, and whether the server had not read the request then."""
        self._unread = unread

    def has_ended_idle(self) -> bool:
        """Say whether this is a reused connection that the server had closed unused.

        Then no byte of an answer came, the server's kernel did not take the request, and the end
        came within `_IDLE_END`.
        """
        if self._reused_at is None or self.answering or self.closed:
            return False
        late = time.monotonic() - self._reused_at >= _IDLE_END
        return self._unread and not late
