"""The HTTP client that litellm and the provider SDKs are made to send through.

They are given a placeholder for the credential. Here, where the bytes leave, the placeholder is
replaced by the credential, or its header is dropped where none is to be sent; headers that nobody
asked for are dropped, too; and a request to any other origin than the expected one is refused. An
error's status, a broken connection or a missed deadline ends the attempt at once: `Halt` passes
through every `except Exception` on the way, so nothing above retries, logs or rewraps it.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping

import httpx

from lmconf.transports.bodies import AsyncPieces, Pieces
from lmconf.transports.exchange import Halt, current_exchange

__all__ = ["AsyncWire", "Wire"]

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30)


class Wire(httpx.BaseTransport):
    """Sends synchronous requests for the exchange of the current context."""

    def __init__(self) -> None:
        self._by_proxy: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` as its exchange allows, and watch the answer."""
        exchange = current_exchange()
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
        pieces = Pieces(stream, response, exchange)
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
        exchange = current_exchange()
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
        pieces = AsyncPieces(stream, response, exchange)
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


def _watched(
    response: httpx.Response, pieces: Pieces | AsyncPieces, request: httpx.Request
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


def _proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the machine's settings name for `url`, None for none."""
    proxies: Mapping[str, str] = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or url.host == "localhost" or url.host.startswith(("127.", "[::1", "::1")):
        return None
    return None if urllib.request.proxy_bypass(url.host) else found
