"""When a failed request is sent again: pure decisions, carried out by the runtime."""

from __future__ import annotations

from lmconf.retries.policy import after, delays, parse_retry_after, should_retry
from lmconf.retries.specs import REASONS, RetryPolicy

__all__ = ["REASONS", "RetryPolicy", "after", "delays", "parse_retry_after", "should_retry"]
