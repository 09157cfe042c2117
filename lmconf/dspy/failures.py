"""Failures that are both lmconf's and DSPy's: caught by the handlers of either.

DSPy's adapters and modules decide by its own classes what to do: `ReAct` shortens a prompt after
`dspy.ContextWindowExceededError`, and no adapter asks in another format after a `dspy.LMError`.
"""

from __future__ import annotations

import functools
from typing import Any

from dspy.utils import exceptions as theirs

from lmconf import errors as ours
from lmconf.system.tracebacks import strip_frames

__all__ = ["to_dspy_error"]

# The first that fits counts.
_COUNTERPARTS: tuple[tuple[type[ours.Error], Any], ...] = (
    (ours.ContextWindowExceeded, theirs.ContextWindowExceededError),
    (ours.AuthenticationFailed, theirs.LMAuthError),
    (ours.PermissionDenied, theirs.LMAuthError),
    (ours.NotFound, theirs.LMUnsupportedModelError),
    (ours.BadRequest, theirs.LMInvalidRequestError),
    (ours.RateLimited, theirs.LMRateLimitError),
    (ours.Timeout, theirs.LMTimeoutError),
    (ours.ConnectionFailed, theirs.LMTransportError),
    (ours.ServerError, theirs.LMServerError),
    (ours.NotCarriedOut, theirs.LMUnsupportedFeatureError),
    (ours.Closed, theirs.LMConfigurationError),
    (ours.CallError, theirs.LMProviderError),
    (ours.Error, theirs.LMConfigurationError),
)


def to_dspy_error(error: ours.Error, model: str) -> ours.Error:
    """Return `error` as one of lmconf's class and of DSPy's that means the same, without frames.

    It says what `error` says, and has the attributes of both.
    """
    if isinstance(error, theirs.LMError):
        again: ours.Error = strip_frames(error)
        return again
    target = next(dspy for own, dspy in _COUNTERPARTS if isinstance(error, own))
    if isinstance(error, ours.RateLimited) and not error.retryable:
        target = theirs.LMBillingError
    own: Any = type(error)
    error_class = _class(own, target)
    facts = {
        "message": str(error),
        "code": target.default_code,
        "model": model,
        "provider": model.partition("/")[0],
        "provider_code": None,
        "status": None,
        "request_id": None,
        "retry_after": None,
        "feature": None,
        "features": [],
        "issues": [],
    }
    return _make_error(error_class, error.args, {**facts, **vars(error)})


class _DualError:
    """What is pickled by its two classes: the one of both is made when it is needed."""

    def __reduce__(self) -> tuple[object, ...]:
        assert isinstance(self, Exception)
        _, own, dspy = type(self).__bases__
        return (_rebuild_error, (own, dspy, self.args, dict(vars(self))))


@functools.cache
def _class(own: Any, dspy: Any) -> Any:
    return type(own.__name__, (_DualError, own, dspy), {"__module__": own.__module__})


def _make_error(cls: type[ours.Error], args: tuple[Any, ...], facts: dict[str, Any]) -> ours.Error:
    # Each class has an `__init__` of its own, and neither knows the other's arguments.
    error = cls.__new__(cls)
    error.args = args
    vars(error).update(facts)
    return error


def _rebuild_error(own: Any, dspy: Any, args: tuple[Any, ...], facts: dict[str, Any]) -> ours.Error:
    return _make_error(_class(own, dspy), args, facts)
