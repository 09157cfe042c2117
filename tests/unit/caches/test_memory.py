"""The store in memory: what it drops first, and when."""

from __future__ import annotations

from lmconf.caches.memory import MemoryCache


def test_the_least_recently_used_answer_is_dropped_first() -> None:
    """Finding an answer uses it, and so does putting it."""
    store = MemoryCache(max_entries=3)
    for key in "abc":
        store.put(key, b"1", ttl=None)
    store.get("a")
    store.put("b", b"2", ttl=None)
    store.put("d", b"1", ttl=None)
    assert [store.get(key) for key in "abcd"] == [b"1", b"2", None, b"1"]


def test_bytes_are_bounded_like_entries() -> None:
    store = MemoryCache(max_size=100)
    for key in "abc":
        store.put(key, bytes(40), ttl=None)
    assert store.get("a") is None
    assert store.stats() == {"entries": 2, "bytes": 80}
    store.put("b", bytes(10), ttl=None)
    assert store.stats() == {"entries": 2, "bytes": 50}
    store.put("d", bytes(100), ttl=None)
    assert store.stats() == {"entries": 1, "bytes": 100}


def test_an_answer_that_no_longer_fits_takes_the_old_one_with_it() -> None:
    """Otherwise the old answer would be found in place of the new one."""
    store = MemoryCache(max_size=100)
    store.put("a", b"old", ttl=None)
    store.put("a", bytes(101), ttl=None)
    assert store.get("a") is None
    assert store.stats() == {"entries": 0, "bytes": 0}


def test_an_answer_is_dropped_when_its_time_is_over() -> None:
    now = [0.0]
    store = MemoryCache(clock=lambda: now[0])
    store.put("a", b"1", ttl=10)
    now[0] = 9.0
    assert store.find("a") == (b"1", 1.0)
    now[0] = 10.0
    assert store.find("a") is None
    assert store.stats() == {"entries": 0, "bytes": 0}
