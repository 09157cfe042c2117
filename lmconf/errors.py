"""Diagnostics as data, and every exception that lmconf raises on purpose.

A `Diagnostic` says one thing that is wrong with a document: a code, where it stands, what was
found, what was expected and how to mend it. It is a frozen value, compared in tests and written
as text or JSON by `lmconf.diagnostics.render`. Exceptions carry diagnostics or the facts of a failed call;
none of them ever carries the value of a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.system.durations import format_duration

__all__ = [
    "AuthenticationFailed",
    "BadRequest",
    "BadResponse",
    "BatchFailed",
    "BudgetExceeded",
    "CallError",
    "Cause",
    "CircuitOpen",
    "Closed",
    "ConnectionFailed",
    "ContentPolicy",
    "ContextWindowExceeded",
    "Error",
    "LaunchError",
    "MissingDependency",
    "NotCarriedOut",
    "NotFound",
    "NotSent",
    "PermissionDenied",
    "ProfileError",
    "RateLimited",
    "ServerError",
    "Timeout",
    "TrainError",
    "UsageError",
]


class Error(Exception):
    """Everything that lmconf raises on purpose derives from this."""


class UsageError(Error, ValueError):
    """A function of lmconf was called with arguments that do not fit: the message says how."""


class MissingDependency(UsageError, ImportError):
    """A package is not installed that an optional part of lmconf needs: the message says which."""


class ProfileError(Error):
    """A document cannot be used: `diagnostics` says why, each with its place and its mend."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...] | list[Diagnostic]) -> None:
        super().__init__(tuple(diagnostics))
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)

    def __str__(self) -> str:
        from lmconf.diagnostics.render import to_text

        return to_text(self.diagnostics)


class Cause(Struct, frozen=True, kw_only=True):
    """What became of one failed attempt of a call.

    `lm` is the LM that was asked, `kind` the failure's class, `status` the server's status where
    it gave one, and `waited` the seconds that were waited before the next attempt.
    """

    lm: str
    kind: str
    status: int | None = None
    waited: float = 0.0


class CallError(Error):
    """A call to an LM failed; `retryable` says whether the same call may succeed later.

    `lm` is the LM's name (or model), `attempts` how often the request was sent, `waited` the
    seconds slept between attempts, `status` the HTTP status where there was one, `retry_after`
    the seconds that the server asked for, `place` the profile's line where one exists, and
    `partial` the text received before a stream broke. `setting` names the field that the failure
    is about, where that is known, and `help` is a next step. `causes` tells of each failed
    attempt, `fallbacks` are the failures of the LMs that were asked instead, and `exhausted` says
    that the account's quota is used up.
    """

    retryable: bool = False
    exhausted: bool = False
    default_help: str = ""
    causes: tuple[Cause, ...] = ()
    fallbacks: tuple[Error, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        lm: str = "",
        attempts: int = 0,
        waited: float = 0.0,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        place: Mark | None = None,
        help: str = "",
        partial: str = "",
        setting: str = "",
    ) -> None:
        super().__init__(message)
        self.lm = lm
        self.attempts = attempts
        self.waited = waited
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable
        self.place = place
        self.help = help or self.default_help
        self.partial = partial
        self.setting = setting

    @property
    def message(self) -> str:
        """What went wrong, without the facts that stand beside it."""
        return str(self.args[0]) if self.args else ""

    @message.setter
    def message(self, text: str) -> None:
        self.args = (text,)

    def to_dict(self) -> dict[str, object]:
        """Return what is known of the failure as plain JSON; `place` is text.

        The text received before a stream broke is left out: logs are no place for it.
        """
        return {
            "type": type(self).__name__,
            "message": self.message,
            "lm": self.lm,
            "attempts": self.attempts,
            "waited": self.waited,
            "status": self.status,
            "request_id": self.request_id,
            "retry_after": self.retry_after,
            "retryable": self.retryable,
            "setting": self.setting or None,
            "place": None if self.place is None else str(self.place),
            "help": self.help or None,
            "causes": [structs.asdict(cause) for cause in self.causes],
            "fallbacks": [_error_fields(error) for error in self.fallbacks],
        }

    def __str__(self) -> str:
        parts = [f"{self.lm}: {self.message}" if self.lm else self.message]
        facts = []
        if self.status is not None:
            facts.append(f"status {self.status}")
        if self.attempts:
            facts.append(f"{self.attempts} attempt{'s' if self.attempts != 1 else ''}")
        if self.waited:
            facts.append(f"waited {format_duration(self.waited)}")
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        if facts:
            parts.append(f"({', '.join(facts)})")
        text = " ".join(parts)
        if self.place is not None:
            text += f"\n  at {self.place}"
        if self.help:
            text += f"\n  help: {self.help}"
        for error in self.fallbacks:
            text += "\n  then " + str(error).replace("\n", "\n  ")
        return text


