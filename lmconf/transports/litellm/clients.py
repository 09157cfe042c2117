"""The clients that litellm is given: all of them send through `lmconf.transports.http.client`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from lmconf.errors import BadRequest
from lmconf.providers import Client
from lmconf.providers.catalogue import record_of
from lmconf.system.fork import Mutex, register_forkable
from lmconf.system.interrupts import run_shielded
from lmconf.transports.http.client import AsyncHttpClientTransport, HttpClientTransport
from lmconf.transports.http.http_request import PLACEHOLDER
from lmconf.transports.http.proxies import Trust
from lmconf.transports.litellm.patches import import_litellm
from lmconf.transports.openai.chat import DEFAULT_AZURE_VERSION
from lmconf.transports.transport import Request

__all__ = ["Clients"]


class Clients:
    """The synchronous clients of one transport, and the asynchronous ones of each event loop.

    Connections stay open between calls. Those of an event loop are closed when it shuts down, all
    of them on `close` or when the object is gone. A forked child begins with none.
    """

    def __init__(self) -> None:
        # A finalizer may close what the very thread is about to use.
        self._lock = Mutex()
        self._trust: Trust = functools.cache(httpx.create_ssl_context)
        self._sync: _SyncSet | None = None
        self._at_exit: weakref.finalize[[], Clients] | None = None
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _AsyncSet] = (
            weakref.WeakKeyDictionary()
        )
        self._parents: list[object] = []
        register_forkable(self)

    def sync(self, kind: Client, request: Request) -> object:
        """Return the synchronous client of `kind` for the server of `request`."""
        with self._lock:
            found = self._sync
            if found is None:
                found = self._sync = _SyncSet(self._trust)
                self._at_exit = weakref.finalize(self, found.http.close)
        return found.client(kind, request)

    async def on_loop(self, kind: Client, request: Request) -> object:
        """Return the asynchronous client of `kind` that belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._by_loop.get(loop)
            if found is None:
                self._forget_closed_loops()
                found = self._by_loop[loop] = _AsyncSet(self._trust)
        if found.keeper is None:
            # A loop that shuts down closes the asynchronous generators that it has started.
            found.keeper = _keep(found.http)
            await found.keeper.__anext__()
        return found.client(kind, request)

    def close(self) -> None:
        """Close every connection; those of an event loop when it has a moment for it."""
        self._close_sync()
        for loop, found in self._taken():
            found.close_on(loop)

    async def aclose(self) -> None:
        """Close every connection; when this returns, those of the running event loop are closed."""
        self._close_sync()
        for loop, found in self._taken():
            if loop is asyncio.get_running_loop():
                await found.aclose()
            else:
                found.close_on(loop)

    def _close_sync(self) -> None:
        with self._lock:
            found, self._sync = self._sync, None
            if self._at_exit is not None:
                self._at_exit.detach()
        if found is not None:
            found.http.close()

    def _taken(self) -> list[tuple[asyncio.AbstractEventLoop, _AsyncSet]]:
        with self._lock:
            taken = list(self._by_loop.items())
            self._by_loop.clear()
        return taken

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            del self._by_loop[loop]

    def before_fork(self) -> None:
        """Do nothing: calls go on meanwhile, and what they use is the parent's."""

    def after_fork(self, in_child: bool) -> None:
        """Go on; the child lets go of the parent's connections, and opens its own."""
        if not in_child:
            return
        if self._at_exit is not None:
            self._at_exit.detach()
        # Not closed in the ordinary way, which takes locks and speaks to event loops: both may be
        # the parent's. And never freed, because that would be closing it, too.
        parents: list[_SyncSet | _AsyncSet] = [*self._by_loop.values()]
        if self._sync is not None:
            parents.append(self._sync)
        for found in parents:
            found.wire.abandon()
        self._parents += [*parents, *self._by_loop.keys()]
        self._sync = self._at_exit = None
        self._by_loop = weakref.WeakKeyDictionary()


