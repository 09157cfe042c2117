"""What a profile says of trying again."""

from __future__ import annotations

from typing import Annotated, Literal

from lmconf.schema import Choice, Duration, Either, Flag, Integer, ListOf, Number, Record
from lmconf.schema.declaration import Spec, operations

REASONS = ("rate_limit", "timeout", "server_error", "connection", "bad_response")
"""The failures that may be tried again, by the names that `retry.when` uses."""


FALLBACK_REASONS = (*REASONS, "quota", "not_found", "context_window", "content_policy", "budget")
"""The failures after which another LM may be asked, by the names that `fallback_on` uses."""

FALLBACK_DEFAULT = (*REASONS, "quota")
"""After these another LM is asked if the profile does not say otherwise."""

BUDGET = 500
"""What a retry budget holds where the profile says no more than `true`."""


class BreakerPolicy(Spec, frozen=True, kw_only=True):
    """When a server that keeps failing is left alone (M. Nygard, "Release It!", 2007, ch. 5).

    It holds where another LM can be asked instead. After `rest` one call tries the server again.
    """

    after: Annotated[
        int, operations(Integer(0, 1000), "How many failures in a row open it; 0: it never opens.")
    ] = 5
    rest: Annotated[
        float, operations(Duration(), "How long it stays open; longer if the server says so.")
    ] = 30.0


def breaker_shorthand(short: object) -> dict[str, object] | None:
    """Return the block that `breaker: false` and `true` stand for, None for other values."""
    if isinstance(short, bool):
        # Written out, so that `true` overrules an inherited `false`.
        return {"after": BreakerPolicy().after if short else 0}
    return None


class RetryPolicy(Spec, frozen=True, kw_only=True):
    """How long to wait between attempts, and after which failures to try again.

    Attempt n (from 0) waits a time drawn evenly from 0 to min(max, initial * multiplier ** n):
    "full jitter" (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    initial: Annotated[
        float,
        operations(
            Duration(), "The ceiling of the first wait.", examples=("0.5s",), untrusted=True
        ),
    ] = 0.5
    max: Annotated[
        float,
        operations(Duration(), "The ceiling of every wait.", examples=("20s",), untrusted=True),
    ] = 20.0
    multiplier: Annotated[
        float,
        operations(Number(1, 100), "How much the ceiling grows from wait to wait.", untrusted=True),
    ] = 2.0
    jitter: Annotated[
        Literal["full", "none"],
        operations(
            Choice(("full", "none")), "`none` waits the whole ceiling every time.", untrusted=True
        ),
    ] = "full"
    when: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Choice(REASONS), single=True),
            "The failures after which the request is sent again.",
            untrusted=True,
        ),
    ] = REASONS
    respect_retry_after: Annotated[
        bool, operations(Flag(), "Wait at least as long as the server asks.", untrusted=True)
    ] = True
    budget: Annotated[
        bool | int,
        operations(
            Either((Flag(), Integer(0, 100_000))),
            "What failing calls may spend on trying again, shared by all calls to one origin: an"
            " attempt costs 5, a success gives back. `true` is 500, `false` sets no bound.",
            risk="do without the bounds of retries that LMs share",
        ),
    ] = True
    breaker: Annotated[
        BreakerPolicy,
        operations(
            Record(BreakerPolicy, shorthand=breaker_shorthand, short=Flag()),
            "When a server that keeps failing is left alone; holds where there are fallbacks.",
            examples=(False, {"after": 3, "rest": "1min"}),
            risk="keep other LMs from a server",
        ),
    ] = BreakerPolicy()
