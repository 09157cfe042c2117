"""A pool of connections, which are kept open between calls."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

import httpcore

from lmconf.system.fork import Mutex
from lmconf.transports.http.attempt import current_attempt
from lmconf.transports.http.http_request import HttpRequest

__all__ = [
    "FAULTS",
    "KEPT_FOR",
    "AsyncConnections",
    "Connections",
    "outgoing",
]

KEPT_FOR = 30.0
"""How many seconds a connection stays open that nobody uses."""

C = TypeVar("C", httpcore.ConnectionInterface, httpcore.AsyncConnectionInterface)

_Origin: TypeAlias = tuple[bytes, bytes, int | None]
_TIMED_OUT = 408
_HINT = re.compile(rb"(?:^|[,;\s])(timeout|max)\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


class _Kept(Generic[C]):
    """The connections of one client: those in use, and those that are idle, by origin."""

    def __init__(self, make: Callable[[httpcore.Origin], C]) -> None:
        self._make: Callable[[httpcore.Origin], C] = make
        self._lock = Mutex()
        self._idle: dict[_Origin, deque[tuple[C, float]]] = {}
        self._used: dict[int, C] = {}
        self._closed = False

    def take(self, origin: httpcore.Origin, *, new: bool) -> tuple[C, bool, list[C]]:
        """Return a connection to `origin`, whether it was kept, and idle ones that have ended."""
        ended: list[C] = []
        found: C | None = None
        with self._lock:
            idle = None if new else self._idle.get(_key(origin))
            while idle and found is None:
                last, until = idle.pop()
                if last.is_available() and time.monotonic() < until and not last.has_expired():
                    found = last
                else:
                    ended.append(last)
            kept = found is not None
            if found is None:
                found = self._make(origin)
            self._used[id(found)] = found
        return found, kept, ended

    def give_back(self, connection: C, origin: httpcore.Origin, seconds: float = 0.0) -> list[C]:
        """Take note that `connection` is no longer used; return what is to be closed.

        It may be used again for so many `seconds`.
        """
        with self._lock:
            self._used.pop(id(connection), None)
            unfit = self._closed or seconds <= 0 or not connection.is_idle()
            if unfit or _holds_more(connection):
                return [connection]
            idle = self._idle.setdefault(_key(origin), deque())
            idle.append((connection, time.monotonic() + seconds))
            ended = []
            # Those that were used least of late stand first.
            while len(idle) > 1 and (time.monotonic() > idle[0][1] or idle[0][0].has_expired()):
                ended.append(idle.popleft()[0])
            return ended

    def all(self) -> list[C]:
        """Return every connection, and take care that none is kept any more."""
        with self._lock:
            self._closed = True
            found: list[C] = list(self._used.values())
            for idle in self._idle.values():
                found.extend(connection for connection, _ in idle)
            self._idle.clear()
        return found


def _holds_more(connection: object) -> bool:
    """Say whether the server said more than its answer: to the next request, it would be one.

    httpcore notices only what was not read from the socket yet.
    """
    inner: object = connection
    while inner is not None:
        state = getattr(inner, "_h11_state", None)
        if state is not None:
            return bool(state.trailing_data[0])
        inner = getattr(inner, "_connection", None)
    return False


class Connections:
    """Sends requests from threads."""

    def __init__(self, make: Callable[[httpcore.Origin], httpcore.ConnectionInterface]) -> None:
        self._kept: _Kept[httpcore.ConnectionInterface] = _Kept(make)

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send `request`; whoever has read the response closes it."""
        response = self._sent(request, new=False) or self._sent(request, new=True)
        assert response is not None
        return response

    def _sent(self, request: httpcore.Request, *, new: bool) -> httpcore.Response | None:
        """Return the response; None: the server had closed a connection that was kept."""
        origin, attempt = request.url.origin, current_attempt()
        connection, kept, ended = self._kept.take(origin, new=new)

        def done(seconds: float = 0.0) -> None:
            for one in self._kept.give_back(connection, origin, seconds):
                one.close()

        try:
            for one in ended:
                one.close()
            attempt.connection.begin(reused=kept)
            response = connection.handle_request(request)
            if not (kept and _ended_idle(response)):
                return _response(response, _Body(response, done))
            connection.close()
            done()
        except BaseException as error:
            connection.close()
            done()
            if not attempt.can_resend(error):
                raise
        return None

    def close(self) -> None:
        """Close every connection."""
        for connection in self._kept.all():
            connection.close()