async def _keep(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # the loop of a thread that was torn down
            await client.aclose()


class _SyncSet:
    def __init__(self, trust: Trust) -> None:
        self.wire = HttpClientTransport(trust)
        self.http = httpx.Client(transport=self.wire, trust_env=False)
        self._made: dict[tuple[str, str], object] = {}

    def client(self, kind: Client, request: Request) -> object:
        key = _key(kind, request)
        if key not in self._made:
            self._made[key] = self._make(kind, request)
        return self._made[key]

    def _make(self, kind: Client, request: Request) -> object:
        if kind == "bare":
            return self.wire
        if kind in ("http", "lent"):
            import_litellm()  # before any part of it is
            from litellm.llms.custom_httpx.http_handler import HTTPHandler

            return HTTPHandler(client=self.http)
        return _sdk_client("", request, self.http)


class _AsyncSet:
    def __init__(self, trust: Trust) -> None:
        self.wire = AsyncHttpClientTransport(trust)
        self.http = httpx.AsyncClient(transport=self.wire, trust_env=False)
        self.keeper: AsyncGenerator[None, None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._made: dict[tuple[str, str], object] = {}

    async def aclose(self) -> None:
        """Close the connections, on the loop that they belong to."""
        if self.keeper is not None:
            await self.keeper.aclose()

    def close_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the connections closed by `loop`, from whichever thread."""

        def begin() -> None:
            self._closing = loop.create_task(self.aclose())

        with contextlib.suppress(RuntimeError):  # it is closed, and so are they
            loop.call_soon_threadsafe(begin)

    def client(self, kind: Client, request: Request) -> object:
        key = _key(kind, request)
        if key not in self._made:
            self._made[key] = self._make(kind, request)
        return self._made[key]

    def _make(self, kind: Client, request: Request) -> object:
        if kind == "bare":
            return self.wire
        if kind in ("http", "lent"):
            import_litellm()  # before any part of it is
            from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

            http = self.http

            class Handler(AsyncHTTPHandler):
                def create_client(self, *args: object, **kwargs: object) -> httpx.AsyncClient:
                    return http

            return Handler()
        return _sdk_client("Async", request, self.http)


def _key(kind: Client, request: Request) -> tuple[str, str]:
    if kind == "openai":
        return (kind, repr(_sdk_settings(request)))
    return ("bare" if kind == "bare" else "http", "")


def _sdk_client(prefix: str, request: Request, http: httpx.Client | httpx.AsyncClient) -> object:
    """Return a client of OpenAI's SDK for the server of `request`."""
    openai: Any = run_shielded(lambda: importlib.import_module("openai"))
    settings = _sdk_settings(request)
    name = "AzureOpenAI" if record_of(request.provider).azure else "OpenAI"
    client = getattr(openai, prefix + name)(**settings, http_client=http)
    if "azure_endpoint" in settings and "azure_ad_token" not in settings:
        client._azure_ad_token = None  # noqa: SLF001 - it would be that of the environment
    return client


def _sdk_settings(request: Request) -> dict[str, Any]:
    """Return what a client of OpenAI's SDK is made with.

    Raises:
        BadRequest: it cannot be asked for this version of Azure's API.
    """
    base = request.connection.base or ""
    if not record_of(request.provider).azure:
        return {"api_key": PLACEHOLDER, "base_url": base, "max_retries": 0}
    version = request.connection.other.get("api_version") or DEFAULT_AZURE_VERSION
    if version == "v1":
        raise BadRequest(
            "LiteLLM asks Azure by deployments, and its API `v1` has none",
            help="write `transport: auto`, or another `api_version`",
        )
    return {
        "azure_ad_token" if request.connection.by_azure_token else "api_key": PLACEHOLDER,
        "azure_endpoint": base.partition("/openai")[0],
        "api_version": version,
        "max_retries": 0,
    }
