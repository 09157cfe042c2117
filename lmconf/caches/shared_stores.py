"""The stores of this process: equal specs share one, and all are closed when it ends."""

from __future__ import annotations

import atexit
import gc
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar, cast

from lmconf.diagnostics.model import Diagnostic, Mark, Note
from lmconf.errors import ProfileError
from lmconf.system.fork import register_forkable

__all__ = ["close_at_exit", "shared_resource"]


class Closable(Protocol):
    """Something that is closed when the process ends."""

    def close(self) -> None:
        """Let go of what is open."""


T = TypeVar("T", bound=Closable)


class _SharedResources:
    def __init__(self) -> None:
        self._stores: dict[Hashable, Closable] = {}
        self._places: dict[Hashable, tuple[Hashable, Mark | None]] = {}
        self._others: weakref.WeakSet[Closable] = weakref.WeakSet()
        # A store that is made under this lock asks to be closed.
        self._lock = threading.RLock()
        self._prepared = False

    def shared(
        self, key: Hashable, make: Callable[[], Closable], place: Hashable, said: Mark | None
    ) -> Closable:
        with self._lock:
            self._prepare()
            store = self._stores.get(key)
            if store is None:
                if place is not None:
                    self._see_that_it_is_free(place, said)
                    self._places[place] = key, said
                store = self._stores[key] = make()
            return store

    def _see_that_it_is_free(self, place: Hashable, said: Mark | None) -> None:
        """Let go of the store at `place`, which is declared in another way now.

        Raises:
            ProfileError: somebody uses it.
        """
        key, elsewhere = self._places.get(place, (None, None))
        store = self._stores.pop(key, None)
        if store is None:
            return
        used = weakref.ref(store)
        store.close()
        del store
        gc.collect()  # an LM that nobody has any more may be part of a cycle
        store = used()
        if store is not None:
            self._stores[key] = store
            note = Note("the other one is used here", elsewhere)
            raise ProfileError(
                [
                    Diagnostic(
                        code="store-conflict",
                        message="an LM of this process uses the same store, declared differently",
                        mark=said,
                        help="declare it once, under `stores` of a profile that both extend",
                        notes=() if elsewhere is None else (note,),
                    )
                ]
            )

    def close_at_exit(self, store: Closable) -> None:
        with self._lock:
            self._prepare()
            self._others.add(store)

    def _prepare(self) -> None:
        if not self._prepared:
            self._prepared = True
            register_forkable(self)
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
_LIVE = _SharedResources()


def shared_resource(
    key: Hashable, make: Callable[[], T], *, place: Hashable = None, said: Mark | None = None
) -> T:
    """Return what this process has under `key`, made by `make` when first asked for.

    `said` is where a profile says so.

    Raises:
        ProfileError: what is at the same `place` was made under another key, and is in use.
    """
    return cast(T, _LIVE.shared(key, make, place, said))


def close_at_exit(store: Closable) -> None:
    """Have `store` closed when the process ends, if anybody has it still."""
    _LIVE.close_at_exit(store)
