"""The HTTP client that litellm and the provider SDKs are made to send through.

They are given a placeholder for the credential. Here, where the bytes leave, the placeholder is
replaced by the credential, or its header is dropped where none is to be sent; headers that nobody
asked for are dropped, too; and a request to any other origin than the expected one is refused. An
error's status, a broken connection or a missed deadline ends the attempt at once: `Halt` passes
through every `except Exception` on the way, so nothing above retries, logs or rewraps it.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import httpx

from lmconf.errors import BadResponse, CallError, ConnectionFailed, Timeout
from lmconf.spec.frozen import thaw
from lmconf.transports.contract import Request
from lmconf.transports.failures import Advice, refused, request_id
from lmconf.transports.routes import client_of

__all__ = ["PLACEHOLDER", "AsyncWire", "Exchange", "Halt", "Wire", "exchanging"]

PLACEHOLDER = "lmconf-places-the-credential-here"
"""What litellm and the SDKs are given in the place of a credential."""

LARGEST_ANSWER = 256 * 2**20
LARGEST_ERROR = 64 * 2**10

# What a client may say of itself and of the body. Everything else that reaches the server was
# asked for by the profile: the SDKs also read headers and organizations from the environment.
_CLIENT_HEADERS = frozenset(
    b"host accept connection content-type user-agent anthropic-version anthropic-beta".split()
)
# How the servers of each API say that a stream is complete, in the raw bytes. Inside a JSON
# string these quotes would be escaped, so an answer that talks of them does not match.
_END = re.compile(
    rb'data:\s*\[DONE\]|"finish_reason"\s*:\s*"|"finishReason"\s*:\s*"|"stop_reason"\s*:\s*"'
    rb'|"type"\s*:\s*"message_stop"|"done"\s*:\s*true'
)
_END_LENGTH = 40


def _headers_of(request: Request) -> Mapping[str, str]:
    connection = request.connection
    account = {
        "OpenAI-Organization": connection.organization,
        "OpenAI-Project": connection.project,
    }
    return {**{name: text for name, text in account.items() if text}, **connection.headers}


def _left_out(request: Request) -> Mapping[str, Any]:
    """Return the settings that litellm may have dropped, for a server that reads them as stated.

    It keeps `metadata` to itself, and leaves out what it does not know of a model (`user`).
    """
    if client_of(request.provider, request.route) not in ("openai", "azure"):
        return {key: x for key, x in request.settings.items() if key == "metadata"}
    return {key: x for key, x in request.settings.items() if key not in TOKEN_LIMITS}


TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
"""Settings that litellm spells as each provider wants them."""


def _completed(content: bytes, settings: Mapping[str, Any], extra: Mapping[str, Any]) -> bytes:
    """Return a JSON body with the `settings` that it lacks, and with `extra` merged into it.

    Where both hold a mapping the two are merged; anything else in `extra` replaces.
    """
    body = json.loads(content) if content else None
    if not isinstance(body, dict):
        return content
    missing = {key: thaw(value) for key, value in settings.items() if key not in body}
    if not missing and not extra:
        return content
    return json.dumps(_merged({**body, **missing}, thaw(extra)), ensure_ascii=False).encode()


def _merged(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(body)
    for key, value in extra.items():
        held = merged.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            merged[key] = _merged(held, value)
        else:
            merged[key] = value
    return merged


class Halt(BaseException):
    """Ends an attempt whose failure is already known; it is no `Exception` on purpose."""


class Exchange:
    """One attempt: what may be sent, and what was seen of it."""

    def __init__(self, request: Request, advice: Advice, *, streaming: bool = False) -> None:
        self.key = request.connection.key
        self.headers = _headers_of(request)
        self.settings = _left_out(request)
        self.extra = request.extra
        self.base = httpx.URL(request.connection.base or "")
        self.phases = request.timeout
        self.secrets = request.connection.secrets()
        self.advice = advice
        self.streaming = streaming
        self.started = time.monotonic()
        self.sent = 0
        self.status: int | None = None
        self.request_id: str | None = None
        self.failure: CallError | None = None
        self.ended = False
        self.body: _Pieces | _AsyncPieces | None = None

    @property
    def left(self) -> float:
        """The seconds until the attempt's deadline."""
        return self.started + self.phases.total - time.monotonic()

    def halt(self, failure: CallError) -> Halt:
        """Note `failure` as the attempt's outcome, and return what ends the attempt."""
        if self.failure is None:
            failure.request_id = failure.request_id or self.request_id
            self.failure = failure
        return Halt()

    def overdue(self, phase: str, seconds: float) -> Halt:
        """End the attempt because a phase took longer than `seconds`."""
        return self.halt(Timeout(f"{phase} within {max(seconds, 0.0):.3g}s"))

    def prepare(self, request: httpx.Request) -> httpx.Request:
        """Return `request` as it may leave."""
        if _origin(request.url) != _origin(self.base):
            raise self.halt(
                ConnectionFailed(
                    f"refused to send to {_origin(request.url)}: the address of this LM is"
                    f" {_origin(self.base)}",
                    retryable=False,
                )
            )
        self.sent += 1
        url = request.url
        if PLACEHOLDER.encode() in url.raw_path:
            path = url.raw_path.replace(PLACEHOLDER.encode(), (self.key or "").encode())
            url = url.copy_with(raw_path=path)
        left = self.left
        waits = {
            "connect": min(self.phases.connect, left),
            "read": min(self.phases.first_byte or left, left),
            "write": left,
            "pool": left,
        }
        if left <= 0:
            raise self.overdue("no answer", self.phases.total)
        content = _completed(request.content, self.settings, self.extra)
        return httpx.Request(
            request.method,
            url,
            headers=self._headers(request.headers, len(content)),
            content=content,
            extensions={**request.extensions, "timeout": waits},
        )

    def _headers(self, given: httpx.Headers, length: int) -> list[tuple[bytes, bytes]]:
        placeholder, key = PLACEHOLDER.encode(), self.key
        kept = [(b"Accept-Encoding", b"identity"), (b"Content-Length", str(length).encode())]
        ours = {name.lower().encode() for name in self.headers}
        for name, value in given.raw:
            low = name.lower()
            if low in ours:
                continue
            if placeholder in value:
                if key:
                    kept.append((name, value.replace(placeholder, key.encode())))
            elif low in _CLIENT_HEADERS:
                kept.append((name, value))
        return kept + [(name.encode(), value.encode()) for name, value in self.headers.items()]

    def began(self, response: httpx.Response, request: httpx.Request) -> None:
        """Note the status, and let the body's pauses be bounded from here on."""
        self.status = response.status_code
        self.request_id = request_id(response.headers)
        left = self.left
        request.extensions["timeout"]["read"] = max(min(self.phases.idle or left, left), 0.001)

    def broken(self, error: httpx.TransportError) -> Halt:
        """End the attempt because the connection failed or a phase took too long."""
        phases = self.phases
        if isinstance(error, httpx.ConnectTimeout):
            return self.overdue("no connection", min(phases.connect, phases.total))
        if isinstance(error, httpx.TimeoutException):
            if self.status is None:
                return self.overdue("no answer", min(phases.first_byte or 1e9, phases.total))
            return self.overdue("no more of the answer came", min(phases.idle or 1e9, phases.total))
        if self.status is not None:
            return self.halt(BadResponse("the connection broke in the middle of the answer"))
        where = _origin(self.base)
        if isinstance(error, httpx.ConnectError):
            return self.halt(ConnectionFailed(f"no connection to {where}: {_reason(error)}"))
        return self.halt(ConnectionFailed(f"{where} closed the connection without an answer"))

    def refuse(self, response: httpx.Response, body: bytes) -> Halt:
        """End the attempt because the server answered with an error."""
        return self.halt(
            refused(response.status_code, response.headers, body, self.secrets, self.advice)
        )


