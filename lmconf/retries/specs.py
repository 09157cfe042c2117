"""What a profile says of trying again."""

from __future__ import annotations

from typing import Annotated, Literal

from lmconf.spec.declaring import Spec, operations
from lmconf.spec.shapes import Choice, Duration, Flag, ListOf, Number

REASONS = ("rate_limit", "timeout", "server_error", "connection", "bad_response")
"""The failures that may be tried again, by the names that `retry.when` uses."""


class RetryPolicy(Spec, frozen=True, kw_only=True):
    """How long to wait between attempts, and after which failures to try again.

    Attempt n (from 0) waits a time drawn evenly from 0 to min(max, initial * multiplier ** n):
    "full jitter" (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    initial: Annotated[
        float, operations(Duration(), "The ceiling of the first wait.", examples=("0.5s",))
    ] = 0.5
    max: Annotated[
        float, operations(Duration(), "The ceiling of every wait.", examples=("20s",))
    ] = 20.0
    multiplier: Annotated[
        float, operations(Number(1, 100), "How much the ceiling grows from wait to wait.")
    ] = 2.0
    jitter: Annotated[
        Literal["full", "none"],
        operations(Choice(("full", "none")), "`none` waits the whole ceiling every time."),
    ] = "full"
    when: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Choice(REASONS), single=True),
            "The failures after which the request is sent again.",
        ),
    ] = REASONS
    respect_retry_after: Annotated[
        bool, operations(Flag(), "Wait at least as long as the server asks.")
    ] = True
