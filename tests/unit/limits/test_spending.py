"""Ledgers keep what was spent, exactly, and periods are those of UTC."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmconf.budgets.disk import FILE, DiskLedger
from lmconf.budgets.ledger import MemoryLedger
from lmconf.budgets.redis import RedisLedger
from lmconf.limits import Amount, Ledger, LedgerUnavailable, Period, SpendingLimit, period_of
from tests.redis_server import RedisServer


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


DAY = Period("2126-11-20", at("2126-11-21"))  # no server forgets it while the tests run


def made(kind: str, place: str) -> Ledger:
    """Return a ledger of what is kept at `place`: a folder, or an address and a namespace."""
    if kind == "disk":
        return DiskLedger(place)
    url, _, namespace = place.rpartition(" ")
    return RedisLedger(lambda: url, namespace)


def place_of(kind: str, request: pytest.FixtureRequest) -> str:
    """Return a place of this test's own for a ledger of `kind`."""
    if kind == "disk":
        return str(request.getfixturevalue("tmp_path") / "store")
    pytest.importorskip("redis")
    server: RedisServer = request.getfixturevalue("redis")
    return f"{server.url} {uuid.uuid4().hex}"


@pytest.fixture(params=["memory", "disk", "redis"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    kind: str = request.param
    found = MemoryLedger() if kind == "memory" else made(kind, place_of(kind, request))
    yield found
    if isinstance(found, RedisLedger):
        found.close()


@pytest.fixture(params=["disk", "redis"])
def shared(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kind and the place of a ledger that processes share."""
    return request.param, place_of(request.param, request)


def test_periods_begin_and_end_with_the_clock_of_utc() -> None:
    now = at("2026-12-31T23:59:59")
    assert period_of("run", now) == Period("run", None)
    for per, name in (("hour", "2026-12-31T23"), ("day", "2026-12-31"), ("month", "2026-12")):
        found = period_of(per, now)  # type: ignore[arg-type]
        assert found == Period(name, at("2027-01-01T00:00:00"))
        assert period_of(per, now + 1).name != name  # type: ignore[arg-type]
    assert period_of("month", at("2028-02-29T12:00:00")).ends == at("2028-03-01T00:00:00")


@given(st.floats(0, 4e9, allow_nan=False), st.sampled_from(["hour", "day", "month"]))
def test_every_time_is_in_a_period_that_ends_after_it_and_begins_another(
    now: float, per: str
) -> None:
    period = period_of(per, now)  # type: ignore[arg-type]
    assert period.ends is not None
    assert now < period.ends <= now + 31 * 86400
    following = period_of(per, period.ends)  # type: ignore[arg-type]
    assert following.name > period.name
    assert period_of(per, period.ends - 0.001).name == period.name  # type: ignore[arg-type]


def test_what_would_exceed_is_not_added_and_what_was_spent_is_told(ledger: Ledger) -> None:
    most = SpendingLimit(cost=1.0, tokens=100)
    assert ledger.spend("a", DAY, Amount(0.75, 10), most) is None
    assert ledger.spend("a", DAY, Amount(0.5, 1), most) == Amount(0.75, 10)
    assert ledger.spend("a", DAY, Amount(0.125, 91), most) == Amount(0.75, 10)
    assert ledger.spend("a", DAY, Amount(0.25, 90), most) is None
    assert ledger.spend("a", DAY, Amount(0.0, 1), most) == Amount(1.0, 100)


def test_corrections_give_back_what_was_not_used(ledger: Ledger) -> None:
    most = SpendingLimit(tokens=100)
    ledger.spend("a", DAY, Amount(0.0, 100), most)
    ledger.add("a", DAY, Amount(0.0, -60))
    assert ledger.spend("a", DAY, Amount(0.0, 61), most) == Amount(0.0, 40)
    assert ledger.spend("a", DAY, Amount(0.0, 60), most) is None


def test_accounts_and_periods_are_apart(ledger: Ledger) -> None:
    most, one = SpendingLimit(tokens=1), Amount(0.0, 1)
    other = Period("2126-11-21", DAY.ends)
    for account, period in (("a", DAY), ("b", DAY), ("a", other)):
        assert ledger.spend(account, period, one, most) is None
        assert ledger.spend(account, period, one, most) == one


def test_many_threads_spend_exactly_what_there_is(ledger: Ledger) -> None:
    refused: list[Amount] = []

    def spend() -> None:
        found = [
            ledger.spend("a", DAY, Amount(0.5, 3), SpendingLimit(tokens=100)) for _ in range(10)
        ]
        refused.extend(spent for spent in found if spent is not None)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 80 - 33
    assert ledger.spend("a", DAY, Amount(0.0, 1), SpendingLimit(tokens=0)) == Amount(16.5, 99)


def _spend(kind: str, place: str, number: int) -> None:
    ledger = made(kind, place)
    for _ in range(number):
        if ledger.spend("a", DAY, Amount(0.25, 2), SpendingLimit(cost=10.0)) is None:
            # In truth it was less.
            ledger.add("a", DAY, Amount(-0.125, -1))


def test_processes_share_a_place_and_never_exceed_the_budget(shared: tuple[str, str]) -> None:
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_spend, args=(*shared, 40)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    spent = made(*shared).spend("a", DAY, Amount(0.0, 1), SpendingLimit(tokens=0))
    assert spent is not None
    assert 9.75 < spent.cost <= 10.0
    assert spent.cost == 0.125 * spent.tokens


@pytest.fixture(scope="module")
def every(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Ledger]]:
    """A ledger of each kind."""
    pytest.importorskip("redis")
    far = RedisLedger(lambda: redis.url, uuid.uuid4().hex)
    yield [MemoryLedger(), DiskLedger(tmp_path_factory.mktemp("ledger")), far]
    far.close()


DOLLARS = st.floats(0, 2, allow_nan=False) | st.sampled_from([0.1, 0.2, 0.3, 0.7, 1e-17])
AMOUNTS = st.builds(Amount, DOLLARS, st.integers(-5, 50))
MOSTS = st.builds(
    SpendingLimit, st.none() | DOLLARS.map(lambda x: 2 * x), st.none() | st.integers(0, 100)
)


@settings(max_examples=30, deadline=None)
@given(asked=st.lists(st.tuples(AMOUNTS, MOSTS), max_size=8))
def test_every_ledger_decides_alike_to_the_last_digit(
    every: list[Ledger], asked: list[tuple[Amount, SpendingLimit]]
) -> None:
    account = uuid.uuid4().hex
    for more, most in asked:
        first, *others = [each.spend(account, DAY, more, most) for each in every]
        assert others == [first, first]
    spent = [each.spend(account, DAY, Amount(1.0, 1), SpendingLimit(cost=0.0)) for each in every]
    assert spent[0] is not None
    assert spent == [spent[0]] * 3


def test_the_file_is_the_users_own(tmp_path: Path) -> None:
    DiskLedger(tmp_path / "new").add("a", DAY, Amount(1.0, 1))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("how", ["garbage", "folder", "future"])
def test_a_file_that_cannot_be_used_is_said_and_left_alone(tmp_path: Path, how: str) -> None:
    path = tmp_path / FILE
    if how == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif how == "folder":
        path.mkdir()
    else:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 7")
        connection.close()
    with pytest.raises(LedgerUnavailable, match=FILE):
        DiskLedger(tmp_path).spend("a", DAY, Amount(1.0, 1), SpendingLimit(cost=5.0))
    with pytest.raises(LedgerUnavailable):
        DiskLedger(tmp_path).add("a", DAY, Amount(1.0, 1))


def test_periods_long_past_are_forgotten(tmp_path: Path) -> None:
    ledger, most = DiskLedger(tmp_path), SpendingLimit(tokens=10)
    old, new = period_of("day", at("2024-01-01T12:00:00")), period_of("day", at("2026-01-01"))
    ledger.spend("a", old, Amount(0.0, 10), most)
    ledger.spend("a", new, Amount(0.0, 10), most)
    assert ledger.spend("a", old, Amount(0.0, 10), most) is None
