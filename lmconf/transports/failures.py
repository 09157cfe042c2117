"""What went wrong with an attempt, told by status and error code rather than by words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    CallError,
    ConnectionFailed,
    ContentPolicy,
    ContextWindowExceeded,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
)
from lmconf.masking import mask
from lmconf.secrets import MASK

__all__ = ["Advice", "no_advice", "refused", "without_secrets"]

Advice: TypeAlias = Callable[[int, Mapping[str, str]], "tuple[float | None, bool | None]"]
"""Reads a refusal's status and headers: the seconds the server asks to wait, and whether it says
that the same request may be sent again (None: it does not say)."""

LONGEST = 600
"""The most characters of a server's message that are repeated."""

_CONTEXT_CODES = frozenset(
    "context_length_exceeded exceed_context_size_error string_above_max_length"
    " model_max_prompt_tokens_exceeded".split()
)
_POLICY_CODES = frozenset(
    "content_policy_violation content_filter responsibleaipolicyviolation moderation_blocked".split()
)
_QUOTA_CODES = frozenset(
    "insufficient_quota billing_hard_limit_reached billing_not_active credit_balance_too_low".split()
)
# Servers that send no code for a prompt that is too long: Anthropic, vLLM, SGLang, and Bedrock.
_CONTEXT_WORDS = (
    "prompt is too long",
    "maximum context length",
    "context window",
    "context size",
    "exceeds the maximum number of tokens",
    "longer than the model's context length",
)
_RETRYABLE_STATUSES = frozenset((408, 409))


def refused(
    status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], advice: Advice
) -> CallError:
    """Return the failure that an answer with an error's status stands for."""
    said, codes = _read(body)
    wait, again = advice(status, headers)
    message = without_secrets(said, secrets) or f"the server answered with status {status}"
    kind, retryable = _kind(status, codes, said.lower())
    if again is not None and kind is not AuthenticationFailed:
        retryable = again
    return kind(
        message[:LONGEST],
        status=status,
        request_id=request_id(headers, secrets),
        retry_after=wait,
        retryable=retryable,
        help=_help(status, codes),
    )


def no_advice(status: int, headers: Mapping[str, str]) -> tuple[float | None, bool | None]:
    """Read nothing from a refusal: the wait and the server's wish stay unknown."""
    return None, None


def request_id(headers: Mapping[str, str], secrets: Iterable[str]) -> str | None:
    """Return the id that the server gave to a request, by the names that providers use."""
    for name in ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid"):
        if headers.get(name):
            return without_secrets(headers[name], secrets)[:200]
    return None


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every one of `secrets`, and all that has the shape of a key, masked.

    Secrets are also known as JSON and URLs write them; those of less than four letters are words.
    """
    spelled = {form for secret in secrets if len(secret) >= 4 for form in _spellings(secret)}
    for secret in sorted(spelled, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return mask(text)


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    for ascii_only in (True, False):
        quoted = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield quoted
        yield quoted.replace("/", "\\/")
    yield quote(secret)
    yield quote(secret, safe="")


def _kind(status: int, codes: frozenset[str], said: str) -> tuple[type[CallError], bool]:
    if status < 400:
        return ConnectionFailed, False
    if codes & _CONTEXT_CODES:
        return ContextWindowExceeded, False
    if codes & _POLICY_CODES:
        return ContentPolicy, False
    if status == 401:
        return AuthenticationFailed, False
    if status in (402, 403):
        return PermissionDenied, False
    if status == 404:
        return NotFound, False
    if status == 429:
        return RateLimited, not codes & _QUOTA_CODES
    if status >= 500 or status in _RETRYABLE_STATUSES:
        return ServerError, status not in (501, 505)
    if status in (400, 413, 422) and any(words in said for words in _CONTEXT_WORDS):
        return ContextWindowExceeded, False
    return BadRequest, False


def _help(status: int, codes: frozenset[str]) -> str:
    if status < 400:
        return "redirects are not followed: write the final address as `api_base`"
    if status == 429 and codes & _QUOTA_CODES:
        return "the account's quota is used up: trying again does not help"
    return ""


def _read(body: bytes) -> tuple[str, frozenset[str]]:
    """Return what an error's body says, and its codes in lower case."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        text = " ".join(body.decode("utf-8", "replace").split())
        return ("" if text.startswith("<") else text), frozenset()
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(error, dict):
        return str(error), frozenset()
    codes = {error.get("code"), error.get("type"), error.get("status")}
    inner = error.get("innererror")
    if isinstance(inner, dict):
        codes.add(inner.get("code"))
    said = error.get("message") or error.get("detail") or ""
    return (
        said if isinstance(said, str) else json.dumps(said),
        frozenset(code.lower() for code in codes if isinstance(code, str)),
    )
