"""One pool of connections for each proxy, and one for none."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import httpcore
import httpx

from lmconf.transports.http.connection_pool import KEEP_SECONDS, AsyncConnections, Connections
from lmconf.transports.http.sockets import AsyncNetwork, Network, Sockets

__all__ = ["Pools", "Trust", "async_pools", "sync_pools"]

Trust: TypeAlias = Callable[[], ssl.SSLContext]
"""Returns which servers are trusted; asked when the first one is spoken to by https."""

P = TypeVar("P")


class Pools(Generic[P]):
    """Pools of one kind, each made when the first request goes its way."""

    def __init__(self, make: Callable[[str | None, bool], P], sockets: Sockets) -> None:
        self._make = make
        self._pools: dict[tuple[str | None, bool], P] = {}
        self.sockets = sockets

    def pool_for(self, url: httpx.URL) -> P:
        """Return the pool that a request to `url` goes through."""
        key = (_proxy(url), url.scheme == "https")
        if key not in self._pools:
            return self._pools.setdefault(key, self._make(*key))
        return self._pools[key]

    def pools(self) -> list[P]:
        """Return the pools that were made."""
        return list(self._pools.values())


def sync_pools(trust: Trust) -> Pools[Connections]:
    """Return pools for threads."""
    sockets = Sockets()
    network = Network(sockets)

    def make(proxy: str | None, secure: bool) -> Connections:
        if proxy is None:
            return Connections(_direct_factory(httpcore.HTTPConnection, network, trust, secure))
        kinds = (httpcore.HTTPProxy, httpcore.SOCKSProxy)
        return Connections(_proxy_factory(kinds, network, trust, proxy, secure))

    return Pools(make, sockets)


def async_pools(trust: Trust) -> Pools[AsyncConnections]:
    """Return pools for one event loop."""
    sockets = Sockets()
    network = AsyncNetwork(sockets)

    def make(proxy: str | None, secure: bool) -> AsyncConnections:
        if proxy is None:
            return AsyncConnections(
                _direct_factory(httpcore.AsyncHTTPConnection, network, trust, secure)
            )
        kinds = (httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy)
        return AsyncConnections(_proxy_factory(kinds, network, trust, proxy, secure))

    return Pools(make, sockets)


# For mypy, the classes of both families take the same arguments, and share no type that says so.
def _direct_factory(
    kind: Any, network: Any, trust: Trust, tls: bool
) -> Callable[[httpcore.Origin], Any]:
    options = {
        "keepalive_expiry": KEEP_SECONDS,
        "network_backend": network,
        "ssl_context": trust() if tls else None,
    }
    return lambda origin: kind(origin, **options)


def _proxy_factory(
    kinds: tuple[Any, Any], network: Any, trust: Trust, via: str, tls: bool
) -> Callable[[httpcore.Origin], Any]:
    """Return what opens connections by way of the proxy `via`.

    httpcore's proxies are pools, too; only what makes their connections is used.
    """
    http, socks = kinds
    options = {
        "keepalive_expiry": KEEP_SECONDS,
        "network_backend": network,
        "ssl_context": trust() if tls else None,
    }
    proxy = httpx.Proxy(via)
    url = httpcore.URL(
        scheme=proxy.url.raw_scheme,
        host=proxy.url.raw_host,
        port=proxy.url.port,
        target=proxy.url.raw_path,
    )
    if proxy.url.scheme.startswith("socks"):
        pool = socks(proxy_url=url, proxy_auth=proxy.raw_auth, **options)
        return pool.create_connection  # type: ignore[no-any-return]
    if proxy.url.scheme == "https":
        options["proxy_ssl_context"] = trust()
    headers = proxy.headers.raw
    pool = http(proxy_url=url, proxy_auth=proxy.raw_auth, proxy_headers=headers, **options)
    return pool.create_connection  # type: ignore[no-any-return]


def _proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the machine's settings name for `url`, None for none."""
    if url.host == "localhost" or url.host.startswith(("127.", "[::1", "::1")):
        return None
    # Elsewhere than on these two, a proxy is named by the environment alone.
    if sys.platform not in ("darwin", "win32") and not any(map(os.environ.get, _VARIABLES)):
        return None
    proxies: Mapping[str, str] = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return None if not proxy or urllib.request.proxy_bypass(url.host) else proxy


_VARIABLES = tuple(
    form
    for scheme in ("http", "https", "all")
    for form in (f"{scheme}_proxy", f"{scheme}_PROXY".upper())
)
