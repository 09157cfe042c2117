"""Uses stores on disk while writes fail, wherever that may be, and tells what became of them.

    LD_PRELOAD=SHIM python -m tests.laws.failing_writes SHIM FOLDER SHARE

`SHIM` is `tests/failing_writes.c`, built. A store is used in the same way again and again; each
time other writes fail. Of all these ways, one in `SHARE` is tried.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import random
import shutil
import sqlite3
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from lmconf.caches.disk import DiskCache
from lmconf.caches.sqlite_file import FILE
from lmconf.caches.store import CacheWarning, Entry

SIZE = 2**20
FOR_EVER = 10**6
BEFORE = b"kept while the disk was well"


class Case:
    """One use of a store in `folder`, while `fail` has writes fail."""

    def __init__(self, folder: Path, fail: Callable[[], None]) -> None:
        self.folder = folder
        self.fail = fail
        self.put: dict[str, bytes] = {"before": BEFORE}
        self.found: set[str] = {"before"}

    def run(self) -> str:
        """Return what the store warned of while writes failed; "" if it said nothing."""
        well = DiskCache(self.folder, SIZE)
        well.put("before", BEFORE, ttl=None)
        well.close()
        store = DiskCache(self.folder, SIZE)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            self.fail()
            self.use(store)
        assert [each.category for each in said] in ([], [CacheWarning]), list(map(str, said))
        return str(said[0].message) if said else ""

    def use(self, store: DiskCache) -> None:
        for number in range(6):
            entries = [(f"{number}-{each}", bytes([number]) * 9000 * each) for each in range(1, 4)]
            store.put_all(Entry(key, value, 1.0, None) for key, value in entries)
            self.put.update(entries)
            self.look(store)
        store.drop(["0-1"])
        self.found.discard("0-1")
        store.put("replaced", b"1", ttl=None)
        store.put("replaced", b"2", ttl=None)
        assert store.get("replaced") in (b"1", b"2", None)
        self.look(store)
        store.close()

    def look(self, store: DiskCache) -> None:
        for key, value in self.put.items():
            found = store.get(key)
            assert found in (None, value), key
            if found is not None:
                self.found.add(key)

    def heal(self) -> None:
        """What was ever found is there at the next open, and the store works as before."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store = DiskCache(self.folder, SIZE)
            for key in self.found - {"0-1"}:
                assert store.get(key) == self.put[key], key
            store.put("after", b"1", ttl=None)
            assert store.get("after") == b"1"
            store.close()
        assert not list(self.folder.glob("*.corrupt-*"))
        connection = sqlite3.connect(self.folder / FILE)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def ways(writes: int) -> Iterator[tuple[int, int, int, bool]]:
    """The error, the first of the writes that fail and their number, and whether it is torn."""
    yield from itertools.product(
        (errno.ENOSPC, errno.EIO), range(writes), (1, 3, FOR_EVER), (False, True)
    )


def main(shim: str, top: Path, share: int) -> None:
    built = ctypes.CDLL(shim)
    plain = Case(top / "plain", lambda: built.fail_writes(0, 0, 0, 0))
    assert plain.run() == ""
    writes = built.writes_seen()
    assert writes > 20, "the shim sees no writes"
    told: Counter[str] = Counter()
    every = list(ways(writes))
    for number, way in enumerate(random.Random(7).sample(every, len(every) // share)):
        case = Case(top / str(number), lambda way=way: built.fail_writes(*way))  # type: ignore[misc]
        try:
            told[case.run().rpartition(": ")[2]] += 1
            built.fail_writes(0, 0, 0, 0)
            case.heal()
        except Exception as error:
            raise RuntimeError(f"{way} of {writes} writes") from error
        shutil.rmtree(case.folder)
    for words, count in sorted(told.items()):
        print(count, words)  # noqa: T201 - its only output


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