_current: ContextVar[Exchange | None] = ContextVar("lmconf_exchange", default=None)


@contextlib.contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Let what is sent inside the block belong to `exchange`."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def _exchange() -> Exchange:
    exchange = _current.get()
    if exchange is None:
        raise RuntimeError("a request was sent outside of any call")
    return exchange


class Wire(httpx.BaseTransport):
    """Sends synchronous requests for the exchange of the current context."""

    def __init__(self) -> None:
        self._by_proxy: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` as its exchange allows, and watch the answer."""
        exchange = _exchange()
        ready = exchange.prepare(request)
        response: httpx.Response | None = None
        halt: Halt | None = None
        try:
            response = self._via(ready.url).handle_request(ready)
        except httpx.TransportError as error:
            halt = exchange.broken(error)
        if response is None:
            raise halt or Halt()
        exchange.began(response, ready)
        stream = response.stream
        assert isinstance(stream, httpx.SyncByteStream)
        pieces = _Pieces(stream, response, exchange)
        exchange.body = pieces
        if response.status_code >= 300:
            body = pieces.excerpt()
            response.close()
            raise exchange.refuse(response, body)
        return _watched(response, pieces, ready)

    def _via(self, url: httpx.URL) -> httpx.HTTPTransport:
        proxy = _proxy(url)
        if proxy not in self._by_proxy:
            made = httpx.HTTPTransport(limits=_LIMITS, proxy=proxy)
            return self._by_proxy.setdefault(proxy, made)
        return self._by_proxy[proxy]

    def close(self) -> None:
        """Close every connection."""
        for transport in self._by_proxy.values():
            transport.close()


class AsyncWire(httpx.AsyncBaseTransport):
    """Sends asynchronous requests for the exchange of the current context, on one event loop."""

    def __init__(self) -> None:
        self._by_proxy: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` as its exchange allows, and watch the answer."""
        exchange = _exchange()
        ready = exchange.prepare(request)
        response: httpx.Response | None = None
        halt: Halt | None = None
        try:
            response = await self._via(ready.url).handle_async_request(ready)
        except httpx.TransportError as error:
            halt = exchange.broken(error)
        if response is None:
            raise halt or Halt()
        exchange.began(response, ready)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        pieces = _AsyncPieces(stream, response, exchange)
        exchange.body = pieces
        if response.status_code >= 300:
            body = await pieces.excerpt()
            await response.aclose()
            raise exchange.refuse(response, body)
        return _watched(response, pieces, ready)

    def _via(self, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        proxy = _proxy(url)
        if proxy not in self._by_proxy:
            made = httpx.AsyncHTTPTransport(limits=_LIMITS, proxy=proxy)
            return self._by_proxy.setdefault(proxy, made)
        return self._by_proxy[proxy]

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._by_proxy.values():
            await transport.aclose()


_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30)


class _Watch:
    """Counts, unpacks and reads the pieces of one answer as they pass."""

    def __init__(self, response: httpx.Response, exchange: Exchange) -> None:
        self._exchange = exchange
        self._size = 0
        self._tail = b""
        self._unpack = _unpacker(response.headers.get("content-encoding", ""), exchange)

    def see(self, raw: bytes) -> Iterator[bytes]:
        """Yield what `raw` holds once it is unpacked.

        Raises:
            Halt: the deadline has passed, or the answer is larger than any answer may be.
        """
        exchange = self._exchange
        for piece in (raw,) if self._unpack is None else self._unpack(raw):
            self._size += len(piece)
            if self._size > LARGEST_ANSWER:
                raise exchange.halt(
                    BadResponse(
                        f"the answer is larger than {LARGEST_ANSWER >> 20} MiB", retryable=False
                    )
                )
            if exchange.streaming and not exchange.ended:
                window = self._tail + piece
                exchange.ended = _END.search(window) is not None
                self._tail = window[-_END_LENGTH:]
            yield piece
        if exchange.left <= 0:
            raise exchange.overdue("the answer was not complete", exchange.phases.total)


class _Pieces(httpx.SyncByteStream):
    """The body of an answer, watched."""

    def __init__(
        self, stream: httpx.SyncByteStream, response: httpx.Response, exchange: Exchange
    ) -> None:
        self._stream = stream
        self._exchange = exchange
        self._watch = _Watch(response, exchange)

    def __iter__(self) -> Iterator[bytes]:
        halt: Halt | None = None
        try:
            for raw in self._stream:
                yield from self._watch.see(raw)
        except httpx.TransportError as error:
            halt = self._exchange.broken(error)
        if halt is not None:
            raise halt

    def excerpt(self) -> bytes:
        """Return the beginning of an error's body, as much of it as comes."""
        parts: list[bytes] = []
        with contextlib.suppress(httpx.TransportError):
            for raw in self._stream:
                parts.append(raw)
                if sum(map(len, parts)) > LARGEST_ERROR or self._exchange.left <= 0:
                    break
        return b"".join(parts)[:LARGEST_ERROR]

    def close(self) -> None:
        """Give the connection back."""
        self._stream.close()


