"""Sockets whose every wait ends with the attempt: connecting, sending and reading.

httpx fixes the seconds that a read may take when a body begins, so a body that trickles and then
stalls could take the whole of an attempt's time twice. Here each wait is bounded when it begins,
by its phase and by what is left of the attempt.

Looking up a name cannot be interrupted: where the machine's resolver hangs, a synchronous call
hangs with it, and is overdue as soon as the resolver answers. On an event loop the lookup runs in
a thread beside it, and the call ends in time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import httpcore

from lmconf.transports.http.attempt import Attempt, current_attempt
from lmconf.transports.http.phase_timer import Phase

__all__ = ["AsyncNetwork", "Network", "Sockets"]

_Timeout: TypeAlias = type[httpcore.TimeoutException]
_Options: TypeAlias = Iterable[httpcore.SOCKET_OPTION] | None
_TCP_CLOSE = 7
"""The state of a connection that was reset (Linux, include/net/tcp_states.h)."""

_AT_ONCE = 16 * 1024
"""As many bytes as a socket takes at once, so that each wait to send is bounded anew."""


def _seconds(attempt: Attempt, phase: Phase, late: _Timeout) -> float:
    """Return how long `phase` may go on from now.

    Raises:
        TimeoutException: not at all; it is of the kind `late`.
    """
    seconds = attempt.timer.limit(phase)
    if seconds <= 0:
        raise late
    return seconds


class Sockets:
    """The open connections of one client, so that a forked child can let go of them."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[_Stream | _AsyncStream] = weakref.WeakSet()

    def add(self, stream: _Stream | _AsyncStream) -> None:
        """Note that `stream` was opened."""
        self._open.add(stream)

    def abandon(self) -> None:
        """Let go of every connection without a word to the server; for a forked child.

        The objects that hold them belong to threads and loops that the child does not have, so
        what they hold is replaced under them.
        """
        streams = list(self._open)
        if not streams:
            return
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            for stream in streams:
                bare = stream.get_extra_info("socket")
                number = -1 if bare is None else bare.fileno()
                if number >= 0:
                    os.dup2(nothing, number, inheritable=False)
        finally:
            os.close(nothing)


class Network(httpcore.NetworkBackend):
    """Opens connections for the attempt of the current context."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that takes the connection in time."""
        attempt = current_attempt()
        attempt.timer.start_connecting()
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port):
            seconds = _seconds(attempt, "connect", httpcore.ConnectTimeout)
            try:
                plain = self._plain.connect_tcp(
                    address, port, seconds, local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failure = error
            else:
                direct = host == attempt.connection.host
                return _Stream(
                    plain, self._sockets, ready=not attempt.connection.secure, direct=direct
                )
        raise failure


class AsyncNetwork(httpcore.AsyncNetworkBackend):
    """Opens connections for the attempt of the current context, on its event loop."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that takes the connection in time."""
        attempt = current_attempt()
        attempt.timer.start_connecting()
        seconds = _seconds(attempt, "connect", httpcore.ConnectTimeout)
        plain = await self._plain.connect_tcp(host, port, seconds, local_address, socket_options)
        direct = host == attempt.connection.host
        return _AsyncStream(
            plain, self._sockets, ready=not attempt.connection.secure, direct=direct
        )


def _holds_read(plain: httpcore.NetworkStream | httpcore.AsyncNetworkStream) -> bool:
    """Say whether something was read from the socket that nobody has asked for yet.

    TLS reads whole records, and an event loop whatever has come.
    """
    secured = plain.get_extra_info("ssl_object")
    if secured is not None and secured.pending():
        return True
    stream = getattr(plain, "_stream", None)
    stream = getattr(stream, "transport_stream", stream)
    return bool(getattr(getattr(stream, "_protocol", None), "read_queue", None))


def _is_unread(plain: httpcore.NetworkStream | httpcore.AsyncNetworkStream) -> bool:
    """Say whether the server closed a connection that ended before its kernel took what was sent.

    A server that has read everything and closes the connection acknowledges what it read (RFC 9293,
    section 3.6.1): nothing is left unacknowledged then, and the connection is half-closed. One that
    closed it before answers with a reset, or has not acknowledged what was sent. Where nobody tells,
    by way of a proxy or on a kernel without `TCP_INFO`, every end counts as such.
    """
    bare = plain.get_extra_info("socket")
    option = getattr(socket, "TCP_INFO", None)
    if bare is None or option is None:
        return True
    try:
        info = bare.getsockopt(socket.IPPROTO_TCP, option, 28)
    except OSError:  # closed meanwhile, as after a reset
        return True
    unacknowledged: int = struct.unpack_from("I", info, 24)[0]
    return bool(info[0] == _TCP_CLOSE or unacknowledged > 0)


def _addresses(host: str, port: int) -> list[str]:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in addresses))


