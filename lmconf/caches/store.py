"""What every store of answers promises, and how its troubles are told.

A store keeps bytes under texts. Whatever happens to it (a full disk, a corrupt file, a server that
is gone), its methods return: a `get` finds nothing, a `put` keeps nothing, and one `CacheWarning`
a store says why. Tests over every kind of store are in `tests/contracts/test_caches.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypedDict, runtime_checkable

__all__ = [
    "CacheWarning",
    "DatedStore",
    "Entry",
    "Stats",
    "Store",
    "StoredAnswer",
    "StoredHit",
    "WarnsOnce",
    "WritesLater",
]


class CacheWarning(UserWarning):
    """A store cannot do its work: calls continue without it, and it is tried again later."""


class Stats(TypedDict):
    """How much a store holds: `entries` (answers) and `bytes` (what they occupy)."""

    entries: int
    bytes: int


class Store(Protocol):
    """A place where answers are kept; safe to use from many threads, and across a fork."""

    def get(self, key: str) -> bytes | None:
        """Return what was put under `key`; None if nothing was, it is too old or was dropped."""

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        """Keep `value` under `key` for `ttl` seconds (None: for ever), in place of what was there.

        A store may drop what it likes, and keeps nothing that does not fit into it.
        """

    def close(self) -> None:
        """Let go of files and connections; what was kept stays, and a later call opens anew."""

    def stats(self) -> Stats:
        """Return how much is kept; zeros where that cannot be known."""

    def clear(self) -> None:
        """Drop everything."""


class Entry(NamedTuple):
    """An answer to be kept, with the times when it was made and when it expires, since 1970."""

    key: str
    value: bytes
    created: float
    expires: float | None


class StoredAnswer(NamedTuple):
    """An answer that a store holds, with its times in seconds since 1970.

    `used` is when it was last asked for, as far as the store knows.
    """

    key: str
    value: bytes
    created: float
    expires: float | None
    used: float


class StoredHit(NamedTuple):
    """A kept answer, and for how many seconds more it may be used (None: for ever)."""

    value: bytes
    left: float | None


@runtime_checkable
class DatedStore(Store, Protocol):
    """A store that also knows how long an answer may still be used."""

    def find(self, key: str) -> StoredHit | None:
        """Return what `get` returns, with its remaining time."""


@runtime_checkable
class WritesLater(Store, Protocol):
    """A store that keeps what is put for itself, and writes it soon after."""

    def flush(self) -> None:
        """Write everything that was put before; when it returns, that outlives the process."""

    def when_written(self, done: Callable[[], None]) -> None:
        """Have `done` called, in any thread, once what was put before is written, or given up."""


@runtime_checkable
class OpenStore(DatedStore, Protocol):
    """A store that shows what it holds, for whoever looks after it."""

    def entries(self) -> Iterator[StoredAnswer]:
        """Return everything that is kept and not expired, in no order; damaged rows are left out."""

    def put_all(self, entries: Iterable[Entry]) -> None:
        """Keep all of `entries`; when it returns, they are written or given up."""

    def drop(self, keys: Iterable[str]) -> None:
        """Drop what is kept under `keys`."""

    def expire(self) -> None:
        """Drop what has expired, and is not found any more, and give its room back."""


class WarnsOnce:
    """Says the first trouble of one store and no other."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._said = False

    def __call__(self, trouble: str) -> None:
        """Warn with `trouble`, unless something was said before."""
        if not self._said:
            self._said = True
            warnings.warn(f"{self._store}: {trouble}", CacheWarning, stacklevel=3)
