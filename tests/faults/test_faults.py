"""A server may do what it likes: what becomes of a call is the same law in every way of calling.

Each fault goes over a socket through the shipped transport, by every route that it can happen on.
A server that keeps to its fault ends the call after exactly as many attempts as it should, with
waits inside their law; one that mends itself is answered by the second attempt.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from lmconf.errors import CallError
from lmconf.runtime import LM
from tests.artefacts import WAYS, ask, held, of_error
from tests.faults.dialects import DIALECTS, Dialect
from tests.faults.fault import Fault
from tests.faults.server import REQUEST_ID, Faulty, faulty, good
from tests.faults.table import FAULTS

CEILINGS = (0.004, 0.006)
"""What the waits after the first and the second attempt are drawn below."""


def cases() -> Iterator[object]:
    for name, fault in FAULTS.items():
        for route, way in itertools.product(fault.routes, WAYS):
            streamed = "stream" in way
            if fault.ways == "all" or streamed == (fault.ways == "streamed"):
                yield pytest.param(fault, DIALECTS[route], way, id=f"{name}, {route}, {way}")


def failure(lm: LM, way: str) -> CallError:
    """Return what the call raises, which is nothing but an exception of lmconf's own."""
    with pytest.raises(BaseException) as raised:
        ask(lm, way)
    assert isinstance(raised.value, CallError), repr(raised.value)
    return raised.value


@pytest.mark.parametrize(("fault", "dialect", "way"), list(cases()))
def test_a_fault(fault: Fault, dialect: Dialect, way: str) -> None:
    with faulty(dialect, fault.act) as server:
        with dialect.lm(server.base, **{"num_retries": fault.retries, **fault.settings}) as lm:
            error = failure(lm, way)
            check_facts(error, fault)
            check_waits(error, fault, server)
            assert held(of_error(error)) == []
            assert lm.usage.calls == 0
            assert len(lm.history) == 0
        if fault.retried and fault.retries == 2:
            server.acts(fault.act, good())
            with dialect.lm(server.base, **fault.settings) as lm:
                assert ask(lm, way) == "Hello."
                assert len(server.asked) == 2
                assert lm.usage.attempts == lm.history[-1]["attempts"] == 2


def check_facts(error: CallError, fault: Fault) -> None:
    assert type(error) is fault.kind, repr(error)
    assert error.attempts == fault.attempts
    assert error.status == fault.status
    assert error.partial == fault.partial
    assert error.request_id == (REQUEST_ID if fault.said else None)
    assert error.retry_after is None or error.retry_after >= 0
    ends = fault.partial != ""  # what began to answer is never tried again
    wanted = fault.retried and not ends if fault.retryable is None else fault.retryable
    assert error.retryable is wanted
    assert error.lm
    assert error.help
    assert error.__cause__ is None
    assert error.__context__ is None


def check_waits(error: CallError, fault: Fault, server: Faulty) -> None:
    assert len(server.asked) == fault.attempts
    assert len({request.raw for request in server.asked}) == 1
    waits = [cause.waited for cause in error.causes]
    assert len(waits) == fault.attempts
    assert waits[-1] == 0.0
    for wait, ceiling in zip(waits[:-1], CEILINGS, strict=False):
        if fault.asks:
            assert wait == fault.asks
        elif error.retry_after:  # of a date
            assert 0 <= wait <= 1.0
        else:
            assert 0 <= wait <= ceiling
    assert error.waited == pytest.approx(sum(waits))
    times = [request.at for request in server.asked]
    for before, after, wait in zip(times, times[1:], waits, strict=False):
        assert after - before >= wait
