"""What went wrong with an attempt, told by status and error code rather than by words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from msgspec import structs

from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    CallError,
    ConnectionFailed,
    ContentPolicy,
    ContextWindowExceeded,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
)
from lmconf.secrets.redaction import mask_secrets
from lmconf.transports.error_bodies import ErrorBody, read_error_body

__all__ = ["Advice", "error_for_status", "error_in_answer", "no_advice"]

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
    "content_policy_violation content_filter responsibleaipolicyviolation moderation_blocked"
    " invalid_prompt image_content_policy_violation bio_policy cyber_policy".split()
)
_QUOTA_CODES = frozenset(
    "insufficient_quota billing_hard_limit_reached billing_not_active credit_balance_too_low"
    " billing_error budget_exceeded insufficient_credits".split()
)
# Servers that send no code for a prompt that is too long: Anthropic, vLLM, SGLang, Bedrock, xAI,
# Together, Ollama and Google; a LiteLLM proxy puts the name of its exception into the message.
_CONTEXT_WORDS = (
    "prompt is too long",
    "context length",
    "context window",
    "context size",
    "contextwindowexceedederror",
    "exceeds the maximum number of tokens",
    "input is too long",
    "`inputs` tokens + `max_new_tokens`",
    "maximum prompt length",
)
_POLICY_WORDS = ("contentpolicyviolationerror",)
# Anthropic says this with the code of any invalid request.
_QUOTA_WORDS = ("credit balance is too low",)

# What these codes mean is sure, whatever status they come with: AWS says most of it with 400, and
# Google a refused key.
_SURE: dict[str, int] = {
    "api_key_invalid": 401,
    "expiredtokenexception": 401,
    "incompletesignature": 401,
    "invalid_api_key": 401,
    "invalidclienttokenid": 401,
    "invalidsignatureexception": 401,
    "missingauthenticationtokenexception": 401,
    "unrecognizedclientexception": 401,
    "accessdeniedexception": 403,
    "model_decommissioned": 404,
    "model_not_found": 404,
    "resourcenotfoundexception": 404,
    "throttlingexception": 429,
    "toomanyrequestsexception": 429,
    "internalserverexception": 500,
    "serviceunavailableexception": 503,
}
# What a status may turn out to mean by a sure code. A model that a key may not use is no 404.
_VAGUE: dict[int, frozenset[int]] = {
    400: frozenset(_SURE.values()),
    403: frozenset((401, 429)),
}

# What the Responses API says of a request's images and files.
_OF_IMAGES = (
    "data_residency_mismatch empty_image_file failed_to_download_image image_file_not_found"
    " image_file_too_large image_parse_error image_too_large image_too_small invalid_base64_image"
    " invalid_image invalid_image_format invalid_image_mode invalid_image_url"
    " unsupported_image_media_type".split()
)

# What codes mean in an answer of status 200, where nothing else tells.
_ALONE: dict[str, int] = (
    _SURE
    | dict.fromkeys(_OF_IMAGES, 400)
    | {
        "badrequesterror": 400,
        "content_filter": 400,
        "content_policy_violation": 400,
        "context_length_exceeded": 400,
        "exceed_context_size_error": 400,
        "failed_precondition": 400,
        "invalid_argument": 400,
        "invalid_request_error": 400,
        "validationexception": 400,
        "authentication_error": 401,
        "unauthenticated": 401,
        "billing_error": 402,
        "insufficient_credits": 402,
        "permission_denied": 403,
        "permission_error": 403,
        "not_found": 404,
        "not_found_error": 404,
        "notfounderror": 404,
        "timeout_error": 408,
        "request_too_large": 413,
        "insufficient_quota": 429,
        "rate_limit_error": 429,
        "rate_limit_exceeded": 429,
        "rate_limited": 429,
        "request_limit_exceeded": 429,
        "resource_exhausted": 429,
        "api_error": 500,
        "internal": 500,
        "internal_server_error": 500,
        "internalservererror": 500,
        "server_error": 500,
        "temporarily_unavailable": 503,
        "unavailable": 503,
        "unavailable_error": 503,
        "deadline_exceeded": 504,
        "overloaded_error": 529,
    }
)

_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-ms-request-id",
    "x-litellm-call-id",
)

_RETRYABLE_STATUSES = frozenset((408, 409))
_FLEX = 498
"""Groq's status for a service tier whose capacity is taken."""


