"""Answers that are written by a thread: found at once, on the disk soon, and never lost quietly."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from lmconf.caches.disk import DiskCache
from lmconf.caches.store import CacheWarning, Entry
from lmconf.caches.write_behind import WriteBehindStore

ROOT = Path(__file__).parents[3]


class Gated(DiskCache):
    """A store on disk that writes when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.batches: list[int] = []

    def put_all(self, entries: Iterable[Entry]) -> None:
        self.gate.wait(30)
        entries = list(entries)
        self.batches.append(len(entries))
        super().put_all(entries)


@pytest.fixture
def gated(tmp_path: Path) -> Gated:
    return Gated(tmp_path)


def test_what_is_put_is_found_before_it_is_written(gated: Gated) -> None:
    store = WriteBehindStore(lambda: gated)
    store.put("a", b"1", ttl=None)
    store.put("a", b"2", ttl=60)
    time.sleep(0.05)  # the thread has taken it, and waits
    store.put("b", b"3", ttl=None)
    assert (store.get("a"), store.get("b"), gated.get("a")) == (b"2", b"3", None)
    gated.gate.set()
    store.flush()
    assert (gated.get("a"), gated.get("b")) == (b"2", b"3")


def test_what_was_flushed_is_there_for_others(tmp_path: Path) -> None:
    store = WriteBehindStore(lambda: DiskCache(tmp_path))
    for number in range(500):
        store.put(str(number), b"1", ttl=None)
    store.flush()
    assert DiskCache(tmp_path).stats()["entries"] == 500


def test_what_is_put_in_a_row_is_written_together(gated: Gated) -> None:
    store = WriteBehindStore(lambda: gated)
    for number in range(200):
        store.put(str(number), b"1", ttl=None)
    gated.gate.set()
    store.flush()
    assert sum(gated.batches) == 200
    assert len(gated.batches) <= 3


def test_a_while_later_it_is_written_without_a_word(tmp_path: Path) -> None:
    store = WriteBehindStore(lambda: DiskCache(tmp_path))
    store.put("a", b"1", ttl=None)
    other, end = DiskCache(tmp_path), time.monotonic() + 10
    while other.get("a") is None and time.monotonic() < end:
        time.sleep(0.01)
    assert other.get("a") == b"1"


class Interrupted(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_thread_whose_start_was_interrupted_is_started_by_the_next_put(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.undo()
        if when == "after":
            start(thread)
        raise Interrupted

    store = WriteBehindStore(lambda: DiskCache(tmp_path))
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(Interrupted):
        store.put("a", b"1", ttl=None)
    store.put("b", b"2", ttl=None)
    other, end = DiskCache(tmp_path), time.monotonic() + 10
    while other.get("b") is None and time.monotonic() < end:
        time.sleep(0.01)
    assert (other.get("a"), other.get("b")) == (b"1", b"2")


def test_no_more_waits_than_may(gated: Gated) -> None:
    store = WriteBehindStore(lambda: gated, most=10_000)

    def put() -> None:
        for number in range(50):
            store.put(str(number), bytes(1000), ttl=None)

    putting = threading.Thread(target=put, daemon=True)
    putting.start()
    putting.join(0.2)
    assert putting.is_alive()
    gated.gate.set()
    putting.join(10)
    store.flush()
    assert gated.stats()["entries"] == 50


def test_it_is_told_when_others_can_find_it(gated: Gated) -> None:
    store = WriteBehindStore(lambda: gated)
    told = threading.Event()
    store.when_written(told.set)
    assert told.is_set()  # nothing waits
    told.clear()
    store.put("a", b"1", ttl=None)
    store.when_written(told.set)
    assert not told.wait(0.1)
    gated.gate.set()
    assert told.wait(10)
    assert gated.get("a") == b"1"


def test_a_store_that_cannot_work_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = WriteBehindStore(lambda: DiskCache(tmp_path / "file" / "cache"))
    told = threading.Event()
    with pytest.warns(CacheWarning) as said:
        store.put("a", b"1", ttl=None)
        store.when_written(told.set)
        assert told.wait(10)
        store.put("b", b"1", ttl=None)
        store.close()
        assert store.get("a") is None
    assert len(said) == 1


def test_an_answer_that_has_expired_is_not_found_while_it_waits(gated: Gated) -> None:
    now = [1000.0]
    store = WriteBehindStore(lambda: gated, clock=lambda: now[0])
    store.put("a", b"1", ttl=60)
    found = store.find("a")
    assert found is not None and found.left == 60
    now[0] += 60
    assert store.get("a") is None
    gated.gate.set()


ENDING = """
import os, sys, warnings
from lmconf.caches import open_store
from lmconf.caches.specs import DiskStore
store = open_store(DiskStore(path=sys.argv[1]))
store.put("first", b"1", ttl=None)
if sys.argv[2] == "exits":
    sys.exit(0)
if sys.argv[2] == "raises":
    raise ValueError
if sys.argv[2] == "forks":
    pid = os.fork()
    if not pid:
        store.put("child", b"1", ttl=None)
        sys.exit(0)
    os.waitpid(pid, 0)
if sys.argv[2] == "multiprocessing":
    import multiprocessing
    child = multiprocessing.get_context("fork").Process(
        target=lambda: store.put("child", b"1", ttl=None)
    )
    child.start()
    child.join()
"""


@pytest.mark.parametrize("how", ["exits", "raises", "forks", "multiprocessing", "returns"])
def test_a_process_that_ends_by_itself_writes_what_it_put(tmp_path: Path, how: str) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDING, str(tmp_path), how],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    store = DiskCache(tmp_path)
    assert store.get("first") == b"1"
    assert (store.get("child") == b"1") is (how in ("forks", "multiprocessing"))
