"""Several stores as one: the nearest that has an answer gives it, and the nearer ones learn it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lmconf.caches.store import DatedStore, Stats, Store, StoredHit, WarnsOnce, WritesLater
from lmconf.system.interrupts import is_interrupt

__all__ = ["TieredStore"]

T = TypeVar("T")


class TieredStore:
    """The stores from near (memory) to far (disk, server); a store that raises is passed over.

    A store with `far = True` is on another machine.
    The built-in stores never raise; one that somebody else wrote might, and it gets one warning.
    `names` is what events call them.
    """

    def __init__(self, stores: Sequence[Store], names: Sequence[str] | None = None) -> None:
        self._stores = tuple(stores)
        self.names = tuple(names or (type(store).__name__ for store in self._stores))
        self._dated = tuple(isinstance(store, DatedStore) for store in self._stores)
        self._finds = tuple(map(_finder, self._stores))
        fars = (i for i, store in enumerate(self._stores) if getattr(store, "far", False))
        self._first_far = next(fars, len(self._stores))
        self._warn = tuple(WarnsOnce(type(store).__name__) for store in self._stores)

    def get(self, key: str) -> bytes | None:
        """Return the answer of the nearest store that has one under `key`, or None."""
        found = self.nearest(key)
        return None if found is None else found[1].value

    def find(self, key: str) -> StoredHit | None:
        """Return what `get` returns, with its remaining time."""
        found = self.nearest(key)
        return None if found is None else found[1]

    def nearest(self, key: str) -> tuple[str, StoredHit] | None:
        """Return what `find` returns, with the name of the store that has it.

        The nearer stores keep the answer for that time. Where a store does not know the time, they
        do not keep it: it could outlive its permission.
        """
        return self._first(key, 0, len(self._stores))

    def near(self, key: str) -> tuple[str, StoredHit] | None:
        """Return what `nearest` returns of the stores on this machine."""
        return self._first(key, 0, self._first_far)

    def far(self, key: str) -> tuple[str, StoredHit] | None:
        """Return what `nearest` returns of those on other machines, which may take a while."""
        return self._first(key, self._first_far, len(self._stores))

    @property
    def has_far(self) -> bool:
        """Whether a store is on another machine."""
        return self._first_far < len(self._stores)

    def when_written(self, done: Callable[[], None]) -> None:
        """Have `done` called when other processes of this machine can find what was put so far."""
        for store in reversed(self._stores[: self._first_far]):
            if isinstance(store, WritesLater):
                store.when_written(done)
                return
        done()

    def _first(self, key: str, begin: int, end: int) -> tuple[str, StoredHit] | None:
        for index in range(begin, end):
            try:
                found = self._finds[index](key)
            except Exception as error:  # noqa: BLE001 - whatever a store raises, the call goes on
                self._pass_over(index, error)
                continue
            if found is not None:
                if self._dated[index]:
                    for nearer in range(index):
                        self._put(nearer, key, found.value, found.left)
                return self.names[index], found
        return None

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        """Keep `value` in every store."""
        for index in range(len(self._stores)):
            self._put(index, key, value, ttl)

    def close(self) -> None:
        """Close every store."""
        for index, store in enumerate(self._stores):
            self._try(index, store.close)

    def stats(self) -> Stats:
        """Return what the farthest store holds: the nearer ones hold parts of it."""
        if not self._stores:
            return {"entries": 0, "bytes": 0}
        last = len(self._stores) - 1
        return self._try(last, self._stores[last].stats) or {"entries": 0, "bytes": 0}

    def clear(self) -> None:
        """Drop everything from every store."""
        for index, store in enumerate(self._stores):
            self._try(index, store.clear)

    def _put(self, index: int, key: str, value: bytes, ttl: float | None) -> None:
        self._try(index, lambda: self._stores[index].put(key, value, ttl=ttl))

    def _try(self, index: int, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call goes on
            self._pass_over(index, error)
            return None

    def _pass_over(self, index: int, error: Exception) -> None:
        if is_interrupt(error):
            raise error
        self._warn[index](f"raised {type(error).__name__}; the call continued without it")


def _finder(store: Store) -> Callable[[str], StoredHit | None]:
    if isinstance(store, DatedStore):
        return store.find

    def find(key: str) -> StoredHit | None:
        value = store.get(key)
        return None if value is None else StoredHit(value, None)

    return find
