"""Answers that litellm has read, set right by what was seen on the wire."""

from __future__ import annotations

from typing import Any

from lmconf.errors import BadResponse, CallError
from lmconf.providers import Client
from lmconf.transports.http.attempt import Attempt
from lmconf.transports.response_checks import (
    check_chunk,
    check_response,
    complete_calls,
    end_of,
    partial_text,
    plain,
)
from lmconf.transports.transport import REQUEST_ID, Json, Request

__all__ = ["check_end", "finish", "is_invented", "read_chunk"]


def finish(failure: CallError | None, read: Any, attempt: Attempt, request: Request) -> Json:
    """Return the response that `read` returns, as the server meant it.

    Raises:
        CallError: `failure`, or what is wrong with the answer.
    """
    attempt.check_interrupt()
    if failure is None:
        failure = attempt.reported_error()
    if failure is None:
        try:
            response: Json = complete_calls(check_response(_as_ended(read(), attempt)))
        except CallError as error:
            failure = error.with_traceback(None)
        else:
            if attempt.response.request_id:
                response[REQUEST_ID] = attempt.response.request_id
            if isinstance(response.get("model"), str):
                # litellm writes the provider before some servers' own names.
                response["model"] = response["model"].removeprefix(f"{request.provider}/")
            return response
    assert failure is not None
    raise attempt.response.add_to(failure)


def read_chunk(chunk: object, attempt: Attempt) -> Json:
    """Return one piece of a stream, with the name that the server gave its model."""
    piece = check_chunk(_as_ended(plain(chunk), attempt))
    return piece if attempt.response.model is None else {**piece, "model": attempt.response.model}


# What litellm knows for another end than `stop`: of several choices, another one ended so.
_KNOWN_ENDS = frozenset(
    "content_filter function_call length max_tokens MAX_TOKENS tool_calls tool_use".split()
)


def _as_ended(response: Json, attempt: Attempt) -> Json:
    """Return `response` with the server's word for an end of which litellm made `stop`."""
    choices = response.get("choices")
    choices = choices if isinstance(choices, list) else []
    words = attempt.response.finish_reasons[-max(len(choices), 1) :]
    for choice, word in zip(choices, words, strict=False):
        is_stop = isinstance(choice, dict) and choice.get("finish_reason") == "stop"
        if is_stop and end_of(word) is not None and word not in _KNOWN_ENDS:
            choice["finish_reason"] = word
    return response


def is_invented(chunk: Json, attempt: Attempt, kind: Client | None) -> bool:
    """Say whether litellm made up that the answer is complete: the server never said so."""
    if kind is None or attempt.response.finished:
        return False
    return any(choice.get("finish_reason") for choice in chunk["choices"])


def check_end(
    failure: CallError | None, chunks: list[Json], attempt: Attempt, kind: Client | None
) -> None:
    """Raise what went wrong with a stream, with the text so far.

    Raises:
        CallError: `failure`, or the stream ended before the answer did.
    """
    attempt.check_interrupt()
    if failure is None:
        failure = attempt.reported_error()
    if failure is None and kind is not None and not attempt.response.finished:
        failure = BadResponse("the stream was truncated: the server did not mark its end")
    if failure is None and not any(chunk["choices"] for chunk in chunks):
        failure = BadResponse("the stream holds no answer")
    if failure is not None:
        failure.partial = partial_text(chunks)
        raise attempt.response.add_to(failure)
