"""What was spent in Redis: what lies there, and what becomes of calls when the server is gone."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from lmconf.budgets.redis import RedisLedger
from lmconf.caches.redis import RedisCache
from lmconf.errors import UsageError
from lmconf.limits import Amount, LedgerUnavailable, SpendingLimit, period_of
from tests.redis_server import PASSWORD, RedisServer
from tests.sockets import Peer, raw

redis_client = pytest.importorskip("redis")

NOW = time.time()
HOUR = period_of("hour", NOW)
ONE = Amount(0.25, 10)
ANY = SpendingLimit()
QUICK = 0.9  # seconds, on a busy machine: less than whoever waits for a server waits


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def ledger(redis: RedisServer, namespace: str) -> Iterator[RedisLedger]:
    made = RedisLedger(lambda: redis.url, namespace)
    yield made
    made.close()


def spent(ledger: RedisLedger) -> Amount | None:
    return ledger.spend("a", HOUR, Amount(0.0, 1), SpendingLimit(tokens=0))


def took(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    with pytest.raises(LedgerUnavailable):
        work()
    return time.perf_counter() - begun


def test_what_lies_there_is_forgotten_a_day_after_the_period(
    ledger: RedisLedger, redis: RedisServer, namespace: str
) -> None:
    assert HOUR.ends is not None
    ledger.spend("lm:support:gpt {x}", HOUR, ONE, ANY)
    with redis_client.Redis.from_url(redis.url) as server:
        names = sorted(server.scan_iter(match=f"lmconf:spending:1:{namespace}:*"), key=len)
        key, note = names
        assert key.decode().endswith(f":{{lm%3Asupport%3Agpt%20%7Bx%7D:{HOUR.name}}}")
        assert server.hgetall(key) == {b"cost": b"0.25", b"tokens": b"10"}
        assert server.ttl(key) == pytest.approx(HOUR.ends + 86400 - time.time(), abs=60)
        assert 0 < server.pttl(note) <= 60_000


def test_looking_after_the_cache_of_the_namespace_leaves_it_alone(
    ledger: RedisLedger, redis: RedisServer, namespace: str
) -> None:
    ledger.spend("a", HOUR, ONE, ANY)
    cache = RedisCache(lambda: redis.url, namespace)
    cache.put("key", b"answer", ttl=None)
    assert cache.stats()["entries"] == 1
    cache.clear()
    cache.close()
    assert spent(ledger) == ONE


def test_namespaces_are_apart(ledger: RedisLedger, redis: RedisServer, namespace: str) -> None:
    other = RedisLedger(lambda: redis.url, f"{namespace}:a")
    ledger.spend("a", HOUR, ONE, ANY)
    assert spent(other) is not None
    assert spent(other) == Amount()
    other.close()


def test_a_correction_after_the_period_was_forgotten_leaves_nothing_behind(
    ledger: RedisLedger, redis: RedisServer, namespace: str
) -> None:
    ledger.add("a", period_of("hour", NOW - 3 * 86400), Amount(-1.0, -1))
    with redis_client.Redis.from_url(redis.url) as server:
        (note,) = server.scan_iter(match=f"lmconf:spending:1:{namespace}:*")
        assert server.ttl(note) >= 0


def test_a_connection_that_was_closed_meanwhile_refuses_no_call(
    ledger: RedisLedger, redis: RedisServer
) -> None:
    ledger.spend("a", HOUR, ONE, ANY)
    with redis_client.Redis.from_url(redis.url) as server:
        server.client_kill_filter(_type="normal", skipme=True)
    ledger.spend("a", HOUR, ONE, ANY)
    assert spent(ledger) == Amount(0.5, 20)


def _lossy(redis: RedisServer, losing: list[bool]) -> Callable[[Peer], None]:
    """Return a script that passes everything on, and cuts a link instead of answering to EVAL."""
    place = ("127.0.0.1", redis.port)

    def script(peer: Peer) -> None:
        with socket.create_connection(place) as server:
            while True:
                for link in select.select((peer.link, server), (), ())[0]:
                    data = link.recv(65536)
                    if not data:
                        return
                    if link is peer.link:
                        server.sendall(data)
                        if b"EVAL" in data and losing:
                            losing.pop()
                            server.recv(65536)
                            return
                    else:
                        peer.say(data)

    return script


@pytest.mark.parametrize("what", ["spend", "add"])
def test_an_answer_that_was_lost_on_the_way_is_not_counted_twice(
    redis: RedisServer, namespace: str, what: str
) -> None:
    losing: list[bool] = []
    with raw(_lossy(redis, losing)) as address:
        port = urlsplit(address).port
        ledger = RedisLedger(lambda: f"redis://:{PASSWORD}@127.0.0.1:{port}/0", namespace)
        ledger.spend("a", HOUR, ONE, ANY)
        losing.append(True)
        if what == "spend":
            assert ledger.spend("a", HOUR, ONE, SpendingLimit(tokens=20)) is None
        else:
            ledger.add("a", HOUR, ONE)
        assert losing == []
        assert spent(ledger) == Amount(0.5, 20)
        ledger.close()


def test_a_server_that_is_gone_refuses_at_once_and_is_found_again(
    redis: RedisServer, namespace: str
) -> None:
    ledger = RedisLedger(lambda: redis.url, namespace)
    ledger.spend("a", HOUR, ONE, ANY)
    redis.stop()
    try:
        assert took(lambda: ledger.spend("a", HOUR, ONE, ANY)) < 1
        for _ in range(100):
            assert took(lambda: ledger.add("a", HOUR, ONE)) < QUICK
        with pytest.raises(LedgerUnavailable, match="Redis: the server cannot be used") as caught:
            ledger.spend("a", HOUR, ONE, ANY)
        assert PASSWORD not in str(caught.value)
        assert "see that the server runs" in caught.value.help
    finally:
        redis.start()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            # It was a server without a disk: it has forgotten.
            assert ledger.spend("a", HOUR, ONE, ANY) is None
            break
        except LedgerUnavailable:
            time.sleep(0.05)
    else:
        pytest.fail("it was not found again")
    ledger.close()


def test_a_server_that_hangs_is_waited_for_two_seconds_and_then_not_at_all(
    ledger: RedisLedger, redis: RedisServer
) -> None:
    ledger.spend("a", HOUR, ONE, ANY)
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        assert 0.9 < took(lambda: ledger.spend("a", HOUR, ONE, ANY)) < 3
        assert took(lambda: ledger.spend("a", HOUR, ONE, ANY)) < QUICK
    finally:
        os.kill(redis.pid, signal.SIGCONT)


def test_what_else_is_wrong_is_told_without_the_address(redis: RedisServer, namespace: str) -> None:
    wrong = RedisLedger(lambda: redis.url.replace(PASSWORD, "sesame-open"), namespace)
    with pytest.raises(LedgerUnavailable, match="AuthenticationError") as caught:
        wrong.spend("a", HOUR, ONE, ANY)
    assert "sesame" not in str(caught.value)
    none = RedisLedger(lambda: "http://user:sesame@host", namespace)
    with pytest.raises(LedgerUnavailable, match="not one of a Redis server"):
        none.spend("a", HOUR, ONE, ANY)

    def missing() -> str:
        raise UsageError("the environment variable TEAM_REDIS is not set")

    with pytest.raises(LedgerUnavailable, match="TEAM_REDIS is not set"):
        RedisLedger(missing, namespace).spend("a", HOUR, ONE, ANY)
    for each in (wrong, none):
        each.close()


def test_a_key_that_holds_something_else_refuses_the_call(
    ledger: RedisLedger, redis: RedisServer, namespace: str
) -> None:
    with redis_client.Redis.from_url(redis.url) as server:
        server.set(f"lmconf:spending:1:{namespace}:{{a:{HOUR.name}}}", "nonsense")
    with pytest.raises(LedgerUnavailable, match="ResponseError"):
        ledger.spend("a", HOUR, ONE, ANY)
