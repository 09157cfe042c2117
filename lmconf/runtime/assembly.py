"""The chunks of a streamed answer, put together into a whole response."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lmconf.errors import BadResponse
from lmconf.system.tracebacks import is_interrupt
from lmconf.transports import Json

__all__ = ["Assembly", "has_begun", "text_of"]


class Assembly:
    """Takes chunks of the OpenAI API's shape, one after the other."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._calls: dict[int, _ToolCalls] = {}

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
        pieces = delta.get("tool_calls")
        if pieces:
            index = choice["index"]
            calls = self._calls.setdefault(index, _ToolCalls())
            calls.add(pieces)
            message["tool_calls"] = calls.calls
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
            text = choice.get("text") if delta is None else delta.get("content")
            return text if isinstance(text, str) else ""
    return ""


def has_begun(chunk: Json) -> bool:
    """Say whether `chunk` holds any part of an answer: from here on nothing is tried again."""
    for choice in chunk["choices"]:
        delta = choice.get("delta") or {}
        texts = ("content", "reasoning_content", "refusal")
        parts = (choice.get("text"), *(delta.get(key) for key in texts))
        if any(parts) or delta.get("tool_calls") or choice.get("finish_reason"):
            return True
    return False


class _ToolCalls:
    """The tool calls of one choice, put together from what streams say of them piece by piece.

    OpenAI tells calls apart by `index`. Other servers leave it out, or give every call the same;
    there another `id`, or a name where the arguments of the last call are whole, begins a call.
    Names come whole once, in pieces, or again with each piece.
    """

    def __init__(self) -> None:
        self.calls: list[Json] = []
        self._places: list[int] = []
        self._indexes: list[int | None] = []

    def add(self, pieces: Iterable[Json]) -> None:
        """Add what one chunk says, whose pieces are given the index of their own call."""
        for position, piece in enumerate(pieces):
            at = self._find_call(piece, position)
            if at is None:
                at = self._begin(piece.get("index"))
            _fill(self.calls[at], piece)
            piece["index"] = self._places[at]

    def _find_call(self, piece: Json, position: int) -> int | None:
        """Return which of the calls `piece` continues, None where it begins one."""
        id_, index, name = piece.get("id"), piece.get("index"), _name_of(piece)
        at = self._last(lambda at: self._indexes[at] == index) if index is not None else None
        if at is None and id_:
            at = self._last(
                lambda at: self.calls[at].get("id") == id_ and None in (index, self._indexes[at])
            )
        if at is None and index is None and self.calls:
            at = len(self.calls) - 1
        if at is None:
            return None
        call, more = self.calls[at], _text_of(piece).strip()
        own_id = call.get("id")
        if id_ and own_id and id_ != own_id:
            # Some servers make up an id for each piece: what continues a call has no name.
            return None if name or (more and _is_whole(call)) else at
        if id_ and id_ == own_id and more and _is_whole(call):
            # Said again, or another call: nothing can be added to what is whole.
            return at if _says_again(_text_of(call), more) else None
        if not name or (id_ and id_ == own_id):
            return at
        before = _name_of(call)
        if index is None and before and (position or name != before):
            return None
        return None if _is_whole(call) and (more or name != before) else at

    def _last(self, fits: Callable[[int], bool]) -> int | None:
        return next((at for at in reversed(range(len(self.calls))) if fits(at)), None)

    def _begin(self, index: int | None) -> int:
        """Put a new call where its index belongs; one that has none, or a taken one, comes last."""
        place = index
        if place is None or place in self._places:
            place = max(self._places, default=-1) + 1
        at = bisect.bisect(self._places, place)
        self._places.insert(at, place)
        self._indexes.insert(at, index)
        self.calls.insert(at, {})
        return at


def _fill(call: Json, piece: Mapping[str, Any]) -> None:
    """Add to `call` what `piece` says of it; empty values say nothing."""
    for key, value in piece.items():
        if key == "id":
            if value and not call.get("id"):
                call["id"] = value
        elif key in ("function", "custom"):
            if isinstance(value, Mapping):
                _fill_in(call.setdefault(key, {}), value)
        elif key != "index" and value not in (None, ""):
            call[key] = value
    kind = next((kind for kind in ("custom", "function") if kind in call), "function")
    call.setdefault("type", kind)
    body = call.setdefault(kind, {})
    body.setdefault("name", "")
    body.setdefault(_SAID[kind], "")


_SAID = {"function": "arguments", "custom": "input"}
"""Where what a tool is called with stands, by the kind of the tool."""


def _fill_in(body: Json, piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if key in _SAID.values():
            before, more = body.get(key, ""), _text(value)
            # Some servers begin with `{}`, and some end with the whole once more.
            again = key == "arguments" and _says_again(before, more)
            body[key] = more if again else before + more
        elif key == "name":
            before = body.get("name", "")
            if value and value != before:
                # In pieces, unless it is told again as far as it goes.
                body["name"] = value if value.startswith(before) else before + value
        elif value is not None:
            body[key] = value


def _name_of(call: Mapping[str, Any]) -> str:
    body = call.get("custom") or call.get("function") or {}
    return body.get("name") or ""


def _text_of(call: Mapping[str, Any]) -> str:
    body = call.get("custom") or call.get("function") or {}
    return _text(body.get("arguments", body.get("input")))


def _text(value: object) -> str:
    """Return arguments as text: some servers send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _says_again(before: str, more: str) -> bool:
    """Say whether `more` is no continuation of the arguments `before`, but takes their place."""
    old, new = before.strip(), more.strip()
    if not new.startswith("{") or not old.startswith("{") or not old.endswith("}"):
        return False
    return old == new or not old[1:-1].strip()


def _is_whole(call: Mapping[str, Any]) -> bool:
    """Say whether the arguments of `call` are a whole JSON object, to which nothing can be added."""
    text = _text_of(call).strip()
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        if is_interrupt(error):
            raise
        return False
    return True


def _add_own(fields: Json, piece: Mapping[str, Any]) -> None:
    """Add what only one provider has; Anthropic's citations come one by one."""
    for key, value in piece.items():
        if key == "citation":
            fields.setdefault("citations", []).append(value)
        elif isinstance(value, list) and isinstance(fields.get(key), list):
            fields[key].extend(value)
        else:
            fields[key] = value


def _extend(logprobs: Json, piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if isinstance(value, list):
            logprobs.setdefault(key, []).extend(value)
