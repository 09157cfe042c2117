"""When a failed request is sent again, decided from data alone: no clock, no sleep, no network."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import timezone
from typing import TYPE_CHECKING

from lmconf.retries.reasons import reason_of
from lmconf.retries.specs import REASONS, RetryPolicy

if TYPE_CHECKING:
    import random

    from lmconf.errors import CallError

__all__ = ["delays", "longest_delays", "parse_retry_after", "should_retry", "wait_before_retry"]

# float() also reads "1_0", " 1 ", "inf" and digits of other scripts; no server means those.
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII)


def longest_delays(policy: RetryPolicy, num_retries: int) -> Iterator[float]:
    """Yield the most seconds to wait before each of `num_retries` further attempts.

    For attempt n (from 0) that is min(max, initial * multiplier ** n).
    """
    longest = min(policy.max, policy.initial)
    for _ in range(num_retries):
        yield longest
        # Step by step: `multiplier ** n` overflows where the product just reaches `max`.
        longest = min(policy.max, longest * policy.multiplier)


def delays(policy: RetryPolicy, num_retries: int, rng: random.Random) -> Iterator[float]:
    """Yield the seconds to wait before each of `num_retries` further attempts.

    Each is drawn evenly from 0 to the longest, or is the longest where `jitter` is `none`.
    """
    for longest in longest_delays(policy, num_retries):
        yield longest if policy.jitter == "none" else rng.uniform(0.0, longest)


def wait_before_retry(
    delay: float, retry_after: float | None, deadline_left: float, policy: RetryPolicy
) -> float | None:
    """Return the seconds to wait now, or None when no attempt would fit after the wait.

    `delay` comes from `delays`; `retry_after` is what the server asked for, a minimum where the
    policy respects it; `deadline_left` is how many seconds the whole call still has.
    """
    wait = delay
    if retry_after is not None and policy.respect_retry_after:
        wait = max(delay, retry_after)
    return wait if wait < deadline_left else None


def should_retry(failure: CallError, policy: RetryPolicy) -> bool:
    """Say whether what met `failure` may be tried again.

    What `when` cannot name is tried again where the failure, and so the server, says that it may.
    """
    reason = reason_of(failure)
    return failure.retryable and (reason in policy.when or reason not in REASONS)


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds for which the server asks to be left alone, or None where it says none.

    `retry-after-ms` comes before `Retry-After` (seconds or an HTTP date, RFC 9110 section 10.2.3;
    `now` is seconds since 1970). What is negative, past, not finite or not to be read counts as
    not said. Names of headers are compared without case.
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    milliseconds = _number(said.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = said.get("retry-after", "")
    seconds = _number(text)
    if seconds is None:
        seconds = _seconds_until(text, now)
    return seconds


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _seconds_until(text: str, now: float) -> float | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # it brings in sockets: 10 ms

    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # "-0000", and the old format of asctime: both mean UTC
            date = date.replace(tzinfo=timezone.utc)
        seconds = date.timestamp() - now
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None
