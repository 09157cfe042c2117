"""A circuit breaker follows its state diagram, whatever happens in whatever order."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf.system.circuit_breaker import CircuitBreaker, Rest


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([0.5, 1.0, 3.0, 10.0])),
        st.tuples(st.just("fail"), st.sampled_from([None, 0.25, 7.0])),
        st.tuples(st.sampled_from(["succeed", "admit", "let go"]), st.none()),
    ),
    max_size=30,
)


@given(EVENTS, st.integers(0, 3), st.sampled_from([1.0, 2.0]), st.sampled_from([0.0, 5.0]))
def test_it_follows_its_state_diagram(
    events: list[tuple[str, float | None]], after: int, rest: float, longest: float
) -> None:
    """The model: a number of failures in a row, the end of the rest, and the time of the probe."""
    clock = Clock()
    breaker = CircuitBreaker(clock)
    settings = Rest(rest, after, longest)
    failures, until, probe = 0, None, None
    for event, value in events:
        if event == "pass":
            clock.now += value or 0.0
        elif event == "fail":
            failures += 1
            if after and (probe is not None or failures >= after):
                grown = rest
                for _ in range(failures - after):
                    grown = min(2 * grown, longest) if longest > rest else rest
                until = clock.now + max(grown, value or 0.0)
            probe = None
            assert breaker.record_failure(settings, value) is (until is not None)
        elif event == "succeed":
            failures, until, probe = 0, None, None
            breaker.record_success()
        elif event == "let go":
            probe = None
            breaker.let_go()
        else:
            free = until is None or not after
            tried = (
                until is not None
                and not free
                and clock.now >= until
                and (probe is None or clock.now >= probe + rest)
            )
            if tried:
                probe = clock.now
            assert breaker.admits(settings) is (free or tried)
        assert breaker.is_open is (until is not None)
        assert breaker.rests_for == (0.0 if until is None else max(0.0, until - clock.now))


def test_of_many_threads_one_is_the_probe() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    breaker.record_failure(Rest(1.0))
    clock.now = 2.0
    meeting = threading.Barrier(16)
    admitted: list[bool] = []

    def ask() -> None:
        meeting.wait()
        admitted.append(breaker.admits(Rest(1.0)))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == [False] * 15 + [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_of_a_fork_goes_on_while_the_parent_held_it() -> None:
    breaker = CircuitBreaker()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with breaker._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        os._exit(0 if breaker.record_failure(Rest(60.0)) and breaker.rests_for > 50 else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert not breaker.is_open