class _Stream(httpcore.NetworkStream):
    """A connection. It may be closed by one thread while another waits for it.

    A file number that is closed under a waiting thread may be given to another connection, whose
    bytes the thread would then read; so the thread is woken up, and closes it itself.
    """

    def __init__(
        self,
        plain: httpcore.NetworkStream,
        sockets: Sockets,
        *,
        ready: bool,
        direct: bool,
    ) -> None:
        self._plain = plain
        self._sockets = sockets
        self._direct = direct  # to the server, and not to a proxy
        # Until it leads to the server, what is said on it belongs to connecting: to a proxy.
        self._ready = ready
        self._lock = threading.Lock()
        self._busy = False
        self._closed = False
        sockets.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what comes next, in the time that the attempt leaves."""
        attempt = current_attempt()
        phase = attempt.read_phase if self._ready else "connect"
        with self._in_use():
            seconds = _seconds(attempt, phase, httpcore.ReadTimeout)
            try:
                data = self._plain.read(max_bytes, seconds)
            except httpcore.ReadError:
                attempt.connection.end(unread=not self._direct or _is_unread(self._plain))
                raise
        if not data:
            attempt.connection.end(unread=not self._direct or _is_unread(self._plain))
        elif self._ready:
            attempt.connection.answering = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer` in the time that the attempt leaves."""
        attempt = current_attempt()
        phase: Phase = "total" if self._ready else "connect"
        with self._in_use():
            for start in range(0, len(buffer), _AT_ONCE):
                seconds = _seconds(attempt, phase, httpcore.WriteTimeout)
                self._plain.write(buffer[start : start + _AT_ONCE], seconds)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        attempt = current_attempt()
        attempt.connection.line = self
        try:
            with self._lock:
                # Looked at last: whoever cuts it off looks for the line only then.
                if self._closed or attempt.connection.cancelled:
                    attempt.connection.closed = True
                    raise httpcore.ReadError("the connection was closed")
                self._busy = True
            yield
        finally:
            attempt.connection.line = None
            self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            self._busy = False
            if self._closed:
                current_attempt().connection.closed = True
                self._plain.close()

    def close(self) -> None:
        """Close the connection, now or as soon as no thread waits for it."""
        with self._lock:
            self._closed = True
            if not self._busy:
                self._plain.close()
                return
            bare = self._plain.get_extra_info("socket")
            with contextlib.suppress(OSError):  # the server was faster
                socket.socket.shutdown(bare, socket.SHUT_RDWR)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the connection with TLS on it."""
        attempt = current_attempt()
        with self._in_use():
            seconds = _seconds(attempt, "connect", httpcore.ConnectTimeout)
            secured = self._plain.start_tls(ssl_context, server_hostname, seconds)
        ready = server_hostname == attempt.connection.host
        return _Stream(secured, self._sockets, ready=ready, direct=self._direct)

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection under the name `info`."""
        if info == "is_readable" and _holds_read(self._plain):
            return True
        return self._plain.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    """A connection that belongs to an event loop."""

    def __init__(
        self,
        plain: httpcore.AsyncNetworkStream,
        sockets: Sockets,
        *,
        ready: bool,
        direct: bool,
    ) -> None:
        self._plain = plain
        self._sockets = sockets
        self._direct = direct
        self._ready = ready
        self._closed = False
        sockets.add(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what comes next, in the time that the attempt leaves."""
        attempt = current_attempt()
        phase = attempt.read_phase if self._ready else "connect"
        seconds = _seconds(attempt, phase, httpcore.ReadTimeout)
        try:
            data = await self._plain.read(max_bytes, seconds)
        except httpcore.ReadError:
            attempt.connection.end(unread=not self._direct or _is_unread(self._plain))
            raise
        finally:
            if self._closed:
                attempt.connection.closed = True
        if not data:
            attempt.connection.end(unread=not self._direct or _is_unread(self._plain))
        elif self._ready:
            attempt.connection.answering = True
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer` in the time that the attempt leaves."""
        phase: Phase = "total" if self._ready else "connect"
        seconds = _seconds(current_attempt(), phase, httpcore.WriteTimeout)
        await self._plain.write(buffer, seconds)

    async def aclose(self) -> None:
        """Close the connection."""
        self._closed = True
        await self._plain.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection with TLS on it."""
        attempt = current_attempt()
        seconds = _seconds(attempt, "connect", httpcore.ConnectTimeout)
        secured = await self._plain.start_tls(ssl_context, server_hostname, seconds)
        ready = server_hostname == attempt.connection.host
        return _AsyncStream(secured, self._sockets, ready=ready, direct=self._direct)

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection under the name `info`."""
        if info == "is_readable" and _holds_read(self._plain):
            return True
        return self._plain.get_extra_info(info)
