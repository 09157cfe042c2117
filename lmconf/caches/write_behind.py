"""Answers put into a slow store by a thread of its own, many at once.

A `put` only notes the answer, which this process finds from then on; one thread writes what was
noted, a few milliseconds later, in one transaction. What was put before `flush` (or `close`, or
the end of the process by itself) outlives the process; a process that is killed loses what it put
in the last few milliseconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

from lmconf.caches.shared_stores import close_at_exit
from lmconf.caches.store import Entry, OpenStore, Stats, StoredHit
from lmconf.system.fork import register_forkable
from lmconf.system.interrupts import OnDemandThread

__all__ = ["BatchStore", "WriteBehindStore"]

_GATHERED = 0.005
"""Seconds for which answers are gathered before they are written."""
_LINGERS = 0.02
"""Seconds after which a thread that has nothing to write ends."""
_ROW = 300
"""What an answer counts beside its value, in bytes."""


class BatchStore(OpenStore, Protocol):
    """A store that many answers are written into at once."""

    far: bool

    def fits(self, size: int) -> bool:
        """Say whether a value of `size` bytes would be kept."""


class _Batch:
    """Answers that are written together, and who wants to know when they are."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.done: list[Callable[[], None]] = []
        self.size = 0


class WriteBehindStore:
    """The store that `make` makes, written by a thread; at most `most` bytes wait for it.

    Whoever puts more than that writes it in place of the thread. `clock` is the store's own.
    """

    def __init__(
        self,
        make: Callable[[], BatchStore],
        *,
        most: int = 4 * 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._noted = threading.Condition()
        self._one_writes = threading.RLock()
        self._waiting = _Batch()
        self._written: _Batch | None = None
        self._thread = self._new_thread()
        self._idle = False
        self._most = most
        self._clock = clock
        # Told of a fork before the store is: it writes what waits while the store still works.
        register_forkable(self)
        self._store = make()
        self.far = self._store.far
        close_at_exit(self)

    @property
    def store(self) -> BatchStore:
        """The store behind."""
        return self._store

    def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, or None."""
        found = self.find(key)
        return None if found is None else found.value

    def find(self, key: str) -> StoredHit | None:
        """Return what was put under `key` with its remaining time, or None."""
        with self._noted:
            entry = self._waiting.entries.get(key)
            if entry is None and self._written is not None:
                entry = self._written.entries.get(key)
        if entry is None:
            return self._store.find(key)
        if entry.expires is None:
            return StoredHit(entry.value, None)
        left = entry.expires - self._clock()
        return StoredHit(entry.value, None if left == float("inf") else left) if left > 0 else None

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        """Keep `value` under `key` for `ttl` seconds (None: for ever)."""
        if not self._store.fits(len(value)):
            self.flush()
            self._store.put(key, value, ttl=ttl)
            return
        now = self._clock()
        # max() also makes 0 of NaN, which would otherwise never expire.
        entry = Entry(key, value, now, None if ttl is None else now + max(0.0, ttl))
        with self._noted:
            batch = self._waiting
            batch.entries[key] = entry
            batch.size += len(value) + _ROW
            full = batch.size > self._most
            if self._idle:
                self._noted.notify()
        if full or (self._thread.current is None and not self._thread.start()):
            self.flush()

    def flush(self) -> None:
        """Write everything that was put before; when it returns, that outlives the process."""
        with self._one_writes:
            self._write()

    def when_written(self, done: Callable[[], None]) -> None:
        """Have `done` called, in any thread, once what was put before is written, or given up."""
        with self._noted:
            batch = self._waiting if self._waiting.entries else self._written
            if batch is not None:
                batch.done.append(done)
                return
        done()

    def close(self) -> None:
        """Write what waits, and let go of the store's file or connection."""
        self.flush()
        self._store.close()

    def stats(self) -> Stats:
        """Return how much is kept."""
        self.flush()
        return self._store.stats()

    def clear(self) -> None:
        """Drop everything."""
        with self._one_writes:
            self._write()
            self._store.clear()

    # --- the thread ---

    def _new_thread(self) -> OnDemandThread:
        # No daemon: the end of a process waits for it, also where no exit handlers run, as in
        # the children that `multiprocessing` forks before Python 3.13.
        return OnDemandThread(self._run, "lmconf cache", self._noted, daemon=False)

    def _run(self) -> None:
        while True:
            with self._noted:
                if self._thread.is_current() and not self._waiting.entries:
                    self._idle = True
                    self._noted.wait(_LINGERS)
                    self._idle = False
                    if not self._waiting.entries:
                        self._thread.end()
                if not self._thread.is_current():
                    return
            time.sleep(_GATHERED)
            self.flush()

    def _write(self) -> None:
        with self._noted:
            batch, self._waiting = self._waiting, _Batch()
            if not batch.entries:
                return
            self._written = batch
        try:
            # Somebody may have warnings raised; this one has no caller to be raised to.
            with contextlib.suppress(Warning):
                self._store.put_all(batch.entries.values())
        finally:
            with self._noted:
                self._written = None
            for done in batch.done:
                done()

    # --- forks ---

    def before_fork(self) -> None:
        """Write what waits, and keep every thread from putting more."""
        self.flush()
        self._noted.acquire()

    def after_fork(self, in_child: bool) -> None:
        """Go on; what waits still is the parent's to write."""
        if in_child:
            self._noted = threading.Condition()
            self._one_writes = threading.RLock()
            self._waiting, self._written, self._thread = _Batch(), None, self._new_thread()
            self._idle = False
        else:
            self._noted.release()
