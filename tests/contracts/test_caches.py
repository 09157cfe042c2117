"""What every store of answers keeps to, whatever it is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmconf.caches import KINDS, DatedStore, Stats, Store, StoredHit, TieredStore, open_store
from lmconf.caches.specs import DiskStore, MemoryStore, RedisStore
from lmconf.secrets.references import Env
from tests.programs import run

ROOT = Path(__file__).parents[2]


class Tiers:
    """Several stores as calls use them, as one store."""

    def __init__(self, stores: list[Store]) -> None:
        self._stores = stores
        self._tiers = TieredStore(stores)
        self.put = self._tiers.put

    def find(self, key: str) -> StoredHit | None:
        found = self._tiers.near(key) or self._tiers.far(key)
        return None if found is None else found[1]

    def get(self, key: str) -> bytes | None:
        found = self.find(key)
        return None if found is None else found.value

    def close(self) -> None:
        for store in self._stores:
            store.close()

    def stats(self) -> Stats:
        return self._stores[-1].stats()

    def clear(self) -> None:
        for store in self._stores:
            store.clear()


SMALL = 1024 * 1024
URL = Env(name="REDIS_URL")
MAKERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: open_store(MemoryStore(max_entries=100, max_size=SMALL)),
    "disk": lambda folder: open_store(DiskStore(path=str(folder / "cache"), max_size=SMALL)),
    "redis": lambda folder: open_store(RedisStore(backend="redis", url=URL, namespace=folder.name)),
    "tiers": lambda folder: Tiers([MAKERS["memory"](folder), MAKERS["disk"](folder)]),
    "far tiers": lambda folder: Tiers([MAKERS[kind](folder) for kind in KINDS]),
}
UNBOUNDED = ("redis", "far tiers")
"""Stores whose size is the server's to limit."""


@pytest.fixture(params=sorted(MAKERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param in UNBOUNDED:
        request.getfixturevalue("monkeypatch").setenv(
            "REDIS_URL", request.getfixturevalue("redis").url
        )
        if request.node.get_closest_marker("bounded"):
            pytest.skip("how much it keeps is the server's to say")
    made = MAKERS[request.param](tmp_path)
    yield made
    made.close()


def test_every_kind_is_held_to_the_contract() -> None:
    assert set(MAKERS) == {*KINDS, "tiers", "far tiers"}


def test_what_was_put_is_found(store: Store) -> None:
    store.put("a", b"1", ttl=None)
    store.put("b", b"2", ttl=60)
    assert (store.get("a"), store.get("b")) == (b"1", b"2")


def test_what_was_not_put_is_not_found(store: Store) -> None:
    assert store.get("a") is None


def test_what_was_put_last_is_found(store: Store) -> None:
    store.put("a", b"1", ttl=60)
    store.put("a", b"2", ttl=None)
    assert store.get("a") == b"2"
    assert store.stats()["entries"] == 1


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), 1e-9])
def test_what_may_not_be_used_any_more_is_not_found(store: Store, ttl: float) -> None:
    store.put("a", b"1", ttl=None)
    store.put("a", b"2", ttl=ttl)
    assert store.get("a") is None


def test_a_dated_store_says_how_long_an_answer_may_be_used(store: Store) -> None:
    assert isinstance(store, DatedStore)
    for ttl in (None, 60.0):
        store.put("a", b"1", ttl=ttl)
        found = store.find("a")
        assert found is not None
        assert found.value == b"1"
        assert (
            (found.left is None)
            if ttl is None
            else (found.left is not None and 50 < found.left <= 60)
        )
    assert store.find("b") is None


def test_a_time_without_end_is_for_ever(store: Store) -> None:
    store.put("a", b"1", ttl=float("inf"))
    assert store.get("a") == b"1"


def test_a_closed_store_opens_again_with_what_it_held(store: Store) -> None:
    store.put("a", b"1", ttl=None)
    store.close()
    store.close()
    assert store.get("a") == b"1"
    store.put("b", b"2", ttl=None)
    assert store.get("b") == b"2"


