"""The parts of a cached call: its key, the stores, and many processes at one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.server import ANSWER
from benchmarks.timing import Row, in_process

VALUE = json.dumps(ANSWER).encode()
PROMPT = "x" * 2000
HITS = 20_000
PROCESSES = 4


def rows() -> Iterator[Row]:
    yield _key()
    with tempfile.TemporaryDirectory() as folder:
        yield from _disk(folder)
    with tempfile.TemporaryDirectory() as folder:
        yield _together(folder)


def _key() -> Row:
    from lmconf.caches import request_key, spec_digest

    digest = spec_digest({"settings": {"temperature": 0.0, "max_tokens": 1000}})
    messages = [{"role": "user", "content": PROMPT}]
    mine, floor = in_process(
        lambda: request_key(digest, messages, {}),
        lambda: json.dumps(messages).encode(),
        rounds=9,
        calls=2000,
    )
    return Row("the key of a 2 KB request", mine * 1e6, "µs", "json.dumps", _us(floor), "<= 6 µs")


def _disk(folder: str) -> Iterator[Row]:
    from benchmarks.peers import Sqlite
    from lmconf.caches import open_store
    from lmconf.caches.specs import DiskStore

    store: Any = open_store(DiskStore(path=folder))
    with closing(store), closing(Sqlite(folder)) as floor:
        numbers = iter(range(10**9))

        def put() -> None:
            store.put(f"{next(numbers):064x}", VALUE, ttl=None)

        began = time.process_time()
        for _ in range(3000):
            put()
        store.flush()
        mine = (time.process_time() - began) / 3000
        began = time.process_time()
        for number in range(3000):
            floor.put(f"{number:064x}", VALUE)
        floor.flush()
        theirs = (time.process_time() - began) / 3000
        yield Row(
            "a put to disk, amortised", mine * 1e6, "µs", "bare SQLite", _us(theirs), "<= 50 µs"
        )
        keys = [f"{number:064x}" for number in range(3000)]
        turns, others = iter(keys * 100), iter(keys * 100)
        hit, bare = in_process(
            lambda: store.get(next(turns)), lambda: floor.get(next(others)), rounds=9, calls=1000
        )
        yield Row("a hit on disk", hit * 1e6, "µs", "bare SQLite", _us(bare), "<= 35 µs")


READER = """
import sys, time
from lmconf.caches import open_store
from lmconf.caches.specs import DiskStore
store = open_store(DiskStore(path=sys.argv[1]))
keys = [f"{number:064x}" for number in range(1000)]
store.get(keys[0])
sys.stdin.readline()
for turn in range(int(sys.argv[2])):
    assert store.get(keys[turn % 1000]) is not None
"""


def _together(folder: str) -> Row:
    from lmconf.caches import open_store
    from lmconf.caches.specs import DiskStore

    store: Any = open_store(DiskStore(path=folder))
    with closing(store):
        for number in range(1000):
            store.put(f"{number:064x}", VALUE, ttl=None)
        store.flush()
    words = [sys.executable, "-c", READER, folder, str(HITS)]
    readers = [
        subprocess.Popen(words, stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
        for _ in range(PROCESSES)
    ]
    time.sleep(3)  # until all of them have imported what they need
    began = time.perf_counter()
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("\n")
        reader.stdin.close()
    for reader in readers:
        assert reader.wait() == 0
    rate = PROCESSES * HITS / (time.perf_counter() - began)
    what = f"hits a second, {PROCESSES} processes on {os.cpu_count()} cores"
    return Row(what, rate, "/s", "", None, ">= 10,000 /s")


def _us(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6
