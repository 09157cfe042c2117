"""From a response of the Responses API to one of the chat completions API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmconf.errors import BadResponse, CallError, ServerError
from lmconf.transports.error_bodies import read_error_body
from lmconf.transports.response_checks import drop_odd_counts
from lmconf.transports.status_errors import error_in_answer
from lmconf.transports.transport import Json

__all__ = ["GAP", "call_of", "failure_of", "head_of", "response_of"]

GAP = "\n\n"
"""What stands between two parts of the reasoning."""


def response_of(found: Mapping[str, Any], limit: int | None, secrets: Iterable[str]) -> Json:
    """Return the chat completion that `found`, a whole response, stands for.

    `limit` is the most tokens that were asked for. Output items that a message has no place for,
    such as searches, stand under its key `output_items` as they came, and reasoning that can be
    sent back under `reasoning_items`.

    Raises:
        CallError: the response says that it failed, or is none.
    """
    status = found.get("status")
    if status == "failed" or isinstance(found.get("error"), Mapping):
        raise failure_of(found.get("error"), secrets)
    if status == "cancelled":
        raise ServerError("the server stopped before the answer was complete")
    if status in ("queued", "in_progress"):
        raise BadResponse(
            "the server answers later: answers in the background are not waited for",
            retryable=False,
            help="leave `background` out of `extra`",
        )
    output = found.get("output")
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        raise BadResponse("the answer holds no output")
    message = _message(output)
    choice: Json = {
        "index": 0,
        "finish_reason": _reason(found, "tool_calls" in message, limit),
        "message": message,
    }
    logprobs = [token for part in _texts(output) for token in part.get("logprobs") or ()]
    if logprobs:
        choice["logprobs"] = {"content": logprobs}
    made = {**head_of(found), "object": "chat.completion", "choices": [choice]}
    usage = _usage(found.get("usage"))
    if usage is not None:
        made["usage"] = usage
    if isinstance(found.get("service_tier"), str):
        made["service_tier"] = found["service_tier"]
    return made


def head_of(found: Mapping[str, Any]) -> Json:
    """Return what a response says of itself: id, model, and when it was made."""
    head = {key: found[key] for key in ("id", "model") if isinstance(found.get(key), str)}
    if isinstance(found.get("created_at"), int | float):
        head["created"] = int(found["created_at"])
    return head


def call_of(item: Mapping[str, Any]) -> Json | None:
    """Return the tool call that an output item is; None: it is none."""
    kind = item.get("type")
    known = {"id": item.get("call_id") or item.get("id"), "type": "function"}
    if kind == "function_call":
        arguments = item.get("arguments") or ""
        return {**known, "function": {"name": item.get("name") or "", "arguments": arguments}}
    if kind == "custom_tool_call":
        said = {"name": item.get("name") or "", "input": item.get("input") or ""}
        return {**known, "type": "custom", "custom": said}
    return None


def failure_of(error: object, secrets: Iterable[str]) -> CallError:
    """Return the failure that an error inside an answer stands for."""
    if not isinstance(error, Mapping) or not (error.get("message") or error.get("code")):
        return ServerError("the server reported a failure without a reason")
    return error_in_answer(read_error_body(json.dumps(error).encode()), None, secrets)


def _message(output: list[Json]) -> Json:
    message: Json = {"role": "assistant", "content": None}
    parts = list(_texts(output))
    if parts:
        message["content"] = "".join(str(part.get("text") or "") for part in parts)
    reasoning = GAP.join(text for item in output for text in _reasoning(item) if text)
    if reasoning:
        message["reasoning_content"] = reasoning
    refusals = [str(part.get("refusal") or "") for part in _parts(output, "refusal")]
    if refusals:
        message["refusal"] = "".join(refusals)
    calls = [call for call in map(call_of, output) if call is not None]
    if calls:
        message["tool_calls"] = calls
    lists = {
        "annotations": [note for part in parts for note in part.get("annotations") or ()],
        "reasoning_items": [item for item in output if _returns(item)],
        "output_items": [item for item in output if item.get("type") not in _PLACED],
    }
    return {**message, **{key: found for key, found in lists.items() if found}}


_PLACED = frozenset(("message", "reasoning", "function_call", "custom_tool_call"))


def _returns(item: Json) -> bool:
    """Say whether an item is reasoning that the server takes back without having kept it."""
    return item.get("type") == "reasoning" and bool(item.get("encrypted_content"))


def _texts(output: list[Json]) -> Iterator[Json]:
    return _parts(output, "output_text")


def _parts(output: list[Json], kind: str) -> Iterator[Json]:
    for item in output:
        content = item.get("content") if item.get("type") == "message" else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and part.get("type") == kind:
                yield part


def _reasoning(item: Json) -> Iterator[str]:
    if item.get("type") != "reasoning":
        return
    for key in ("summary", "content"):
        for part in item.get(key) or ():
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]


def _reason(found: Mapping[str, Any], calls: bool, limit: int | None) -> str:
    if found.get("status") == "incomplete":
        details = found.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, Mapping) else None
        return "content_filter" if reason == "content_filter" else "length"
    usage = found.get("usage")
    spent = usage.get("output_tokens") if isinstance(usage, Mapping) else None
    # llama.cpp says "completed" of an answer that it cut, too, and knows no `incomplete_details`.
    if (
        limit is not None
        and "incomplete_details" not in found
        and isinstance(spent, int)
        and spent >= limit
    ):
        return "length"
    return "tool_calls" if calls else "stop"


def _usage(found: object) -> Json | None:
    if not isinstance(found, Mapping):
        return None
    names = {
        "input_tokens": "prompt_tokens",
        "input_tokens_details": "prompt_tokens_details",
        "output_tokens": "completion_tokens",
        "output_tokens_details": "completion_tokens_details",
    }
    made = {names.get(key) or key: value for key, value in found.items() if value is not None}
    drop_odd_counts(made)
    asked, given = made.get("prompt_tokens"), made.get("completion_tokens")
    if asked is not None and given is not None:
        made.setdefault("total_tokens", asked + given)
    return made
