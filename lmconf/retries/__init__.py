"""When a failed request is sent again: pure decisions, carried out by the runtime."""

from __future__ import annotations

from lmconf.retries.origins import RetryBudget, origins
from lmconf.retries.policy import (
    delays,
    longest_delays,
    parse_retry_after,
    should_retry,
    wait_before_retry,
)
from lmconf.retries.specs import REASONS, BreakerPolicy, RetryPolicy

__all__ = [
    "REASONS",
    "BreakerPolicy",
    "RetryBudget",
    "RetryPolicy",
    "delays",
    "longest_delays",
    "origins",
    "parse_retry_after",
    "should_retry",
    "wait_before_retry",
]
