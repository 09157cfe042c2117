"""What a failure is called in `retry.when` and `fallback_on`: its class decides, never its words."""

from __future__ import annotations

from lmconf.errors import (
    BadResponse,
    BudgetExceeded,
    CallError,
    ConnectionFailed,
    ContentPolicy,
    ContextWindowExceeded,
    NotFound,
    RateLimited,
    ServerError,
    Timeout,
)

__all__ = ["OTHER", "counts_against_breaker", "reason_of"]

_REASONS: tuple[tuple[type[CallError], str], ...] = (
    (RateLimited, "rate_limit"),
    (Timeout, "timeout"),
    (ServerError, "server_error"),
    (ConnectionFailed, "connection"),
    (BadResponse, "bad_response"),
    (NotFound, "not_found"),
    (ContextWindowExceeded, "context_window"),
    (ContentPolicy, "content_policy"),
    (BudgetExceeded, "budget"),
)

OTHER = "other"
"""The failures that no policy names: a refused request or credential, an LM that was closed, and
the budget of a whole profile, which is spent whichever of its LMs is asked."""


def reason_of(failure: CallError) -> str:
    """Return the name of `failure`; a rate limit that is an exhausted quota is `quota`."""
    if failure.exhausted:
        return "quota"
    if isinstance(failure, BudgetExceeded) and failure.whose == "profile":
        return OTHER
    return next((reason for kind, reason in _REASONS if isinstance(failure, kind)), OTHER)


def counts_against_breaker(failure: CallError) -> bool:
    """Say whether a breaker counts `failure`: the server is down, hangs, or answers in no way.

    A server that limits its rate is well, and says when to come back.
    """
    return failure.retryable and isinstance(
        failure, Timeout | ServerError | ConnectionFailed | BadResponse
    )