def _error_fields(error: Error) -> dict[str, object]:
    if isinstance(error, CallError):
        return error.to_dict()
    return {"type": type(error).__name__, "message": str(error)}


class RateLimited(CallError):
    """The server refused for now (429); an exhausted quota is not retryable."""

    retryable = True
    default_help = "lower the rate of calls, or raise num_retries"


class Timeout(CallError):
    """No whole answer came within `timeout`, or the call's `deadline` passed."""

    retryable = True
    default_help = "raise `timeout` or `deadline`, or ask for fewer tokens"


class ConnectionFailed(CallError):
    """The server could not be reached, or closed the connection."""

    retryable = True
    default_help = "check `api_base` and the network, and that the server is running"


class CircuitOpen(ConnectionFailed):
    """Nothing was sent: the server kept failing, and rests before it is tried again."""

    default_help = "`retry.breaker` sets how many failures open it, and for how long"


class ServerError(CallError):
    """The server failed (a status of 500 or above, 408 or 409)."""

    retryable = True
    default_help = "try again later, or see the provider's status page"


class BadResponse(CallError):
    """What came back is not a usable answer: malformed, cut short or empty."""

    retryable = True
    default_help = (
        "try again; if the error persists, check that `api_base` leads to this provider's API"
    )


class AuthenticationFailed(CallError):
    """The credential is missing or was refused (401)."""

    default_help = "check the variable or file that `api_key` names"


class PermissionDenied(CallError):
    """The credential is valid and may not do this (402, 403)."""

    default_help = "check what the key's account, project or plan permits"


class NotFound(CallError):
    """The server knows no such model or address (404)."""

    default_help = "check `model` and `api_base`"


class BadRequest(CallError):
    """The server refused the request as it stands (400, 413, 422)."""

    default_help = "fix what the server reports: the same request would fail again"


class ContextWindowExceeded(BadRequest):
    """The prompt and `max_tokens` together do not fit the model's context."""

    default_help = "shorten the prompt or lower `max_tokens`"


class ContentPolicy(BadRequest):
    """The provider's content policy refused the prompt or the answer."""

    default_help = "change the prompt to comply with the provider's policy"


class NotCarriedOut(CallError):
    """The profile asks for something that this version checks but cannot do yet."""

    default_help = "leave it out for now"


class BudgetExceeded(CallError):
    """The call was not sent: with what it may cost, its budget would be exceeded.

    `whose` is `lm` for the budget of the LM, and `profile` for that of its whole profile. `unit` is
    `cost_usd` or `tokens`; `spent` is what the budget's period has used of it, calls in
    flight included, `estimate` what this call may use, and `limit` the budget. `resets` is when
    the next period begins, in seconds since 1970; None for the budget of a run.
    """

    default_help = "raise `budget`, or lower `max_tokens`"

    def __init__(
        self,
        message: str,
        *,
        whose: Literal["lm", "profile"] = "lm",
        unit: str = "",
        spent: float = 0.0,
        estimate: float = 0.0,
        limit: float = 0.0,
        resets: float | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.whose = whose
        self.unit = unit
        self.spent = spent
        self.estimate = estimate
        self.limit = limit
        self.resets = resets

    def to_dict(self) -> dict[str, object]:
        """Return what is known of the failure as plain JSON."""
        names = ("whose", "unit", "spent", "estimate", "limit", "resets")
        return {**super().to_dict(), **{name: getattr(self, name) for name in names}}


class Closed(CallError):
    """The LM was closed, or a stream was used after its end."""

    default_help = "create another LM, or call before `close()` and inside the `with` block"


class NotSent(CallError):
    """A batch stopped before this item of it was sent: the message says why."""

    default_help = "fix what stopped the batch, and send this item again"


class BatchFailed(CallError):
    """Items of a batch failed; the others were answered.

    `results` holds the answers and, where an item failed, its exception, in the order of the
    inputs; `errors` the exceptions alone, by index. `retryable` says whether some of the failed
    items may succeed later.
    """

    default_help = "`results` has the answers; each of `errors` has a hint"

    def __init__(self, message: str, *, results: Sequence[Any] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.results = list(results)

    @property
    def errors(self) -> dict[int, Exception]:
        """The exception of each item that failed, by the item's index."""
        found = enumerate(self.results)
        return {index: outcome for index, outcome in found if isinstance(outcome, Exception)}


class LaunchError(Error):
    """A local server could not be started or did not become ready; the message says why.

    `fallbacks` are the failures of the LMs that were asked instead.
    """

    fallbacks: tuple[Error, ...] = ()


class TrainError(Error):
    """A fine-tuning job failed."""
