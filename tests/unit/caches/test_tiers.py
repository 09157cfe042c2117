"""Several stores as one."""

from __future__ import annotations

import pytest

from lmconf.caches import CacheWarning, Stats, Store, TieredStore
from lmconf.caches.memory import MemoryCache


class Plain:
    """A store that somebody else wrote: it does not know how long answers may be used."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        self.kept[key] = value

    def close(self) -> None:
        pass

    def stats(self) -> Stats:
        return {"entries": len(self.kept), "bytes": 0}

    def clear(self) -> None:
        self.kept.clear()


class Broken(Plain):
    """A store that breaks its promise."""

    def get(self, key: str) -> bytes | None:
        raise ConnectionError("redis://:hunter2@host is gone")

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        raise ConnectionError("redis://:hunter2@host is gone")

    def close(self) -> None:
        raise ConnectionError

    def clear(self) -> None:
        raise ConnectionError


def found_in(tiers: TieredStore, key: str) -> bytes | None:
    found = tiers.near(key) or tiers.far(key)
    return None if found is None else found[1].value


def test_the_nearest_answer_is_given() -> None:
    near, far = MemoryCache(), MemoryCache()
    near.put("a", b"near", ttl=None)
    far.put("a", b"far", ttl=None)
    assert found_in(TieredStore([near, far]), "a") == b"near"


def test_what_only_a_far_store_has_is_learned_by_the_nearer_ones_for_the_time_left() -> None:
    now = [0.0]
    stores = [MemoryCache(clock=lambda: now[0]) for _ in range(3)]
    stores[2].put("a", b"1", ttl=60)
    now[0] = 50.0
    assert found_in(TieredStore(stores), "a") == b"1"
    assert [store.find("a") for store in stores] == [(b"1", 10.0)] * 3


def test_what_may_be_used_for_an_unknown_time_is_given_and_not_learned() -> None:
    near, far = MemoryCache(), Plain()
    far.put("a", b"1", ttl=60)
    tiers = TieredStore([near, far])
    assert found_in(tiers, "a") == b"1"
    assert near.get("a") is None


def test_every_store_keeps_what_is_put() -> None:
    stores: list[Store] = [MemoryCache(), Plain()]
    TieredStore(stores).put("a", b"1", ttl=None)
    assert [store.get("a") for store in stores] == [b"1", b"1"]


def test_a_store_that_raises_is_passed_over_with_one_warning() -> None:
    """The warning does not repeat what the exception says: it may hold a password."""
    tiers = TieredStore([Broken(), MemoryCache()])
    with pytest.warns(CacheWarning) as said:
        tiers.put("a", b"1", ttl=None)
        assert found_in(tiers, "a") == b"1"
        assert found_in(tiers, "b") is None
    assert [str(warning.message) for warning in said] == [
        "Broken: raised ConnectionError; the call continued without it"
    ]


def test_no_stores_keep_nothing() -> None:
    tiers = TieredStore([])
    tiers.put("a", b"1", ttl=None)
    assert found_in(tiers, "a") is None
