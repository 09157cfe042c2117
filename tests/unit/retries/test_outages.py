"""In an outage little is sent in vain, what is sent is spread, and a server that fails may rest."""

from __future__ import annotations

import heapq
import random
import statistics
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmconf
from lmconf.errors import BadRequest, CallError, RateLimited, ServerError, Timeout
from lmconf.retries import BreakerPolicy, RetryBudget, RetryPolicy, delays, origins
from lmconf.retries.origins import COST
from lmconf.retries.reasons import counts_against_breaker, reason_of
from lmconf.system.circuit_breaker import CircuitBreaker
from tests.loopback import Reply, chat, serving

CALLS = 1000


def outage(policy: RetryPolicy, budget: RetryBudget | None, arrivals: list[float]) -> list[float]:
    """Return when attempts are made while every one of them fails, on a clock of its own."""
    rng = random.Random(7)
    attempts = []
    coming = [(at, number, delays(policy, 8, rng)) for number, at in enumerate(arrivals)]
    heapq.heapify(coming)
    while coming:
        now, number, waits = heapq.heappop(coming)
        attempts.append(now)
        wait = next(waits, None)
        if wait is not None and (budget is None or budget.pays()):
            heapq.heappush(coming, (now + wait, number, waits))
    return attempts


def unevenness(times: list[float], width: float = 0.25) -> float:
    """Return the standard deviation of arrivals per bin, over their mean."""
    bins = Counter(int(at / width) for at in times)
    counts = [bins[number] for number in range(max(bins) + 1)]
    return statistics.pstdev(counts) / statistics.mean(counts)


def test_in_a_total_outage_a_thousand_calls_make_few_attempts_and_do_not_come_in_pulses() -> None:
    arrivals = [number * 0.01 for number in range(CALLS)]
    attempts = outage(RetryPolicy(), RetryBudget(500), arrivals)
    assert CALLS < len(attempts) <= 1.15 * CALLS
    spread = Counter(int(at / 0.25) for at in attempts)
    assert max(spread.values()) <= 2.5 * CALLS / 40
    # Nothing holds them back without a budget.
    assert len(outage(RetryPolicy(), None, arrivals)) == 9 * CALLS


def test_full_jitter_takes_a_crowd_apart() -> None:
    crowd = [0.0] * CALLS
    jittered = [at for at in outage(RetryPolicy(), None, crowd) if at > 0]
    in_step = [at for at in outage(RetryPolicy(jitter="none"), None, crowd) if at > 0]
    assert unevenness(jittered) < unevenness(in_step) / 2


def test_a_real_outage_is_not_multiplied() -> None:
    """Calls from many threads, and by several LMs, share the budget of their origin."""
    with serving(Reply(status=503, json={"error": {"message": "down"}})) as server:
        settings = {
            "api_base": server.v1,
            "api_key": "",
            "cache": False,
            "retry": {"initial": "1ms", "breaker": {"after": 3}},
        }
        lms = [lmconf.LM(f"openai/m{number}", **settings) for number in range(2)]  # type: ignore[arg-type]

        def call(number: int) -> CallError:
            with pytest.raises(ServerError) as caught:
                lms[number % 2]("hi")
            return caught.value

        with ThreadPoolExecutor(8) as pool:
            errors = list(pool.map(call, range(CALLS)))
        assert CALLS < len(server.received) <= 1.15 * CALLS
        assert len(server.received) == sum(error.attempts for error in errors)
        assert "`retry.budget`" in errors[-1].help
        server.answers(chat())
        assert lms[0]("hi") == ["Hello."]


def test_a_budget_of_ones_own_and_none_at_all() -> None:
    down = Reply(status=503, json={"error": {"message": "down"}})
    with serving(down) as server:
        lm = lmconf.LM(
            "openai/m",
            api_base=server.v1,
            api_key="",
            cache=False,
            num_retries=9,
            retry={"initial": 0, "budget": 3 * COST},
        )
        for wanted in (4, 1):
            with pytest.raises(ServerError) as caught:
                lm("hi")
            assert caught.value.attempts == wanted
        free = lm.copy(retry={"budget": False})
        for _ in range(15):
            with pytest.raises(ServerError) as caught:
                free("hi")
            assert caught.value.attempts == 10