class AsyncConnections:
    """Sends requests on one event loop."""

    def __init__(
        self, make: Callable[[httpcore.Origin], httpcore.AsyncConnectionInterface]
    ) -> None:
        self._kept: _Kept[httpcore.AsyncConnectionInterface] = _Kept(make)

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send `request`; whoever has read the response closes it."""
        response = await self._sent(request, new=False) or await self._sent(request, new=True)
        assert response is not None
        return response

    async def _sent(self, request: httpcore.Request, *, new: bool) -> httpcore.Response | None:
        """Return the response; None: the server had closed a connection that was kept."""
        origin, attempt = request.url.origin, current_attempt()
        connection, kept, ended = self._kept.take(origin, new=new)

        async def done(seconds: float = 0.0) -> None:
            for one in self._kept.give_back(connection, origin, seconds):
                await one.aclose()

        try:
            for one in ended:
                await one.aclose()
            attempt.connection.begin(reused=kept)
            response = await connection.handle_async_request(request)
            if not (kept and _ended_idle(response)):
                return _response(response, _AsyncBody(response, done))
            self._kept.give_back(connection, origin)
            await connection.aclose()
        except BaseException as error:
            # Noted first: where this task is being cancelled, closing may not come to its end.
            self._kept.give_back(connection, origin)
            await connection.aclose()
            if not attempt.can_resend(error):
                raise
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in self._kept.all():
            await connection.aclose()


class _Body:
    """The body of a response, which gives its connection back when it is closed."""

    def __init__(self, response: httpcore.Response, done: Callable[[float], None]) -> None:
        self._stream: Any = response.stream
        self._seconds = _kept_for(response)
        self._done = done
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BaseException:
            self._close(0.0)
            raise

    def close(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        self._close(self._seconds)

    def _close(self, seconds: float) -> None:
        if not self._closed:
            self._closed = True
            whole = False
            try:
                self._stream.close()
                whole = True
            finally:
                # What was stopped anywhere, by an interrupt, is in no state to be used again.
                self._done(seconds if whole else 0.0)


class _AsyncBody:
    """The same, on an event loop."""

    def __init__(self, response: httpcore.Response, done: Callable[[float], Any]) -> None:
        self._stream: Any = response.stream
        self._seconds = _kept_for(response)
        self._done = done
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except BaseException:
            await self._aclose(0.0)
            raise

    async def aclose(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        await self._aclose(self._seconds)

    async def _aclose(self, seconds: float) -> None:
        if not self._closed:
            self._closed = True
            whole = False
            try:
                await self._stream.aclose()
                whole = True
            finally:
                await self._done(seconds if whole else 0.0)


def _ended_idle(response: httpcore.Response) -> bool:
    """Say whether `response` answers no request, and tells that the connection was idle too long."""
    return response.status == _TIMED_OUT and any(
        name.lower() == b"connection" and value.strip().lower() == b"close"
        for name, value in response.headers
    )


def _kept_for(response: httpcore.Response) -> float:
    """Return for how many seconds the connection of `response` may be used again.

    The server's hint counts from when it has sent the answer, so we stop a while before it.
    """
    seconds = KEPT_FOR
    for name, value in response.headers:
        if name.lower() == b"keep-alive":
            for what, number in _HINT.findall(value):
                if what.lower() == b"timeout":
                    seconds = min(seconds, float(number) - min(1.0, float(number) / 2))
                elif int(number) == 0:
                    seconds = 0.0
    return seconds


def _response(response: httpcore.Response, body: Any) -> httpcore.Response:
    return httpcore.Response(
        response.status, headers=response.headers, content=body, extensions=response.extensions
    )


def _key(origin: httpcore.Origin) -> _Origin:
    return (origin.scheme, origin.host, origin.port)


def outgoing(request: HttpRequest) -> httpcore.Request:
    """Return `request` as a pool takes it."""
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers,
        content=request.content,
    )


FAULTS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
"""Everything that a connection may fail with."""
