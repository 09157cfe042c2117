"""Failures of the routes on which litellm sends by its own means: told by its exceptions."""

from __future__ import annotations

from lmconf.errors import CallError, ConnectionFailed, ServerError, Timeout
from lmconf.transports.status_errors import error_for_status, no_advice

__all__ = ["failure_of"]


def failure_of(error: Exception, said: str) -> CallError:
    """Return the failure that an exception of litellm's stands for; `said` is its safe text."""
    names = {type_.__name__ for type_ in type(error).__mro__}
    if "Timeout" in names:
        return Timeout(said)
    if "APIConnectionError" in names:
        return ConnectionFailed(said)
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or status < 400:
        return ServerError(said, retryable=False)
    code = getattr(error, "code", None)
    if "ContextWindowExceededError" in names:
        code = "context_length_exceeded"
    elif "ContentPolicyViolationError" in names:
        code = "content_filter"
    body = b'{"error": {"code": "%s"}}' % code.encode() if isinstance(code, str) else b"{}"
    failure = error_for_status(status, {}, body, (), no_advice)
    failure.message = said or failure.message
    return failure
