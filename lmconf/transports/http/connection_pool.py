"""A pool of connections, which are kept open between calls."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

import httpcore

from lmconf.system.fork import Mutex
from lmconf.transports.http.attempt import Attempt
from lmconf.transports.http.http_request import HttpRequest

__all__ = [
    "FAULTS",
    "KEEP_SECONDS",
    "AsyncConnections",
    "Connections",
    "to_httpcore",
]

KEEP_SECONDS = 30.0
"""How many seconds a connection stays open that nobody uses."""

C = TypeVar("C", httpcore.ConnectionInterface, httpcore.AsyncConnectionInterface)

_Origin: TypeAlias = tuple[bytes, bytes, int | None]
_TIMED_OUT = 408
_HINT = re.compile(rb"(?:^|[,;\s])(timeout|max)\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


class _Connections(Generic[C]):
    """The connections of one client: those in use, and those that are idle, by origin."""

    def __init__(self, make: Callable[[httpcore.Origin], C]) -> None:
        self._make: Callable[[httpcore.Origin], C] = make
        self._lock = Mutex()
        self._idle: dict[_Origin, deque[tuple[C, float]]] = {}
        self._used: dict[int, C] = {}
        self._closed = False

    def take(self, origin: httpcore.Origin, *, new: bool) -> tuple[C, bool, list[C]]:
        """Return a connection to `origin`, whether it was kept, and idle ones to be closed."""
        ended: list[C] = []
        connection: C | None = None
        with self._lock:
            idle = None if new else self._idle.get(_key(origin))
            while idle and connection is None:
                last, until = idle.pop()
                if last.is_available() and time.monotonic() < until and not last.has_expired():
                    connection = last
                else:
                    ended.append(last)
            reused = connection is not None
            if connection is None:
                connection = self._make(origin)
            self._used[id(connection)] = connection
        return connection, reused, ended

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

    def drain(self) -> list[C]:
        """Return every connection, and keep none from now on."""
        with self._lock:
            self._closed = True
            connections: list[C] = list(self._used.values())
            for idle in self._idle.values():
                connections.extend(connection for connection, _ in idle)
            self._idle.clear()
        return connections


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
        self._connections: _Connections[httpcore.ConnectionInterface] = _Connections(make)

    def send(self, request: httpcore.Request, attempt: Attempt) -> httpcore.Response:
        """Send the request of `attempt`; whoever has read the response closes it."""
        response = self._send(request, attempt, new=False) or self._send(request, attempt, new=True)
        assert response is not None
        return response

    def _send(
        self, request: httpcore.Request, attempt: Attempt, *, new: bool
    ) -> httpcore.Response | None:
        """Return the response; None: the server had closed a connection that was kept open."""
        origin = request.url.origin
        connection, reused, ended = self._connections.take(origin, new=new)

        def release(seconds: float = 0.0) -> None:
            for unfit in self._connections.give_back(connection, origin, seconds):
                unfit.close()

        try:
            for idle in ended:
                idle.close()
            attempt.connection.begin(reused=reused)
            response = connection.handle_request(request)
            if not (reused and _is_idle_timeout(response)):
                return _with_body(response, _Body(response, release))
            connection.close()
            release()
        except BaseException as error:
            connection.close()
            release()
            if not attempt.can_resend(error):
                raise
        return None

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.drain():
            connection.close()


class AsyncConnections:
    """Sends requests on one event loop."""

    def __init__(
        self, make: Callable[[httpcore.Origin], httpcore.AsyncConnectionInterface]
    ) -> None:
        self._connections: _Connections[httpcore.AsyncConnectionInterface] = _Connections(make)

    async def send(self, request: httpcore.Request, attempt: Attempt) -> httpcore.Response:
        """Send the request of `attempt`; whoever has read the response closes it."""
        response = await self._send(request, attempt, new=False)
        response = response or await self._send(request, attempt, new=True)
        assert response is not None
        return response

    async def _send(
        self, request: httpcore.Request, attempt: Attempt, *, new: bool
    ) -> httpcore.Response | None:
        """Return the response; None: the server had closed a connection that was kept open."""
        origin = request.url.origin
        connection, reused, ended = self._connections.take(origin, new=new)

        async def release(seconds: float = 0.0) -> None:
            for unfit in self._connections.give_back(connection, origin, seconds):
                await unfit.aclose()

        try:
            for idle in ended:
                await idle.aclose()
            attempt.connection.begin(reused=reused)
            response = await connection.handle_async_request(request)
            if not (reused and _is_idle_timeout(response)):
                return _with_body(response, _AsyncBody(response, release))
            self._connections.give_back(connection, origin)
            await connection.aclose()
        except BaseException as error:
            # Noted first: where this task is being cancelled, closing may not come to its end.
            self._connections.give_back(connection, origin)
            await connection.aclose()
            if not attempt.can_resend(error):
                raise
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in self._connections.drain():
            await connection.aclose()


class _Body:
    """The body of a response, which gives its connection back when it is closed."""

    def __init__(self, response: httpcore.Response, release: Callable[[float], None]) -> None:
        self._stream: Any = response.stream
        self._seconds = _keep_seconds(response)
        self._release = release
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
                self._release(seconds if whole else 0.0)


class _AsyncBody:
    """The same, on an event loop."""

    def __init__(self, response: httpcore.Response, release: Callable[[float], Any]) -> None:
        self._stream: Any = response.stream
        self._seconds = _keep_seconds(response)
        self._release = release
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
                await self._release(seconds if whole else 0.0)


def _is_idle_timeout(response: httpcore.Response) -> bool:
    """Say whether `response` answers no request, and tells that the connection was idle too long."""
    return response.status == _TIMED_OUT and any(
        name.lower() == b"connection" and value.strip().lower() == b"close"
        for name, value in response.headers
    )


def _keep_seconds(response: httpcore.Response) -> float:
    """Return for how many seconds the connection of `response` may be used again.

    The server's hint counts from when it has sent the answer, so we stop a while before it.
    """
    seconds = KEEP_SECONDS
    for name, value in response.headers:
        if name.lower() == b"keep-alive":
            for what, number in _HINT.findall(value):
                if what.lower() == b"timeout":
                    seconds = min(seconds, float(number) - min(1.0, float(number) / 2))
                elif int(number) == 0:
                    seconds = 0.0
    return seconds


def _with_body(response: httpcore.Response, body: Any) -> httpcore.Response:
    return httpcore.Response(
        response.status, headers=response.headers, content=body, extensions=response.extensions
    )


def _key(origin: httpcore.Origin) -> _Origin:
    return (origin.scheme, origin.host, origin.port)


def to_httpcore(request: HttpRequest) -> httpcore.Request:
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
