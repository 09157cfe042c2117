"""Answers kept in one SQLite file, shared by the threads and processes of one machine."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from lmconf.caches import answer_table as table
from lmconf.caches.sqlite_file import (
    FILE,
    OpenFile,
    StorageFault,
    fault_of,
    inode_in,
    open_file,
    set_aside,
    transaction,
)
from lmconf.caches.store import Entry, Stats, StoredAnswer, StoredHit, WarnsOnce
from lmconf.system.circuit_breaker import CircuitBreaker, Rest
from lmconf.system.fork import register_forkable
from lmconf.system.tracebacks import is_interrupt

__all__ = ["DiskCache"]

T = TypeVar("T")

_REST = Rest(60.0)
"""Seconds for which a store that failed is left alone, before it is opened again."""
_REST_WHEN_BUSY = Rest(5.0)
_TOUCH_AFTER = 600.0
"""An answer's last use is written again when the written one is this many seconds old."""
_TOUCHES = 256
_LOG_TOO_LARGE = 64 * 2**20
_PATIENCE_WITH_CORRUPT = 0.5
"""Seconds to wait for other processes to let go of a corrupt file."""


class DiskCache:
    """The answers in `folder`, of at most `max_size` bytes; nothing is touched before first use.

    The folder is made with mode 0700 and the file with 0600. A file that turns out corrupt is set
    aside as `answers.v1.sqlite3.corrupt-<n>`; a row whose checksum does not fit is deleted.
    `clock` returns seconds since 1970; `patience` is how many seconds to wait for other processes.
    """

    far = False

    def __init__(
        self,
        folder: str | Path,
        max_size: int = 2 * 2**30,
        *,
        patience: float = 2.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open: OpenFile | None = None
        # pathlib's expanduser raises where there is no home folder.
        self._folder = Path(os.path.abspath(os.path.expanduser(folder)))  # noqa: PTH100, PTH111
        self._max_size = max_size
        self._step = max(8192, min(max_size // 32, 8 * 2**20))
        self._patience = patience
        self._clock = clock
        self._warn = WarnsOnce(f"cache in {self._folder}")
        self._opening = CircuitBreaker()
        self._writing = CircuitBreaker()
        self._since_check = self._step
        self._touched: dict[int, float] = {}
        self._lock = threading.RLock()
        register_forkable(self)

    def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, or None."""
        found = self.find(key)
        return None if found is None else found.value

    def find(self, key: str) -> StoredHit | None:
        """Return what was put under `key` with its remaining time, or None."""
        with self._lock:
            return self._do(lambda file: self._find(file, key))

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        """Keep `value` under `key` for `ttl` seconds (None: for ever).

        An answer larger than a quarter of the store is not kept.
        """
        now = self._clock()
        # max() also makes 0 of NaN, which would otherwise never expire.
        expires = None if ttl is None else now + max(0.0, ttl)
        self.put_all((Entry(key, value, now, expires),))

    def put_all(self, entries: Iterable[Entry]) -> None:
        """Keep `entries`, all of them at once; when it returns, they outlive the process."""
        with self._lock:
            if self._writing.rests_for:
                return
            rows: list[tuple[object, ...]] = []
            size = 0
            for key, value, created, expires in entries:
                if self.fits(len(value)):
                    rows.append(
                        (key, created, expires, created, table.checksum_of(key, value), value)
                    )
                    size += len(value)
                else:
                    self._drop(key)
            if not rows:
                return
            if self._since_check + size >= self._step:
                self._do(lambda file: self._keep_house(file, size), writing=True)
                self._since_check = 0
            self._since_check += size
            self._do(lambda file: self._put(file, rows, size), writing=True)

    def fits(self, size: int) -> bool:
        """Say whether a value of `size` bytes would be kept."""
        return size <= self._max_size // 4

    def _drop(self, key: str) -> None:
        self._do(lambda file: table.try_statement(file, table.DROP, [(key,)]))

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            self._shut()

    def __del__(self) -> None:
        self._shut()

    def stats(self) -> Stats:
        """Return how many answers are kept, and how many bytes of the file they occupy."""
        nothing: Stats = {"entries": 0, "bytes": 0}
        with self._lock:
            return self._do(table.stats_of) or nothing

    def entries(self) -> Iterator[StoredAnswer]:
        """Return everything that is kept and not expired; damaged rows are left out."""
        last = 0
        while True:
            with self._lock:
                rows = self._do(lambda file, last=last: table.page_after(file, last)) or []  # type: ignore[misc]
            if not rows:
                return
            now = self._clock()
            for number, key, value, checksum, created, expires, used in rows:
                last = number
                name = key.decode("utf-8", "replace")
                whole = table.is_whole(name, value, checksum, expires, used)
                if whole and type(created) is float and (expires is None or expires > now):
                    yield StoredAnswer(name, value, created, expires, used)

    def drop(self, keys: Iterable[str]) -> None:
        """Drop what is kept under `keys`."""
        rows: list[tuple[object, ...]] = [(key,) for key in keys]
        with self._lock:
            self._do(lambda file: table.delete_keys(file, rows), writing=True)

    def expire(self) -> None:
        """Drop what has expired, and give its room back to the file system."""
        with self._lock:
            self._do(self._expire, writing=True)

    def _expire(self, file: OpenFile) -> None:
        file.connection.execute(
            "DELETE FROM answers WHERE expires IS NOT NULL AND expires <= ?", (self._clock(),)
        )
        table.shrink(file)

    def clear(self) -> None:
        """Drop everything, and give its room back to the file system."""
        with self._lock:
            self._do(self._clear, writing=True)

    # --- one operation, and what becomes of its troubles ---

    def _do(self, work: Callable[[OpenFile], T], *, writing: bool = False) -> T | None:
        """Return what `work` does with the open file, None when that cannot be done.

        After a corrupt file was replaced, what is written is written once more.
        """
        for last in (False, True) if writing else (True,):
            file = self._open or self._reopen()
            if file is None:
                return None
            try:
                return work(file)
            except (sqlite3.Error, OSError) as error:
                if is_interrupt(error):
                    raise
                if not self._mend(error, file, writing) or last:
                    return None
        return None

    def _reopen(self) -> OpenFile | None:
        for again in (True, False):
            if self._opening.rests_for:
                return None
            inode = inode_in(self._folder)
            try:
                self._open = open_file(self._folder, self._max_size, self._patience)
            except (sqlite3.Error, OSError) as error:
                if is_interrupt(error):
                    raise
                if fault_of(error) != "corrupt" or not again or not self._set_aside(inode):
                    self._rest(error)
            else:
                self._since_check = self._step  # the next put looks at what others left
                return self._open
        return None

    def _set_aside(self, inode: int | None) -> bool:
        free = set_aside(self._folder, inode, _PATIENCE_WITH_CORRUPT)
        if free:
            self._warn("the file was corrupt; it was renamed and a new one was created")
        return free

    def _mend(self, error: sqlite3.Error | OSError, file: OpenFile, writing: bool) -> bool:
        """Do what can be done about a failed operation; say whether it may succeed now."""
        match fault_of(error):
            case "corrupt":
                self._shut()
                if file.writable and self._set_aside(file.inode):
                    return True
                self._rest(error)
            case "full":
                self._writing.record_failure(_REST)
                self._warn("the disk is full; new answers are not stored")
            case "read-only":
                self._writing.record_failure(_REST)
                self._warn("the file is read-only; new answers are not stored")
            case "busy":
                self._writing.record_failure(_REST_WHEN_BUSY)
                self._warn("another process holds the file; some answers are not stored")
            case "other" | "foreign":
                self._shut()
                if not writing:
                    self._rest(error)
                else:  # reading may still be possible, and is tried
                    self._writing.record_failure(_REST)
                    self._warn(f"writing failed ({error}); new answers are not stored")
        return False

    def _rest(self, error: sqlite3.Error | OSError) -> None:
        self._opening.record_failure(_REST)
        words: dict[StorageFault, str] = {
            "full": "the disk is full",
            "corrupt": "the file is corrupt",
            "foreign": f"{FILE} is not a cache of lmconf and was not changed",
        }
        why = words.get(fault_of(error), f"{FILE} cannot be used ({error})")
        self._warn(f"{why}; calls continue without it")

    def _shut(self) -> None:
        file, self._open = self._open, None
        if file is not None:
            try:
                self._write_touched(file)
            finally:
                file.close()

    # --- what is done with the open file ---

    def _find(self, file: OpenFile, key: str) -> StoredHit | None:
        row = file.connection.execute(table.FIND, (key,)).fetchone()
        if row is None:
            return None
        number, value, checksum, expires, used = row
        now = self._clock()
        if not table.is_whole(key, value, checksum, expires, used):
            table.try_statement(file, table.DELETE, [(number,)])
            return None
        if expires is not None and not expires > now:
            return None
        if file.writable and not now - used < _TOUCH_AFTER:
            self._touched[number] = now
            if len(self._touched) >= _TOUCHES:
                self._write_touched(file)
        left = None if expires is None or expires == math.inf else expires - now
        return StoredHit(value, left)

    def _put(self, file: OpenFile, rows: list[tuple[object, ...]], size: int) -> None:
        try:
            table.write_rows(file, rows)
        except sqlite3.OperationalError as error:
            # The file may have reached its own largest size rather than the disk's end.
            if fault_of(error) != "full" or not self._make_room(file, size):
                raise
            table.write_rows(file, rows)

    def _keep_house(self, file: OpenFile, size: int) -> None:
        if not file.writable:
            return
        if inode_in(self._folder) != file.inode:  # somebody removed the folder, or the file
            self._shut()
            return
        self._write_touched(file)
        file.connection.execute(table.EXPIRE, (self._clock(),))
        if table.occupied_bytes(file) + size > self._max_size - 2 * self._step:
            self._make_room(file, size)
        # Writers that never pause keep the log from starting over; this waits for a pause.
        log = self._folder / f"{FILE}-wal"
        if log.exists() and log.stat().st_size > _LOG_TOO_LARGE:
            file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _make_room(self, file: OpenFile, size: int) -> bool:
        """Drop the answers that were used least recently; say whether there were any to drop."""
        target = max(0, self._max_size - 3 * self._step - size)
        dropped = False
        while (excess := table.occupied_bytes(file) - target) > 0:
            numbers = []
            for number, length in file.connection.execute(table.OLDEST):
                numbers.append((number,))
                excess -= length + table.ROW_SIZE
                if excess <= 0:
                    break
            if not numbers:
                break
            with transaction(file.connection):
                file.connection.executemany(table.DELETE, numbers)
            dropped = True
        (pages,) = file.connection.execute("PRAGMA page_count").fetchone()
        if dropped and pages * table.page_size(file) > self._max_size:  # it was allowed more before
            table.shrink(file)
        return dropped

    def _clear(self, file: OpenFile) -> None:
        self._touched.clear()
        file.connection.execute("DELETE FROM answers")
        table.shrink(file)

    def _write_touched(self, file: OpenFile) -> None:
        touched, self._touched = self._touched, {}
        table.try_statement(
            file,
            "UPDATE answers SET used = ? WHERE id = ?",
            [(used, number) for number, used in touched.items()],
        )

    # --- forks ---

    def before_fork(self) -> None:
        """Close the file, and keep every thread from opening it."""
        self._lock.acquire()
        self._shut()

    def after_fork(self, in_child: bool) -> None:
        """Go on; each process opens the file for itself."""
        if in_child:
            self._lock = threading.RLock()
        else:
            self._lock.release()
