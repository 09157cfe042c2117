"""Lends our client to those routes of litellm that take none: they make their own, or keep one.

litellm keeps such clients in `litellm.in_memory_llm_clients_cache`. While an exchange is under
way, whoever asks there for an HTTP client is given the exchange's; everyone else, and whatever
else is kept there, is served as before.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from lmconf.forking import Mutex
from lmconf.transports.exchange import lent_client

__all__ = ["lend_clients"]

_LENDING = Mutex()
_KINDS = ("httpx_client", "async_httpx_client")


class _Lender:
    """litellm's own store of clients, which answers with an exchange's client inside of one."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get_cache(self, key: str, *args: Any, **kwargs: Any) -> Any:
        if str(key).startswith(_KINDS):
            client = lent_client()
            if client is not None:
                return client
        return self._store.get_cache(key, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def lend_clients(litellm: ModuleType) -> None:
    """Put the lender in the place of litellm's store of clients, once."""
    settings: Any = litellm
    with _LENDING:
        store = settings.in_memory_llm_clients_cache
        if not isinstance(store, _Lender):
            settings.in_memory_llm_clients_cache = _Lender(store)
