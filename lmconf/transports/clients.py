"""The clients that litellm is given: all of them send through `lmconf.transports.wire`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from lmconf.transports.contract import Request
from lmconf.transports.exchange import PLACEHOLDER
from lmconf.transports.routes import Client
from lmconf.transports.wire import AsyncWire, Wire

__all__ = ["Clients"]


class Clients:
    """The synchronous clients of one transport, and the asynchronous ones of each event loop.

    Connections stay open between calls. Those of an event loop are closed when it shuts down;
    the synchronous ones on `close` or when the object is gone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sync: _SyncSet | None = None
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _AsyncSet] = (
            weakref.WeakKeyDictionary()
        )

    def sync(self, kind: Client, request: Request) -> object:
        """Return the synchronous client of `kind` for the server of `request`."""
        with self._lock:
            if self._sync is None:
                self._sync = _SyncSet()
                weakref.finalize(self, self._sync.http.close)
            return self._sync.client(kind, request)

    async def on_loop(self, kind: Client, request: Request) -> object:
        """Return the asynchronous client of `kind` that belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._by_loop.get(loop)
            if found is None:
                self._forget_closed_loops()
                found = self._by_loop[loop] = _AsyncSet()
        if found.keeper is None:
            # A loop that shuts down closes the asynchronous generators that it has started.
            found.keeper = _keep(found.http)
            await found.keeper.__anext__()
        return found.client(kind, request)

    def close(self) -> None:
        """Close the synchronous connections; those of a loop are closed with the loop."""
        with self._lock:
            if self._sync is not None:
                self._sync.http.close()
                self._sync = None

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            del self._by_loop[loop]


async def _keep(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # the loop of a thread that was torn down
            await client.aclose()


class _SyncSet:
    def __init__(self) -> None:
        self.http = httpx.Client(transport=Wire(), trust_env=False)
        self._made: dict[tuple[str, str, str], object] = {}

    def client(self, kind: Client, request: Request) -> object:
        key = _key(kind, request)
        if key not in self._made:
            self._made[key] = self._make(kind, request)
        return self._made[key]

    def _make(self, kind: Client, request: Request) -> object:
        if kind == "bare":
            return self.http
        if kind == "http":
            from litellm.llms.custom_httpx.http_handler import HTTPHandler

            return HTTPHandler(client=self.http)
        import openai

        if kind == "azure":
            return _with_no_other(openai.AzureOpenAI(**_azure(request), http_client=self.http))
        return openai.OpenAI(**_sdk(request), http_client=self.http)


class _AsyncSet:
    def __init__(self) -> None:
        self.http = httpx.AsyncClient(transport=AsyncWire(), trust_env=False)
        self.keeper: AsyncGenerator[None, None] | None = None
        self._made: dict[tuple[str, str, str], object] = {}

    def client(self, kind: Client, request: Request) -> object:
        key = _key(kind, request)
        if key not in self._made:
            self._made[key] = self._make(kind, request)
        return self._made[key]

    def _make(self, kind: Client, request: Request) -> object:
        if kind == "bare":
            return self.http
        if kind == "http":
            from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

            http = self.http

            class Handler(AsyncHTTPHandler):
                def create_client(self, *args: object, **kwargs: object) -> httpx.AsyncClient:
                    return http

            return Handler()
        import openai

        if kind == "azure":
            made = openai.AsyncAzureOpenAI(**_azure(request), http_client=self.http)
            return _with_no_other(made)
        return openai.AsyncOpenAI(**_sdk(request), http_client=self.http)


def _key(kind: Client, request: Request) -> tuple[str, str, str]:
    if kind in ("bare", "http"):
        return (kind, "", "")
    other = request.connection.other
    account = f"{other.get('api_version', '')} {_is_token(request)}"
    return (kind, request.connection.base or "", account)


def _sdk(request: Request) -> dict[str, Any]:
    return {"api_key": PLACEHOLDER, "base_url": request.connection.base, "max_retries": 0}


def _azure(request: Request) -> dict[str, Any]:
    other = request.connection.other
    return {
        # With a token, Azure takes `Authorization: Bearer` in the place of the `api-key` header.
        "azure_ad_token" if _is_token(request) else "api_key": PLACEHOLDER,
        "azure_endpoint": request.connection.base,
        "api_version": other.get("api_version") or DEFAULT_AZURE_VERSION,
        "max_retries": 0,
    }


def _with_no_other(client: Any) -> object:
    """Return Azure's `client` without the token that it found in AZURE_OPENAI_AD_TOKEN.

    It would be sent in the place of the key.
    """
    if client._azure_ad_token != PLACEHOLDER:  # noqa: SLF001 - no argument keeps it out
        client._azure_ad_token = None  # noqa: SLF001
    return client


def _is_token(request: Request) -> bool:
    """Say whether Azure's credential is a token of its directory and no key."""
    other = request.connection.other
    return "azure_ad_token" in other or other.get("api_type") in AZURE_AD_TYPES


AZURE_AD_TYPES = ("azure_ad", "azuread")
"""The values of `api_type` with which `api_key` is a token, as in the OpenAI SDK before 1.0."""

DEFAULT_AZURE_VERSION = "2024-10-21"
"""Azure's generally available version of the API, used where a profile names none."""
