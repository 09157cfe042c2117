"""From chat messages to the input items of the Responses API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmconf.errors import UsageError
from lmconf.spec.frozen import thaw
from lmconf.transports.contract import Json

__all__ = ["items_of"]

# What steers an answer in a chat message and has no place in an item.
_NOWHERE = {
    "name": "say who speaks in the content",
    "audio": "give the audio's transcript as content",
    "function_call": "write `tool_calls`",
}


def items_of(messages: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the input items that `messages` of the chat completions API stand for, in order.

    What an assistant's message carries beside its content, as it came with an answer
    (annotations, reasoning as text), is left out; its `reasoning_items` go back as they came.

    Raises:
        UsageError: a message holds something that no item can hold.
    """
    made: list[Json] = []
    custom: set[str] = set()
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            made.append(_result(index, message, custom))
            continue
        for key, help_ in _NOWHERE.items():
            if message.get(key) is not None:
                raise UsageError(
                    f"messages[{index}]: the Responses API has no place for `{key}`: {help_}"
                )
        if role == "assistant":
            made.extend(_assistant(message, custom))
        else:
            content = _content(message["content"])
            made.append({"type": "message", "role": role, "content": content})
    return made


def _assistant(message: Mapping[str, Any], custom: set[str]) -> Iterator[Json]:
    for item in message.get("reasoning_items") or ():
        yield thaw(item)
    content: Any = message.get("content")
    if isinstance(content, list | tuple):
        content = [_said(part) for part in content]
    if message.get("refusal"):
        before = [{"type": "output_text", "text": content}] if isinstance(content, str) else content
        content = [*(before or ()), {"type": "refusal", "refusal": message["refusal"]}]
    if content:
        yield {"type": "message", "role": "assistant", "content": content}
    for call in message.get("tool_calls") or ():
        if call.get("type") == "custom":
            custom.add(call["id"])
            yield {"type": "custom_tool_call", "call_id": call["id"], **thaw(call["custom"])}
        else:
            function = call["function"]
            yield {
                "type": "function_call",
                "call_id": call["id"],
                "name": function["name"],
                "arguments": function.get("arguments") or "{}",
            }


def _result(index: int, message: Mapping[str, Any], custom: set[str]) -> Json:
    call = message.get("tool_call_id")
    if not call:
        raise UsageError(f"messages[{index}]: a message of the role 'tool' needs `tool_call_id`")
    kind = "custom_tool_call_output" if call in custom else "function_call_output"
    return {"type": kind, "call_id": call, "output": _content(message["content"])}


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> Json:
    """Return a part of a person's message; one of a type unknown here stays as it is."""
    kind = part["type"]
    rest = {key: thaw(value) for key, value in part.items() if key not in ("type", kind)}
    held = part.get(kind)
    if kind == "text":
        return {"type": "input_text", "text": held, **rest}
    if kind == "image_url":
        image = {"url": held} if isinstance(held, str) else dict(held or {})
        made = {"image_url": image.get("url"), "detail": image.get("detail") or "auto"}
        return {"type": "input_image", **made, **rest}
    if kind == "file":
        return {"type": "input_file", **thaw(held or {}), **rest}
    return thaw(dict(part))  # type: ignore[no-any-return]


def _said(part: Mapping[str, Any]) -> Json:
    """Return a part of an assistant's message."""
    if part["type"] == "text":
        rest = {key: thaw(value) for key, value in part.items() if key != "type"}
        return {"type": "output_text", **rest}
    return thaw(dict(part))  # type: ignore[no-any-return]
