"""The layer that tries again what failed for a passing reason."""

from __future__ import annotations

from lmconf.callbacks import Retry
from lmconf.errors import (
    BadResponse,
    CallError,
    ConnectionFailed,
    RateLimited,
    ServerError,
    Timeout,
)
from lmconf.retries.policy import after, delays, should_retry
from lmconf.runtime.call import Call, Next, Sleep, Steps

__all__ = ["retry"]

_REASONS: tuple[tuple[type[CallError], str], ...] = (
    (RateLimited, "rate_limit"),
    (Timeout, "timeout"),
    (ServerError, "server_error"),
    (ConnectionFailed, "connection"),
    (BadResponse, "bad_response"),
)
_OTHER = "other"


def retry(call: Call, following: Next) -> Steps:
    """Try again what failed for a passing reason: the only place where anything is retried."""
    policy, number = call.spec.retry, call.spec.num_retries
    waits = None
    while True:
        failure: CallError | None = None
        try:
            return (yield from following(call))
        except CallError as error:
            failure = error
        if waits is None:
            import random  # only what failed needs it

            waits = delays(policy, number, random.Random())  # noqa: S311 - it spreads load
        wait = next(waits, None) if _may_retry(failure, call) else None
        if wait is not None:
            wait = after(wait, failure.retry_after, call.left, policy)
            if wait is None:
                _say_no_time(failure, call)
        if wait is None:
            raise failure
        if call.dispatcher:
            call.tell(
                Retry,
                after=call.attempts,
                wait=wait,
                reason=_reason(failure),
                error=type(failure).__name__,
                status=failure.status,
            )
        yield Sleep(wait)
        call.waited += wait


def _may_retry(failure: CallError, call: Call) -> bool:
    if not failure.retryable or call.attempts == 0:
        return False
    reason = _reason(failure)
    return reason == _OTHER or should_retry(reason, call.spec.retry)


def _reason(failure: CallError) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(failure, kind)), _OTHER)


def _say_no_time(failure: CallError, call: Call) -> None:
    left = max(call.left, 0.0)
    if not left and isinstance(failure, Timeout):
        return  # the attempt ended with the call, and what helps is told of that
    asked = failure.retry_after
    if asked is not None and asked >= left:
        why = f"the server asks to wait {asked:.3g}s"
    else:
        why = "another attempt would wait"
    failure.help = f"not tried again: {why}, and the call's `deadline` leaves {left:.3g}s"
