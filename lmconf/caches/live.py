"""The stores of this process: equal specs share one, and all are closed when it ends."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar, cast

from lmconf.forking import stand_still_at_forks

__all__ = ["close_at_exit", "shared"]


class Closing(Protocol):
    """Something that is closed when the process ends."""

    def close(self) -> None:
        """Let go of what is open."""


T = TypeVar("T", bound=Closing)


class _Live:
    def __init__(self) -> None:
        self._stores: dict[Hashable, Closing] = {}
        self._others: weakref.WeakSet[Closing] = weakref.WeakSet()
        # A store that is made under this lock asks to be closed.
        self._lock = threading.RLock()
        self._prepared = False

    def shared(self, key: Hashable, make: Callable[[], Closing]) -> Closing:
        with self._lock:
            self._prepare()
            store = self._stores.get(key)
            if store is None:
                store = self._stores[key] = make()
            return store

    def close_at_exit(self, store: Closing) -> None:
        with self._lock:
            self._prepare()
            self._others.add(store)

    def _prepare(self) -> None:
        if not self._prepared:
            self._prepared = True
            stand_still_at_forks(self)
            atexit.register(self._close)

    def _close(self) -> None:
        with self._lock:
            stores = {id(store): store for store in (*self._stores.values(), *self._others)}
        for store in stores.values():
            store.close()

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, in_child: bool) -> None:
        if in_child:
            self._lock = threading.RLock()
        else:
            self._lock.release()


# One a process by definition: two LMs that name equal stores must meet in the same one.
_LIVE = _Live()


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """Return what this process has under `key`, made by `make` when first asked for."""
    return cast(T, _LIVE.shared(key, make))


def close_at_exit(store: Closing) -> None:
    """Have `store` closed when the process ends, if anybody has it still."""
    _LIVE.close_at_exit(store)
