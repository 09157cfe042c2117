"""When a failed request is sent again, and after how long."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from email.utils import formatdate
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    CallError,
    ConnectionFailed,
    RateLimited,
    ServerError,
    Timeout,
)
from lmconf.retries import (
    REASONS,
    RetryPolicy,
    delays,
    parse_retry_after,
    should_retry,
    wait_before_retry,
)
from lmconf.retries.reasons import reason_of

policies = st.builds(
    RetryPolicy,
    initial=st.just(0.0) | st.floats(1e-6, 1e6),
    max=st.floats(0, 1e6),
    multiplier=st.floats(1, 100),
    jitter=st.sampled_from(["full", "none"]),
    respect_retry_after=st.booleans(),
)
seconds = st.floats(0, 1e9)
NOW = 1_700_000_000.0


@given(policies, st.integers(0, 500), st.integers())
def test_delays_keep_to_their_law(policy: RetryPolicy, num_retries: int, seed: int) -> None:
    """Wait n lies between 0 and min(max, initial * multiplier ** n), for any n."""
    waits = list(delays(policy, num_retries, random.Random(seed)))
    assert len(waits) == num_retries
    for n, wait in enumerate(waits):
        exact = Fraction(policy.initial) * Fraction(policy.multiplier) ** n
        ceiling = float(min(Fraction(policy.max), exact))
        assert 0 <= wait <= min(policy.max, ceiling * (1 + 1e-9))
        if policy.jitter == "none":
            assert wait == pytest.approx(ceiling)


def test_the_defaults_double_up_to_their_ceiling() -> None:
    policy = RetryPolicy(jitter="none")
    assert list(delays(policy, 8, random.Random())) == [0.5, 1, 2, 4, 8, 16, 20, 20]


def test_no_number_of_attempts_overflows() -> None:
    policy = RetryPolicy(initial=0.001, max=1e308, multiplier=100.0, jitter="none")
    assert list(islice(delays(policy, 10**9, random.Random()), 1000))[-1] == 1e308


def test_jitter_uses_the_whole_range_evenly() -> None:
    policy = RetryPolicy(initial=10.0, max=10.0)
    waits = sorted(delays(policy, 10_000, random.Random(1)))
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert waits[int(share * len(waits))] == pytest.approx(10 * share, abs=0.2)


def test_equal_seeds_wait_equally() -> None:
    policy = RetryPolicy()
    assert [*delays(policy, 9, random.Random(3))] == [*delays(policy, 9, random.Random(3))]


@given(seconds, st.none() | seconds, seconds | st.just(math.inf), policies)
def test_a_wait_fits_the_deadline_and_is_never_shorter_than_asked(
    delay: float, asked: float | None, left: float, policy: RetryPolicy
) -> None:
    wait = wait_before_retry(delay, asked, left, policy)
    least = max(delay, asked) if asked is not None and policy.respect_retry_after else delay
    assert wait == (least if least < left else None)


def test_a_server_that_asks_for_more_than_is_left_ends_the_call_at_once() -> None:
    assert wait_before_retry(0.1, 30, 20, RetryPolicy()) is None
    assert wait_before_retry(0.1, 30, 20, RetryPolicy(respect_retry_after=False)) == 0.1
    assert wait_before_retry(1, None, 1, RetryPolicy()) is None


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({}, None),
        ({"Retry-After": "20"}, 20),
        ({"retry-after": " 0 "}, 0),
        ({"RETRY-AFTER": "1.5"}, 1.5),
        ({"Retry-After": "1000000000000"}, 1e12),
        ({"retry-after-ms": "250"}, 0.25),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"retry-after-ms": "soon", "Retry-After": "1"}, 1),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"Retry-After": "Tue, 14 Nov 2023 22:14:20 -0000"}, 60),
        ({"Retry-After": "Tuesday, 14-Nov-23 22:14:20 GMT"}, 60),
        ({"Retry-After": "Tue Nov 14 22:14:20 2023"}, 60),
        ({"Retry-After": formatdate(NOW - 90, usegmt=True)}, None),
    ],
)
def test_what_servers_ask_for_is_understood(headers: dict[str, str], asked: float | None) -> None:
    assert parse_retry_after(headers, NOW) == asked


@pytest.mark.parametrize(
    "text",
    [
        *("-1 nan inf -inf 1e400 1_0 0x10 ٣ soon +5 None . 1,5".split()),
        *("", "1 2", "9" * 400),
        *("Tue, 99 Nov 2023 22:14:20 GMT", "Tue, 14 Nov 99999 22:14:20 GMT"),
    ],
)
def test_what_makes_no_sense_counts_as_not_said(text: str) -> None:
    assert parse_retry_after({"Retry-After": text}, NOW) is None
    assert parse_retry_after({"retry-after-ms": text}, NOW) is None


@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} \w+"),
    st.floats(0, 1e11),
)
@example("Mon, 1 Jan 1 00:00:00 +9999", 0.0)
def test_whatever_a_server_says_is_a_finite_time_or_nothing(text: str, now: float) -> None:
    for name in ("Retry-After", "retry-after-ms"):
        asked = parse_retry_after({name: text}, now)
        assert asked is None or 0 <= asked < math.inf


@pytest.mark.parametrize("kind", [RateLimited, Timeout, ServerError, ConnectionFailed, BadResponse])
def test_the_policy_says_after_which_failures(kind: type[CallError]) -> None:
    failure, reason = kind("no", retryable=True), reason_of(kind("no"))
    assert reason in REASONS
    assert should_retry(failure, RetryPolicy())
    assert not should_retry(failure, RetryPolicy(when=()))
    assert should_retry(failure, RetryPolicy(when=(reason,)))
    assert not should_retry(kind("no", retryable=False), RetryPolicy())


def test_other_failures_are_final_unless_the_server_says_that_they_are_not() -> None:
    assert not should_retry(AuthenticationFailed("no"), RetryPolicy())
    assert should_retry(BadRequest("no", retryable=True), RetryPolicy())


def test_deciding_needs_no_network_modules() -> None:
    """Dates are rare, and what reads them brings in half of the network library."""
    code = (
        "import sys; before = {*sys.modules}; import lmconf.retries\n"
        "print({'socket', 'email.utils'} & ({*sys.modules} - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
