"""Connections that are kept open between calls, one request at a time on each.

httpcore's own pools look at every connection for every request, which at a hundred calls in flight
costs more than the calls. Here a request takes the connection that was used last and is idle, or
opens one; there is no bound on how many are in use, which is a matter of `limits`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

import httpcore

from lmconf.forking import Mutex

__all__ = ["KEPT_FOR", "AsyncConnections", "Connections"]

KEPT_FOR = 30.0
"""How many seconds a connection stays open that nobody uses."""

C = TypeVar("C", httpcore.HTTPConnection, httpcore.AsyncHTTPConnection)

_Origin: TypeAlias = tuple[bytes, bytes, int | None]


class _Kept(Generic[C]):
    """The connections of one client: those in use, and those that are idle, by origin."""

    def __init__(self, make: Callable[[httpcore.Origin], C]) -> None:
        self._make: Callable[[httpcore.Origin], C] = make
        self._lock = Mutex()
        self._idle: dict[_Origin, deque[C]] = {}
        self._used: dict[int, C] = {}
        self._closed = False

    def take(self, origin: httpcore.Origin) -> tuple[C, list[C]]:
        """Return a connection to `origin`, and idle ones that have ended meanwhile."""
        ended: list[C] = []
        found: C | None = None
        with self._lock:
            idle = self._idle.get(_key(origin))
            while idle and found is None:
                last = idle.pop()
                if last.is_available() and not last.has_expired():
                    found = last
                else:
                    ended.append(last)
            if found is None:
                found = self._make(origin)
            self._used[id(found)] = found
        return found, ended

    def give_back(self, connection: C, origin: httpcore.Origin) -> list[C]:
        """Take note that `connection` is no longer used; return what is to be closed."""
        with self._lock:
            self._used.pop(id(connection), None)
            if self._closed or not connection.is_idle() or _holds_more(connection):
                return [connection]
            idle = self._idle.setdefault(_key(origin), deque())
            idle.append(connection)
            ended = []
            # Those that were used least of late stand first.
            while len(idle) > 1 and idle[0].has_expired():
                ended.append(idle.popleft())
            return ended

    def all(self) -> list[C]:
        """Return every connection, and take care that none is kept any more."""
        with self._lock:
            self._closed = True
            found: list[C] = list(self._used.values())
            for idle in self._idle.values():
                found.extend(idle)
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

    def __init__(self, make: Callable[[httpcore.Origin], httpcore.HTTPConnection]) -> None:
        self._kept = _Kept(make)

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send `request`; whoever has read the response closes it."""
        origin = request.url.origin
        connection, ended = self._kept.take(origin)
        for one in ended:
            one.close()

        def done() -> None:
            for one in self._kept.give_back(connection, origin):
                one.close()

        try:
            response = connection.handle_request(request)
        except BaseException:
            connection.close()
            done()
            raise
        return _response(response, _Body(response.stream, done))

    def close(self) -> None:
        """Close every connection."""
        for connection in self._kept.all():
            connection.close()


class AsyncConnections:
    """Sends requests on one event loop."""

    def __init__(self, make: Callable[[httpcore.Origin], httpcore.AsyncHTTPConnection]) -> None:
        self._kept = _Kept(make)

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send `request`; whoever has read the response closes it."""
        origin = request.url.origin
        connection, ended = self._kept.take(origin)
        for one in ended:
            await one.aclose()

        async def done() -> None:
            for one in self._kept.give_back(connection, origin):
                await one.aclose()

        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            # Noted first: where this task is being cancelled, closing may not come to its end.
            self._kept.give_back(connection, origin)
            await connection.aclose()
            raise
        return _response(response, _AsyncBody(response.stream, done))

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in self._kept.all():
            await connection.aclose()


class _Body:
    """The body of a response, which gives its connection back when it is closed."""

    def __init__(self, stream: Any, done: Callable[[], None]) -> None:
        self._stream = stream
        self._done = done
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        if not self._closed:
            self._closed = True
            try:
                self._stream.close()
            finally:
                self._done()


class _AsyncBody:
    """The same, on an event loop."""

    def __init__(self, stream: Any, done: Callable[[], Any]) -> None:
        self._stream = stream
        self._done = done
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        if not self._closed:
            self._closed = True
            try:
                await self._stream.aclose()
            finally:
                await self._done()


def _response(response: httpcore.Response, body: Any) -> httpcore.Response:
    return httpcore.Response(
        response.status, headers=response.headers, content=body, extensions=response.extensions
    )


def _key(origin: httpcore.Origin) -> _Origin:
    return (origin.scheme, origin.host, origin.port)
