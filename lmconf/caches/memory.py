"""Answers kept in this process, the least recently used dropped first."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from lmconf.caches.store import Stats, StoredHit
from lmconf.system.fork import register_forkable

__all__ = ["MemoryCache"]


class MemoryCache:
    """At most `max_entries` answers of at most `max_size` bytes together.

    `clock` returns seconds that never go back. A forked child begins with its parent's answers
    and shares none of its own.
    """

    def __init__(
        self,
        max_entries: int = 10_000,
        max_size: int = 64 * 2**20,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_size = max_size
        self._clock = clock
        self._kept: OrderedDict[str, tuple[StoredHit, float]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        register_forkable(self)

    def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, or None."""
        found = self.find(key)
        return None if found is None else found.value

    def find(self, key: str) -> StoredHit | None:
        """Return what was put under `key` with its remaining time, or None."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            found, expires = kept
            if expires != math.inf:
                left = expires - self._clock()
                if left <= 0:
                    self._drop(key)
                    return None
                found = StoredHit(found.value, left)
            self._kept.move_to_end(key)
            return found

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        """Keep `value` under `key` for `ttl` seconds (None: for ever)."""
        # max() also makes 0 of NaN, which would otherwise never expire.
        expires = math.inf if ttl is None else self._clock() + max(0.0, ttl)
        with self._lock:
            self._drop(key)
            if len(value) > self._max_size:
                return
            self._kept[key] = (StoredHit(value, None), expires)
            self._size += len(value)
            while self._size > self._max_size or len(self._kept) > self._max_entries:
                self._drop(next(iter(self._kept)))

    def close(self) -> None:
        """Do nothing: no file and no connection is held."""

    def stats(self) -> Stats:
        """Return how many answers are kept, and their bytes."""
        with self._lock:
            return {"entries": len(self._kept), "bytes": self._size}

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()
            self._size = 0

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= len(kept[0].value)

    def before_fork(self) -> None:
        """Wait until no thread is changing what is kept."""
        self._lock.acquire()

    def after_fork(self, in_child: bool) -> None:
        """Go on; the child has a lock of its own."""
        if in_child:
            self._lock = threading.Lock()
        else:
            self._lock.release()