class _AsyncPieces(httpx.AsyncByteStream):
    """The body of an answer, watched."""

    def __init__(
        self, stream: httpx.AsyncByteStream, response: httpx.Response, exchange: Exchange
    ) -> None:
        self._stream = stream
        self._exchange = exchange
        self._watch = _Watch(response, exchange)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        halt: Halt | None = None
        try:
            async for raw in self._stream:
                for piece in self._watch.see(raw):
                    yield piece
        except httpx.TransportError as error:
            halt = self._exchange.broken(error)
        if halt is not None:
            raise halt

    async def excerpt(self) -> bytes:
        """Return the beginning of an error's body, as much of it as comes."""
        parts: list[bytes] = []
        with contextlib.suppress(httpx.TransportError):
            async for raw in self._stream:
                parts.append(raw)
                if sum(map(len, parts)) > LARGEST_ERROR or self._exchange.left <= 0:
                    break
        return b"".join(parts)[:LARGEST_ERROR]

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._stream.aclose()


def _watched(
    response: httpx.Response, pieces: _Pieces | _AsyncPieces, request: httpx.Request
) -> httpx.Response:
    headers = [pair for pair in response.headers.raw if pair[0].lower() != b"content-encoding"]
    return httpx.Response(
        response.status_code,
        headers=headers,
        stream=pieces,
        extensions=response.extensions,
        # Without the request's own headers: they hold the credential.
        request=httpx.Request(request.method, request.url.copy_with(query=None)),
    )


