"""A stream's chunks put together to the response that would have come in one piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf.errors import BadResponse
from lmconf.transports import Json

__all__ = ["Assembly", "has_begun", "text_of"]


class Assembly:
    """Takes chunks of the OpenAI API's shape, one after the other."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._choices: dict[int, Json] = {}

    def add(self, chunk: Json) -> None:
        """Take the next chunk."""
        for key, value in chunk.items():
            if key != "choices" and value is not None:
                self._head[key] = value
        for choice in chunk["choices"]:
            self._take(choice)

    def _take(self, piece: Json) -> None:
        choice = self._choices.setdefault(piece.get("index", 0), {"index": piece.get("index", 0)})
        if piece.get("finish_reason") is not None:
            choice["finish_reason"] = piece["finish_reason"]
        if isinstance(piece.get("logprobs"), dict):
            _extend(choice.setdefault("logprobs", {}), piece["logprobs"])
        delta = piece.get("delta")
        if delta is None:
            choice["text"] = choice.get("text", "") + (piece.get("text") or "")
            return
        message = choice.setdefault("message", {"role": "assistant", "content": None})
        for key in ("content", "reasoning_content", "refusal"):
            if isinstance(delta.get(key), str):
                message[key] = (message.get(key) or "") + delta[key]
        for key in ("annotations", "reasoning_items", "output_items"):
            if isinstance(delta.get(key), list):
                message.setdefault(key, []).extend(delta[key])
        for call in delta.get("tool_calls") or ():
            _add_call(message.setdefault("tool_calls", []), call)
        own = delta.get("provider_specific_fields")
        if isinstance(own, dict):
            _add_own(message.setdefault("provider_specific_fields", {}), own)

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        choice = self._choices.get(0, {})
        return choice.get("text") or (choice.get("message") or {}).get("content") or ""

    def response(self) -> Json:
        """Return the whole response.

        Raises:
            BadResponse: no choice ever came.
        """
        if not self._choices:
            raise BadResponse("the stream holds no answer")
        kind = "text_completion" if "text" in next(iter(self._choices.values())) else None
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {**self._head, "object": kind or "chat.completion", "choices": choices}


def text_of(chunk: Json) -> str:
    """Return the text that `chunk` adds to the first choice."""
    for choice in chunk["choices"]:
        if choice.get("index", 0) == 0:
            delta = choice.get("delta")
            said = choice.get("text") if delta is None else delta.get("content")
            return said if isinstance(said, str) else ""
    return ""


def has_begun(chunk: Json) -> bool:
    """Say whether `chunk` holds any part of an answer: from here on nothing is tried again."""
    for choice in chunk["choices"]:
        delta = choice.get("delta") or {}
        texts = ("content", "reasoning_content", "refusal")
        told = (choice.get("text"), *(delta.get(key) for key in texts))
        if any(told) or delta.get("tool_calls") or choice.get("finish_reason"):
            return True
    return False


def _add_call(calls: list[Json], piece: Mapping[str, Any]) -> None:
    index = piece.get("index", len(calls))
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    if piece.get("id"):
        call["id"] = piece["id"]
    if isinstance(piece.get("custom"), dict):
        _add_custom(call, piece["custom"])
    function = piece.get("function") or {}
    if function.get("name"):
        call["function"]["name"] = function["name"]
    if function.get("arguments"):
        call["function"]["arguments"] += function["arguments"]


def _add_own(fields: Json, piece: Mapping[str, Any]) -> None:
    """Add what only one provider has; Anthropic's citations come one by one."""
    for key, value in piece.items():
        if key == "citation":
            fields.setdefault("citations", []).append(value)
        elif isinstance(value, list) and isinstance(fields.get(key), list):
            fields[key].extend(value)
        else:
            fields[key] = value


def _add_custom(call: Json, piece: Mapping[str, Any]) -> None:
    """Add to a call of a tool that takes free text."""
    if call.pop("function", None) is not None:
        call.update(type="custom", custom={"name": "", "input": ""})
    call["custom"]["name"] = piece.get("name") or call["custom"]["name"]
    call["custom"]["input"] += piece.get("input") or ""


def _extend(logprobs: Json, piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if isinstance(value, list):
            logprobs.setdefault(key, []).extend(value)
