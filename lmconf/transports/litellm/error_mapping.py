"""Failures of requests through litellm: what its exceptions, and what was seen on the wire, say."""

from __future__ import annotations

import re

from lmconf.errors import BadRequest, BadResponse, CallError, ConnectionFailed, ServerError, Timeout
from lmconf.providers.routes import client_of
from lmconf.secrets.redaction import mask_secrets
from lmconf.transports.http.attempt import Attempt
from lmconf.transports.response_checks import GIVEN_UP, gave_up
from lmconf.transports.status_errors import LONGEST, error_for_status, no_advice
from lmconf.transports.transport import Request

__all__ = ["failure_of"]


def failure_of(error: Exception, attempt: Attempt, request: Request) -> CallError:
    """Return the failure behind whatever litellm raised.

    Of an interrupt, which litellm wraps like any failure, it is taken note in `attempt`.
    """
    attempt.note_interrupt(error)
    if attempt.failure is not None:
        return attempt.failure
    if isinstance(error, CallError):
        return error.with_traceback(None)
    complaint = attempt.reported_error()
    if complaint is not None:
        return complaint
    if attempt.response.finish_reasons and attempt.response.finish_reasons[-1].lower() in GIVEN_UP:
        return gave_up(attempt.response.finish_reasons[-1])
    # Some of litellm's messages hold the whole traceback of what they are raised for.
    reason = str(error).partition("Traceback (most recent call last)")[0].rstrip()
    said = mask_secrets(reason, attempt.secrets)[:LONGEST]
    if attempt.response.status is not None:
        return BadResponse(
            f"the answer is not one that {request.provider}/ gives: {said}",
            status=attempt.response.status,
            request_id=attempt.response.request_id,
        )
    if client_of(request.provider, request.route) is None:
        return _failure_by_type(error, said)
    if names := _unknown_to(error):
        return BadRequest(
            f"litellm knows no {names} for {request.provider}/{request.model}",
            help="leave it out, or write it under `extra` if the server takes it",
        )
    return BadRequest(f"litellm refused the request: {said}")


def _unknown_to(error: Exception) -> str:
    """Return the settings that litellm would not map, as a message names them."""
    if type(error).__name__ != "UnsupportedParamsError":
        return ""
    found = re.search(r"does not support parameters: \[([^\]]*)\]", str(error))
    return ", ".join(f"`{name}`" for name in re.findall(r"'(\w+)'", found[1])) if found else ""


def _failure_by_type(error: Exception, said: str) -> CallError:
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