def test_a_cleared_store_is_empty_and_usable(store: Store) -> None:
    store.put("a", b"1", ttl=None)
    store.clear()
    assert store.get("a") is None
    assert store.stats()["entries"] == 0
    store.put("a", b"2", ttl=None)
    assert store.get("a") == b"2"


def test_a_store_says_how_much_it_holds(store: Store) -> None:
    before = store.stats()
    for number in range(20):
        store.put(str(number), bytes(4096), ttl=None)
    after = store.stats()
    assert (before["entries"], after["entries"]) == (0, 20)
    assert after["bytes"] - before["bytes"] >= 20 * 4096


@pytest.mark.bounded
def test_what_does_not_fit_is_not_kept_and_harms_nothing(store: Store) -> None:
    """Nor is the old answer found in its place."""
    store.put("small", b"1", ttl=None)
    store.put("large", b"old", ttl=None)
    store.put("large", bytes(2 * SMALL), ttl=None)
    assert store.get("large") is None
    assert store.get("small") == b"1"


@pytest.mark.bounded
def test_more_than_fits_leaves_the_last_and_stays_within_bounds(store: Store) -> None:
    for number in range(300):
        store.put(str(number), os.urandom(16_384), ttl=None)
    assert store.get("299") is not None
    assert store.get("0") is None
    assert 10 <= store.stats()["entries"] <= 64
    assert store.stats()["bytes"] <= SMALL


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8")), st.binary(max_size=200))
def test_every_value_comes_back_as_it_was(store: Store, key: str, value: bytes) -> None:
    store.put(key, value, ttl=None)
    assert store.get(key) == value


def test_many_threads_may_use_one_store(store: Store) -> None:
    """Each finds its own answers, and nobody ever sees half of one."""
    shared = [bytes([number]) * 1000 for number in range(4)]

    def work(thread: int) -> None:
        for number in range(10):
            store.put(f"{thread}-{number}", f"{thread} {number}".encode(), ttl=None)
            store.put("shared", shared[thread], ttl=None)
            assert store.get(f"{thread}-{number}") == f"{thread} {number}".encode()
            assert store.get("shared") in shared

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert store.stats()["entries"] == 41


# Forked in a process of its own, while other threads are at work, as in a web server.
FORK = """
import os, sys, threading, time, warnings
from pathlib import Path
from lmconf.caches import CacheWarning, redis
from tests.contracts.test_caches import MAKERS
warnings.simplefilter("error", CacheWarning)
redis._PATIENCE = 5.0  # forks are shown here, and not how quick this machine is under its tests
store = MAKERS[sys.argv[1]](Path(sys.argv[2]))
store.put("before", b"1", ttl=None)
ending = threading.Event()
def work(thread):
    number = 0
    while not ending.is_set():
        number += 1
        store.put(f"{thread}-{number % 5}", str(number).encode(), ttl=None)
        assert store.get(f"{thread}-{number % 5}") == str(number).encode()
threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
for thread in threads: thread.start()
for child in range(8):
    pid = os.fork()
    if pid == 0:
        good = store.get("before") == b"1"
        store.put(f"child-{child}", b"2", ttl=None)
        good = good and store.get(f"child-{child}") == b"2"
        store.close()
        os._exit(0 if good else 1)
    end = time.monotonic() + 20
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: break
        if time.monotonic() > end:
            os.kill(pid, 9); os.waitpid(pid, 0)
            sys.exit("the child hangs")
        time.sleep(0.005)
    if status: sys.exit(f"the child failed: {status}")
ending.set()
for thread in threads: thread.join()
store.put("after", b"3", ttl=None)
print(store.get("before"), store.get("after"), store.get("child-7"))
"""


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_store_goes_through_forks_unharmed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Parent and child both go on; what is shared between processes is seen by both."""
    if kind in UNBOUNDED:
        request.getfixturevalue("monkeypatch").setenv(
            "REDIS_URL", request.getfixturevalue("redis").url
        )
    done = run(FORK, kind, tmp_path)
    of_child = "None" if kind == "memory" else "b'2'"
    assert done.stdout == f"b'1' b'3' {of_child}\n", done.stderr
