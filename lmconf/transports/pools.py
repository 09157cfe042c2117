"""The pools of connections that are kept open between calls: one for each proxy, and for none."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import httpcore
import httpx

from lmconf.transports.pacing import AsyncNetwork, Network, Sockets

__all__ = ["FAULTS", "Trust", "async_pools", "outgoing", "sync_pools"]

FAULTS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
"""Everything that a connection may fail with."""

Trust: TypeAlias = Callable[[], ssl.SSLContext]
"""Returns which servers are trusted; asked when the first one is spoken to by https."""

_LIMITS = {"max_connections": None, "max_keepalive_connections": 100, "keepalive_expiry": 30.0}

P = TypeVar("P")


class Pools(Generic[P]):
    """Pools of one kind, each made when the first request goes its way."""

    def __init__(self, make: Callable[[str | None, bool], P], sockets: Sockets) -> None:
        self._make = make
        self._made: dict[tuple[str | None, bool], P] = {}
        self.sockets = sockets

    def towards(self, url: httpx.URL) -> P:
        """Return the pool that a request to `url` goes through."""
        way = (_proxy(url), url.scheme == "https")
        if way not in self._made:
            return self._made.setdefault(way, self._make(*way))
        return self._made[way]

    def all(self) -> list[P]:
        """Return the pools that were made."""
        return list(self._made.values())


def sync_pools(trust: Trust) -> Pools[httpcore.ConnectionPool]:
    """Return pools for threads."""
    sockets = Sockets()
    kinds = (httpcore.ConnectionPool, httpcore.HTTPProxy, httpcore.SOCKSProxy)

    def make(proxy: str | None, secure: bool) -> httpcore.ConnectionPool:
        made: httpcore.ConnectionPool = _made(kinds, Network(sockets), trust, proxy, secure)
        return made

    return Pools(make, sockets)


def async_pools(trust: Trust) -> Pools[httpcore.AsyncConnectionPool]:
    """Return pools for one event loop."""
    sockets = Sockets()
    kinds = (httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy)

    def make(proxy: str | None, secure: bool) -> httpcore.AsyncConnectionPool:
        pool = _made(kinds, AsyncNetwork(sockets), trust, proxy, secure)
        made: httpcore.AsyncConnectionPool = pool
        return made

    return Pools(make, sockets)


def outgoing(request: httpx.Request, pool_wait: float) -> httpcore.Request:
    """Return `request` as a pool takes it; `pool_wait` are the seconds to wait for a connection."""
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.content,
        extensions={"timeout": {"pool": pool_wait}},
    )


# For mypy, the classes of both families take the same arguments, and share no type that says so.
def _made(
    kinds: tuple[Any, Any, Any], network: Any, trust: Trust, via: str | None, tls: bool
) -> Any:
    direct, http, socks = kinds
    options = {**_LIMITS, "network_backend": network, "ssl_context": trust() if tls else None}
    if via is None:
        return direct(**options)
    proxy = httpx.Proxy(via)
    url = httpcore.URL(
        scheme=proxy.url.raw_scheme,
        host=proxy.url.raw_host,
        port=proxy.url.port,
        target=proxy.url.raw_path,
    )
    if proxy.url.scheme.startswith("socks"):
        return socks(proxy_url=url, proxy_auth=proxy.raw_auth, **options)
    if proxy.url.scheme == "https":
        options["proxy_ssl_context"] = trust()
    headers = proxy.headers.raw
    return http(proxy_url=url, proxy_auth=proxy.raw_auth, proxy_headers=headers, **options)


def _proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the machine's settings name for `url`, None for none."""
    proxies: Mapping[str, str] = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or url.host == "localhost" or url.host.startswith(("127.", "[::1", "::1")):
        return None
    return None if urllib.request.proxy_bypass(url.host) else found
