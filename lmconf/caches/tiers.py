"""Several stores as one: the nearest that has an answer gives it, and the nearer ones learn it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lmconf.caches.store import DatedStore, Store, StoredHit, WarnsOnce, WritesLater
from lmconf.system.interrupts import is_interrupt

__all__ = ["TieredStore"]


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

    def near(self, key: str) -> tuple[str, StoredHit] | None:
        """Return what the nearest store of this machine has under `key`, with that store's name.

        The nearer stores keep the answer for its remaining time. Where a store does not know the
        time, they do not keep it: it could outlive its permission.
        """
        return self._first(key, 0, self._first_far)

    def far(self, key: str) -> tuple[str, StoredHit] | None:
        """Return what `near` returns, of the stores on other machines; it may take a while."""
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

    def _put(self, index: int, key: str, value: bytes, ttl: float | None) -> None:
        try:
            self._stores[index].put(key, value, ttl=ttl)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call goes on
            self._pass_over(index, error)

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