def _unpacker(encoding: str, exchange: Exchange) -> _Unpacker | None:
    """Return what unpacks a body that came packed although none was asked for."""
    if encoding.strip().lower() in ("", "identity"):
        return None
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise exchange.halt(BadResponse(f"the answer is packed as {encoding[:40]!r}"))
    return _Unpacker(exchange)


class _Unpacker:
    """Unpacks gzip and zlib in pieces of bounded size, so that no small body becomes a huge one."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._state = zlib.decompressobj(wbits=47)

    def __call__(self, raw: bytes) -> Iterator[bytes]:
        halt: Halt | None = None
        try:
            while piece := self._state.decompress(raw, 2**20):
                yield piece
                raw = self._state.unconsumed_tail
        except zlib.error:
            halt = self._exchange.halt(BadResponse("the answer is packed in a broken way"))
        if halt is not None:
            raise halt


def _origin(url: httpx.URL) -> str:
    port = url.port or {"https": 443, "http": 80}.get(url.scheme)
    return f"{url.scheme}://{url.host}:{port}"


def _proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the machine's settings name for `url`, None for none."""
    proxies: Mapping[str, str] = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or url.host == "localhost" or url.host.startswith(("127.", "[::1", "::1")):
        return None
    return None if urllib.request.proxy_bypass(url.host) else found


def _reason(error: Exception) -> str:
    """Return why a connection failed, as the operating system says it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "it could not be opened"