def error_for_status(
    status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], advice: Advice
) -> CallError:
    """Return the failure that an answer with an error's status stands for."""
    said = read_error_body(body)
    kind_of_aws = headers.get("x-amzn-errortype", "").partition(":")[0].lower()
    if kind_of_aws:
        said = structs.replace(said, codes=said.codes | {kind_of_aws})
    wait, again = advice(status, headers)
    failure = _failure(said, status, secrets, f"the server answered with status {status}")
    failure.status = status
    failure.request_id = request_id(headers, secrets) or failure.request_id
    if wait is not None:
        failure.retry_after = wait
    if again is not None and not isinstance(failure, AuthenticationFailed):
        failure.retryable = again
    return failure


def error_in_answer(said: ErrorBody, status: int | None, secrets: Iterable[str]) -> CallError:
    """Return the failure that an error inside an answer of `status` 200 stands for.

    Its status is the one that the error itself states, if it does.
    """
    meant = said.status or _meaning(said.codes, _ALONE)
    failure = _failure(said, meant or 400, secrets, "the answer is an error")
    if meant is None and type(failure) is BadRequest:
        failure = BadResponse(
            failure.message, request_id=failure.request_id, retry_after=failure.retry_after
        )
    failure.status = said.status or status
    return failure


def _failure(said: ErrorBody, status: int, secrets: Iterable[str], unsaid: str) -> CallError:
    secrets = tuple(secrets)
    kind, retryable = _kind(status, said.codes, said.message.lower())
    ours = said.request_id
    failure = kind(
        (_show_text(mask_secrets(said.message, secrets)) or unsaid)[:LONGEST],
        request_id=mask_secrets(ours, secrets)[:200] if ours else None,
        retry_after=said.wait,
        retryable=retryable,
        setting=said.setting,
        help=_help(status, said),
    )
    if issubclass(kind, (RateLimited, PermissionDenied)):
        failure.exhausted = status == 402 or _out_of_quota(said.codes, said.message.lower())
    return failure


def _show_text(text: str) -> str:
    """Return `text` without what a terminal would take for an order."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else " " if letter.isspace() else "\ufffd"
        for letter in text[: 4 * LONGEST]
    ).strip()


def no_advice(status: int, headers: Mapping[str, str]) -> tuple[float | None, bool | None]:
    """Read nothing from a refusal: the wait and the server's wish stay unknown."""
    return None, None


def request_id(headers: Mapping[str, str], secrets: Iterable[str]) -> str | None:
    """Return the id that the server gave to a request, by the names that providers use."""
    for name in _REQUEST_IDS:
        if headers.get(name):
            return mask_secrets(headers[name], secrets)[:200]
    return None


def _kind(status: int, codes: frozenset[str], said: str) -> tuple[type[CallError], bool]:
    if status < 400:
        return ConnectionFailed, False
    meant = _meaning(codes, _SURE)
    if meant is not None and meant in _VAGUE.get(status, ()):
        status = meant
    if codes & _CONTEXT_CODES:
        return ContextWindowExceeded, False
    if codes & _POLICY_CODES:
        return ContentPolicy, False
    if status == 401:
        return AuthenticationFailed, False
    if status == 404:
        return NotFound, False
    if status in (429, _FLEX):
        return RateLimited, not _out_of_quota(codes, said)
    if status >= 500 or status in _RETRYABLE_STATUSES:
        return ServerError, status not in (501, 505)
    if status in (402, 403) or _out_of_quota(codes, said):
        return PermissionDenied, False
    if status in (400, 413, 422) and any(words in said for words in _CONTEXT_WORDS):
        return ContextWindowExceeded, False
    if any(words in said for words in _POLICY_WORDS):
        return ContentPolicy, False
    return BadRequest, False


def _meaning(codes: frozenset[str], table: Mapping[str, int]) -> int | None:
    """Return the status that `codes` stand for by `table`; the gravest where they differ."""
    return max((table[code] for code in codes if code in table), default=None)


def _out_of_quota(codes: frozenset[str], said: str) -> bool:
    return bool(codes & _QUOTA_CODES) or any(words in said for words in _QUOTA_WORDS)


def _help(status: int, said: ErrorBody) -> str:
    if status < 400:
        return "redirects are not followed: write the final address as `api_base`"
    if status == 402 or _out_of_quota(said.codes, said.message.lower()):
        return "the account's quota is used up: a retry does not help"
    if status == 413:
        return "send less at once, or lower `max_tokens`"
    return ""
