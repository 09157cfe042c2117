"""Whatever a server does, a call ends by its deadline, and hardly later; it never waits in vain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lmconf.errors import CallError, RateLimited, ServerError, Timeout
from lmconf.runtime import LM
from tests.artefacts import WAYS
from tests.faults.dialects import DIALECTS, Dialect
from tests.faults.fault import Fault
from tests.faults.server import Act, error, faulty
from tests.faults.table import FAULTS
from tests.faults.test_faults import failure
from tests.sockets import full

LATE = 0.25
"""How much later than its deadline a call may end, in seconds."""

DEADLINE = 0.4
TRIES = 3
"""A busy machine may be late by itself, but not so often in a row."""

SLOW = [name for name, fault in FAULTS.items() if fault.kind is Timeout]
"""The faults that would go on for as long as anybody listens."""

AGAIN = ["503", "429", "a reset", "a cut body", "an error before the text", "500 with nothing"]
"""Faults after which the call is tried again for as long as there is time."""


def ended(call: Callable[[], CallError], least: float, most: float) -> CallError:
    """Return how a call failed that took between `least` and `most` seconds."""
    tries = TRIES
    while True:
        began = time.monotonic()
        error = call()
        took = time.monotonic() - began
        assert took >= least - 0.02
        tries -= 1
        if took <= most:
            return error
        assert tries, (took, error)


def cases(names: list[str]) -> Iterator[object]:
    for name in names:
        fault = FAULTS[name]
        for way in WAYS:
            if fault.ways == "all" or ("stream" in way) == (fault.ways == "streamed"):
                yield pytest.param(fault, way, id=f"{name}, {way}")


@pytest.fixture(params=["openai", "anthropic"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


def lm_with(dialect: Dialect, base: str, **settings: Any) -> LM:
    return dialect.lm(
        base, **{"deadline": DEADLINE, "timeout": DEADLINE, "num_retries": 50, **settings}
    )


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """Have everything imported: the first call of a process takes longer."""
    for dialect in DIALECTS.values():
        with faulty(dialect, error(500)) as server, dialect.lm(server.base, num_retries=0) as lm:
            for way in WAYS:
                failure(lm, way)


@pytest.mark.parametrize(("fault", "way"), list(cases(SLOW)))
def test_a_server_that_goes_on_and_on(fault: Fault, way: str, dialect: Dialect) -> None:
    with faulty(dialect, fault.act) as server, lm_with(dialect, server.base) as lm:
        error = ended(lambda: failure(lm, way), DEADLINE, DEADLINE + LATE)
    assert type(error) is Timeout
    assert error.setting == "deadline"
    assert error.partial == fault.partial
    assert error.attempts == 1


@pytest.mark.parametrize(("fault", "way"), list(cases(AGAIN)))
def test_attempts_and_waits_share_the_deadline(fault: Fault, way: str, dialect: Dialect) -> None:
    retry = {"initial": 0.15, "jitter": "none", "multiplier": 1}
    with faulty(dialect, fault.act) as server, lm_with(dialect, server.base, retry=retry) as lm:
        error = ended(lambda: failure(lm, way), 0.0, DEADLINE + LATE)
    assert 1 <= error.attempts <= 3
    # On a busy machine the deadline may pass between the last wait and the attempt after it.
    assert error.waited in (
        pytest.approx(0.15 * (error.attempts - 1)),
        pytest.approx(0.15 * error.attempts),
    )
    if type(error) is not Timeout:  # the last attempt may have had hardly any time left
        assert type(error) is fault.kind
        assert "not retried" in error.help


ASKS: dict[str, tuple[Act, type[CallError]]] = {
    "seconds": (error(429, "retry-after: 5"), RateLimited),
    "milliseconds": (error(503, "retry-after-ms: 5000"), ServerError),
    "a date": (error(503, "retry-after: Fri, 31 Dec 2399 23:59:59 GMT"), ServerError),
    "as long as there is": (error(503, f"retry-after: {DEADLINE}"), ServerError),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("act", "kind"), ASKS.values(), ids=ASKS)
def test_a_wait_beyond_the_deadline_is_not_begun(
    act: Act, kind: type[CallError], way: str, dialect: Dialect
) -> None:
    with faulty(dialect, act) as server, lm_with(dialect, server.base) as lm:
        error = ended(lambda: failure(lm, way), 0.0, LATE)
        assert len(server.asked) <= TRIES
    assert type(error) is kind
    assert (error.attempts, error.waited) == (1, 0.0)
    assert error.retryable
    assert "the server asks to wait" in error.help
    assert "deadline" in error.help


@pytest.mark.parametrize("way", WAYS)
def test_waits_that_the_server_asks_for_share_the_deadline(way: str, dialect: Dialect) -> None:
    act = error(503, "retry-after: 0.15")
    with faulty(dialect, act) as server, lm_with(dialect, server.base) as lm:
        last = ended(lambda: failure(lm, way), 0.0, DEADLINE + LATE)
    assert 1 <= last.attempts <= 3
    assert last.waited == pytest.approx(0.15 * (last.attempts - 1))


@pytest.mark.parametrize("way", WAYS)
def test_connecting_shares_the_deadline(way: str, dialect: Dialect) -> None:
    with full() as base, lm_with(dialect, base) as lm:
        error = ended(lambda: failure(lm, way), DEADLINE, DEADLINE + LATE)
    assert type(error) is Timeout
    assert error.setting == "deadline"


@pytest.mark.parametrize("way", WAYS)
def test_attempts_that_time_out_share_the_deadline(way: str, dialect: Dialect) -> None:
    """The last attempt gets what is left, however long an attempt may take."""
    silence = FAULTS["silence"].act
    settings = {"timeout": 0.15, "retry": {"initial": 0.001}}
    with faulty(dialect, silence) as server, lm_with(dialect, server.base, **settings) as lm:
        error = ended(lambda: failure(lm, way), DEADLINE, DEADLINE + LATE)
    assert type(error) is Timeout
    assert 2 <= error.attempts <= 3