def test_a_server_that_says_when_to_come_back_is_not_paid_for() -> None:
    busy = Reply(status=429, json={"error": {}}, headers={"retry-after": "0"})
    with serving(busy) as server:
        lm = lmconf.LM(
            "openai/m",
            api_base=server.v1,
            api_key="",
            cache=False,
            num_retries=4,
            retry={"initial": 0, "budget": 0},
        )
        with pytest.raises(RateLimited) as caught:
            lm("hi")
        assert caught.value.attempts == 5
        assert [cause.status for cause in caught.value.causes] == [429] * 5


def test_an_attempt_costs_5_which_its_success_gives_back_and_a_first_success_gives_back_1() -> None:
    budget, left = RetryBudget(500), []
    for _ in range(2):
        assert budget.pays()
    for tried_again in (False, True, False, True):
        left.append(budget.left)
        budget.give_back(tried_again=tried_again)
    assert [*left, budget.left] == [490, 491, 496, 497, 500]
    while budget.pays():
        pass
    assert budget.left == 0


@given(st.integers(0, 2000), st.lists(st.sampled_from(["pay", "first", "again"]), max_size=60))
def test_a_budget_stays_within_its_bounds(capacity: int, steps: list[str]) -> None:
    budget = RetryBudget(capacity)
    for step in steps:
        before = budget.left
        if step == "pay":
            assert budget.pays() is (before >= COST)
        else:
            budget.give_back(tried_again=step == "again")
            assert budget.left >= before
        assert 0 <= budget.left <= capacity


# --- the breaker --------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


POLICY = BreakerPolicy(after=3, rest=10.0)


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock)
    assert [breaker.record_failure(POLICY) for _ in range(3)] == [False, False, True]
    return breaker


def test_failures_in_a_row_open_it_and_an_answer_between_them_counts() -> None:
    breaker = CircuitBreaker(Clock())
    for _ in range(5):
        breaker.record_failure(POLICY)
        breaker.record_failure(POLICY)
        breaker.record_success()
    assert breaker.admits(POLICY)
    assert not opened(Clock()).admits(POLICY)


def test_one_probe_is_let_through_after_the_rest() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 9.9
    assert not breaker.admits(POLICY)
    clock.now += 0.2
    assert [breaker.admits(POLICY) for _ in range(3)] == [True, False, False]
    breaker.record_failure(POLICY)
    clock.now += 9.9
    assert not breaker.admits(POLICY)
    clock.now += 0.2
    assert breaker.admits(POLICY)
    breaker.record_success()
    assert [breaker.admits(POLICY) for _ in range(3)] == [True] * 3
    assert not breaker.is_open


def test_a_probe_that_is_never_heard_of_again_bars_nobody_for_ever() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 11
    assert breaker.admits(POLICY)
    breaker.let_go()
    assert breaker.admits(POLICY)
    clock.now += 11
    assert breaker.admits(POLICY)


def test_it_rests_for_as_long_as_the_server_asks_and_never_where_it_is_off() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    for _ in range(3):
        breaker.record_failure(POLICY, retry_after=60.0)
    assert breaker.rests_for == 60.0
    off = BreakerPolicy(after=0)
    assert breaker.admits(off)
    other = CircuitBreaker(clock)
    assert not any(other.record_failure(off) for _ in range(50))


def test_what_speaks_against_a_server_and_what_it_is_called() -> None:
    assert counts_against_breaker(ServerError("down", status=503))
    assert counts_against_breaker(Timeout("late"))
    assert not counts_against_breaker(RateLimited("slow down"))
    assert not counts_against_breaker(BadRequest("no"))
    spent = RateLimited("no credit")
    spent.exhausted = True
    assert [reason_of(e) for e in (spent, RateLimited("x"), BadRequest("x"))] == [
        "quota",
        "rate_limit",
        "other",
    ]


def test_what_is_known_of_servers_is_bounded() -> None:
    known = origins()
    first = known.breaker("http://first", "m")
    assert known.breaker("http://first", "m") is first
    for number in range(1100):
        known.breaker(f"http://{number}", "m")
        known.budget(f"http://{number}", True)
    assert known.breaker("http://first", "m") is not first
