"""The store in Redis: what lies there, and what a server that is gone, slow or full costs."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
import warnings
from collections.abc import Iterator

import pytest

from lmconf.caches.redis import RedisCache
from lmconf.caches.store import CacheWarning, Entry
from lmconf.errors import UsageError
from tests.redis_server import PASSWORD, RedisServer
from tests.watching import seconds, until

pytest.importorskip("redis")


@pytest.fixture
def store(redis: RedisServer) -> Iterator[RedisCache]:
    made = RedisCache(lambda: redis.url, uuid.uuid4().hex)
    yield made
    made.close()


def raw(server: RedisServer) -> object:
    import redis

    return redis.Redis.from_url(server.url)


def test_the_server_forgets_what_has_expired(store: RedisCache, redis: RedisServer) -> None:
    store.put("a", b"1", ttl=0.1)
    found = store.find("a")
    assert found is not None and found.left is not None and 0 < found.left <= 0.1
    time.sleep(0.15)
    assert store.get("a") is None
    assert store.stats() == {"entries": 0, "bytes": 0}


def test_namespaces_are_apart_also_when_one_begins_like_another(redis: RedisServer) -> None:
    names = ["a", "a:b", "a*", "a%3Ab", "ä"]
    stores = [RedisCache(lambda: redis.url, name) for name in names]
    for number, store in enumerate(stores):
        store.put("key", str(number).encode(), ttl=None)
    assert [store.get("key") for store in stores] == [b"0", b"1", b"2", b"3", b"4"]
    stores[0].clear()
    assert [store.get("key") for store in stores] == [None, b"1", b"2", b"3", b"4"]
    for store in stores:
        store.clear()
        store.close()


@pytest.mark.parametrize("how", ["cut", "flipped", "foreign", "another's", "text"])
def test_a_value_that_changed_is_dropped_and_not_found(
    store: RedisCache, redis: RedisServer, how: str
) -> None:
    import redis as client

    store.put_all([Entry("a", b"answer", 1.0, None), Entry("b", b"other", 1.0, None)])
    with client.Redis.from_url(redis.url) as server:
        kept = server.get(f"{store._prefix}a")
        assert isinstance(kept, bytes)
        spoiled = {
            "cut": kept[:20],
            "flipped": kept[:-1] + b"\x00",
            "foreign": b"XXXX" + kept[4:],
            "another's": server.get(f"{store._prefix}b"),
            "text": b"answer",
        }
        server.set(f"{store._prefix}a", spoiled[how])
    assert store.get("a") is None
    assert store.stats()["entries"] == 1
    assert store.get("b") == b"other"


def test_a_server_that_refuses_costs_nothing_to_speak_of() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    store = RedisCache(lambda: f"redis://:{PASSWORD}@127.0.0.1:{port}/0", "n")
    import redis  # noqa: F401 - what loading it takes is not the server's

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert seconds(lambda: store.get("a")) < 0.25
        assert seconds(lambda: [store.get("a") for _ in range(1000)]) < 0.25
        store.put("a", b"1", ttl=None)
    assert [warning.category for warning in said] == [CacheWarning]
    assert "calls continue without it" in str(said[0].message)
    assert PASSWORD not in str(said[0].message)


def test_a_server_that_never_answers_is_waited_for_once() -> None:
    """No longer than 50 ms; it accepts connections and is silent, as a stopped process does."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        store = RedisCache(lambda: f"redis://127.0.0.1:{silent.getsockname()[1]}/0", "n")
        import redis  # noqa: F401

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first = seconds(lambda: store.get("a"))
            others = seconds(lambda: [store.get("a") for _ in range(1000)])
            until(lambda: not store._link.connecting, within=10, look=0.01)
    assert 0.04 < first < 0.3
    assert others < 0.25


def test_a_server_that_stops_answering_costs_one_wait_and_is_found_again(
    store: RedisCache, redis: RedisServer
) -> None:
    store.put("a", b"1", ttl=None)
    assert store.get("a") == b"1"
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        with pytest.warns(CacheWarning, match="calls continue without it") as said:
            assert seconds(lambda: store.get("a")) < 0.3
            assert seconds(lambda: [store.get("a") for _ in range(1000)]) < 0.25
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    assert len(said) == 1
    end = time.monotonic() + 20
    while store.get("a") is None and time.monotonic() < end:
        time.sleep(0.05)
    assert store.get("a") == b"1"


def test_a_server_that_comes_back_is_used_again(store: RedisCache, redis: RedisServer) -> None:
    store.put("a", b"1", ttl=None)
    redis.stop()
    with pytest.warns(CacheWarning):
        assert store.get("a") is None
    redis.start()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        store.put("a", b"2", ttl=None)
        if store.get("a") == b"2":
            break
        time.sleep(0.05)
    assert store.get("a") == b"2"


def test_a_wrong_password_is_told_without_it(redis: RedisServer) -> None:
    store = RedisCache(lambda: redis.url.replace(PASSWORD, "sesame-open"), "n")
    with pytest.warns(CacheWarning) as said:
        store.put("a", b"1", ttl=None)
    assert "sesame" not in str(said[0].message)
    assert "AuthenticationError" in str(said[0].message)


@pytest.mark.parametrize(
    ("address", "told"),
    [("http://user:sesame@host", "not one of a Redis server"), ("", "not one of a Redis server")],
)
def test_an_address_that_is_none_is_told_without_it(address: str, told: str) -> None:
    store = RedisCache(lambda: address, "n")
    with pytest.warns(CacheWarning, match=told) as said:
        store.put("a", b"1", ttl=None)
    assert "sesame" not in str(said[0].message)


def test_an_address_that_cannot_be_had_is_told() -> None:
    def url() -> str:
        raise UsageError("environment variable TEAM_REDIS is not set")

    store = RedisCache(url, "n")
    with pytest.warns(CacheWarning, match="TEAM_REDIS is not set"):
        assert store.get("a") is None
        store.put("a", b"1", ttl=None)


def test_a_full_server_keeps_nothing_more_and_still_answers(
    store: RedisCache, redis: RedisServer
) -> None:
    import redis as client

    store.put("a", b"1", ttl=None)
    with client.Redis.from_url(redis.url) as server:
        server.config_set("maxmemory", "1")
        try:
            with pytest.warns(CacheWarning, match="calls continue without it"):
                store.put("b", b"2", ttl=None)
        finally:
            server.config_set("maxmemory", "0")
    assert store.get("a") == b"1"
    assert store.get("b") is None
