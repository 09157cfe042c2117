"""The connection that an attempt waits for, and how far the attempt came on it."""

from __future__ import annotations

import time

import httpcore

from lmconf.transports.cancellation import Cancellation, Line, current_cancellation

__all__ = ["ConnectionState"]

_IDLE_END = 2.0
"""Within how many seconds the end of a connection comes that the server had closed before it read
the request: a round trip, on a slow network or machine. What ends later may have been at work."""


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

    def has_ended_idle(self, error: BaseException) -> bool:
        """Say whether `error` ended a reused connection that the server had closed unused.

        Then no byte of an answer came, the server's kernel did not take the request, and the end
        came within `_IDLE_END`.
        """
        if self._reused_at is None or self.answering or self.closed:
            return False
        late = time.monotonic() - self._reused_at >= _IDLE_END
        ended = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
        return not late and self._unread and isinstance(error, ended)
