"""From litellm's objects to plain JSON, and what a usable answer must hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any

from lmconf.errors import BadResponse, CallError, ServerError
from lmconf.transports.transport import Json

__all__ = [
    "GIVEN_UP",
    "WHOLE",
    "check_chunk",
    "check_response",
    "complete_calls",
    "drop_odd_counts",
    "end_of",
    "gave_up",
    "partial_text",
    "plain",
]

# What litellm adds to every message and choice, mostly with nothing in it.
_OWN_KEYS = frozenset(("provider_specific_fields",))


def plain(answer: object) -> Json:
    """Return `answer`, a pydantic model of litellm's or a mapping, as plain JSON without nulls."""
    dump = getattr(answer, "model_dump", None)
    found = dump(warnings=False) if callable(dump) else answer
    if not isinstance(found, Mapping):
        raise BadResponse(f"the answer is no object but {type(answer).__name__}")
    made = _plain(found)
    assert isinstance(made, dict)
    if isinstance(made.get("model"), str):
        # litellm writes the API that it was told of before the name that the server gave.
        made["model"] = made["model"].removeprefix("custom_openai/")
    return made


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        made = {str(key): _plain(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in made.items() if item != {} or key not in _OWN_KEYS}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    dump = getattr(value, "model_dump", None)
    return _plain(dump(warnings=False)) if callable(dump) else str(value)


def check_response(response: Json) -> Json:
    """Return `response` if it holds at least one choice of a known form.

    Raises:
        BadResponse: it does not.
    """
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BadResponse("the answer holds no choices")
    for choice in choices:
        if not isinstance(choice, dict) or not ("message" in choice or "text" in choice):
            raise BadResponse("a choice of the answer holds neither a message nor a text")
        message = choice.get("message")
        if isinstance(message, dict):
            message.setdefault("content", None)
        check_choice(choice, message)
    _drop_odd(response)
    return response


def check_chunk(chunk: Json) -> Json:
    """Return `chunk` if its choices are a list of objects; a chunk with none carries usage.

    Raises:
        BadResponse: they are not.
    """
    choices = chunk.setdefault("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise BadResponse("a piece of the stream is malformed")
    for choice in choices:
        check_choice(choice, choice.get("delta"))
    _drop_odd(chunk)
    return chunk


def check_choice(choice: Json, message: object) -> None:
    """Refuse a choice of a known form with values of other types, which would break whoever reads.

    Raises:
        BadResponse: it holds some.
        CallError: the server gave the answer up.
    """
    _count(choice, "index")
    _check(choice, "index", int, "a choice of the answer")
    _check(choice, "finish_reason", str, "a choice of the answer")
    _check(choice, "text", str, "a choice of the answer")
    _check(choice, "logprobs", dict, "a choice of the answer")
    reason = end_of(choice.get("finish_reason"))
    if reason is not None and reason.strip().lower() in GIVEN_UP:
        raise gave_up(reason)
    if "finish_reason" in choice:
        choice["finish_reason"] = reason
    if message is None:
        return
    if not isinstance(message, dict):
        raise BadResponse("a choice of the answer holds no message")
    for name, kind in _IN_MESSAGES.items():
        _check(message, name, kind, "the message of the answer")
    for call in message.get("tool_calls") or ():
        if not isinstance(call, dict):
            raise BadResponse("a tool call of the answer is malformed")
        _count(call, "index")
        for name, kind in _IN_CALLS.items():
            _check(call, name, kind, "a tool call of the answer")
        _check(call.get("function") or {}, "name", str, "a tool call of the answer")
        _check(call.get("function") or {}, "arguments", str | dict, "a tool call of the answer")
        arguments = (call.get("function") or {}).get("arguments")
        if isinstance(arguments, dict):  # as Ollama's own API has them
            call["function"]["arguments"] = json.dumps(arguments, ensure_ascii=False)


def complete_calls(response: Json) -> Json:
    """Return `response` with the tool calls of its choices as those of a stream are."""
    for choice in response["choices"]:
        message = choice.get("message")
        for call in (message.get("tool_calls") if isinstance(message, dict) else None) or ():
            call.pop("index", None)
            if not call.get("id"):
                call.pop("id", None)
            kind, said = ("custom", "input") if "custom" in call else ("function", "arguments")
            call.setdefault("type", kind)
            called = call.setdefault(kind, {})
            called.setdefault("name", "")
            called.setdefault(said, "")
    return response


GIVEN_UP = frozenset(
    "abort aborted canceled cancelled error failed insufficient_system_resource"
    " malformed_function_call malformed_response network_error timeout".split()
)
"""Reasons by which servers say that they gave an answer up: vLLM and SGLang abort, gateways err,
DeepSeek's resources do not suffice, Zhipu's network fails, Gemini's calls cannot be read."""

_WORDS = {
    "stop": "complete completed end end_turn endoftext eos eos_token finish finished stop"
    " stop_sequence stop_str stop_token",
    "tool_calls": "tool_call tool_calls tool_use",
    "function_call": "function_call",
    "length": "compaction error_limit length max_length max_output_tokens max_tokens model_length"
    " model_context_window_exceeded",
    "content_filter": "blocklist content_filter content_filtered error_toxic guardrail_intervened"
    " image_safety prohibited_content recitation refusal safety sensitive spii",
}
# Together, Text Generation Inference, Mistral, Cohere, Anthropic, Bedrock, Gemini, Zhipu, gateways.
_ENDS = {word: ended for ended, words in _WORDS.items() for word in words.split()}
# Words by which servers say, in every piece, that the answer has not ended yet.
_NO_ENDS = frozenset(("", "none", "null"))

WHOLE = frozenset(_ENDS)
"""The known reasons for which answers end; what ended for another one may not be whole."""


def end_of(reason: str | None) -> str | None:
    """Return OpenAI's word for why an answer ended; a word that nobody knows stays what it is."""
    word = "" if reason is None else reason.strip().lower()
    return None if word in _NO_ENDS else _ENDS.get(word, reason)


def gave_up(reason: str) -> CallError:
    """Return the failure that an end for one of the reasons `GIVEN_UP` is."""
    if reason.lower().startswith("malformed"):
        return BadResponse(f"the model's answer is malformed (finish_reason {reason!r})")
    return ServerError(
        f"the server stopped before the answer was complete (finish_reason {reason!r})"
    )


_IN_MESSAGES: dict[str, type | UnionType] = {
    "content": str | list,
    "reasoning_content": str,
    "refusal": str,
    "tool_calls": list,
    "annotations": list,
    "provider_specific_fields": dict,
}
_IN_CALLS: dict[str, type | UnionType] = {
    "index": int,
    "id": str,
    "type": str,
    "function": dict,
    "custom": dict,
}
_MOST = 10_000
"""The most choices, and the most tool calls, that an answer may hold: each has its place kept."""
_MOST_TOKENS = 2**53
"""The largest count of tokens that every store of spending keeps exactly."""


def _count(found: Json, name: str) -> None:
    """Make a number of what some gateways write as a text or a fraction: `"0"`, `0.0`."""
    value = found.get(name)
    if (isinstance(value, str) and re.fullmatch("[0-9]{1,5}", value)) or (
        isinstance(value, float) and value.is_integer()
    ):
        found[name] = int(value)


def _check(found: Mapping[str, Any], name: str, kind: type | UnionType, where: str) -> None:
    value = found.get(name)
    if value is None:
        return
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadResponse(f"`{name}` of {where} is {type(value).__name__}")
    if isinstance(value, int) and not 0 <= value < _MOST:
        raise BadResponse(f"`{name}` of {where} is out of range")


def _drop_odd(found: Json) -> None:
    """Leave out what an answer does without, where it is of another type."""
    for name, kind in (("usage", dict), ("model", str)):
        if name in found and not isinstance(found[name], kind):
            del found[name]
    drop_odd_counts(found.get("usage") or {})


def drop_odd_counts(usage: Json) -> None:
    """Leave out what is said of tokens and is no count: nobody could add it up."""
    for name, value in [*usage.items()]:
        if name.endswith("_details") and isinstance(value, dict):
            drop_odd_counts(value)
        elif value is None:
            continue
        elif name.endswith("_details") or (name.endswith("_tokens") and not _is_count(value)):
            del usage[name]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def partial_text(chunks: Iterable[Json]) -> str:
    """Return the text that `chunks` hold for the first choice."""
    parts = []
    for chunk in chunks:
        for choice in chunk["choices"][:1]:
            delta = choice.get("delta")
            said = delta.get("content") if isinstance(delta, dict) else choice.get("text")
            parts.append(said if isinstance(said, str) else "")
    return "".join(parts)
