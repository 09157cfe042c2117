"""The prompt or the messages of a call, checked before anything is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import UsageError

__all__ = ["ROLES", "Message", "Messages", "as_messages", "as_prompt"]

Message: TypeAlias = Mapping[str, Any]
Messages: TypeAlias = Sequence[Message]

ROLES = ("system", "user", "assistant", "tool", "developer")
"""Who may speak in a message."""


def as_messages(prompt: str | None, messages: Messages | None) -> list[dict[str, Any]]:
    """Return the messages of a call that was given a prompt or messages.

    Raises:
        UsageError: both or neither were given, or a message is none.
    """
    if prompt is not None:
        if messages is not None:
            raise UsageError("give a prompt or messages, not both")
        if not isinstance(prompt, str):
            raise UsageError(f"the prompt must be text, not {type(prompt).__name__}")
        if not prompt:
            raise UsageError("the prompt is empty")
        return [{"role": "user", "content": prompt}]
    if messages is None:
        raise UsageError("give a prompt, or messages=[…]")
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise UsageError(f"messages must be a list of messages, not {type(messages).__name__}")
    if not messages:
        raise UsageError("messages must hold at least one message")
    result = [_check_messages(index, message) for index, message in enumerate(messages)]
    for message in result:
        if message["role"] == "tool" or message.get("tool_calls"):
            _check_tool_calls(result)
            break
    return result


def as_prompt(messages: Messages) -> str:
    """Return the one text that `messages` make for an API that takes no messages.

    Raises:
        UsageError: a message holds something other than text.
    """
    return "\n\n".join(_text(index, message) for index, message in enumerate(messages))


def _check_messages(index: int, message: object) -> dict[str, Any]:
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise UsageError(f"{where} must be a mapping, not {type(message).__name__}")
    role = message.get("role")
    if role not in ROLES:
        near = did_you_mean(role, ROLES) if isinstance(role, str) else None
        suggestion = f"; did you mean {near!r}?" if near else ""
        # A number may have more digits than can be shown.
        text = repr(role) if isinstance(role, str | None) else type(role).__name__
        raise UsageError(f"{where}: role must be one of {', '.join(ROLES)}, not {text}{suggestion}")
    content = message.get("content")
    if content is None and role != "assistant":
        raise UsageError(f"{where}: a message of the role {role!r} needs content")
    if isinstance(content, list | tuple):
        for place, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise UsageError(f"{where}: content[{place}] must be a mapping with a type")
            if part["type"] == "text" and not isinstance(part.get("text"), str):
                raise UsageError(f"{where}: content[{place}] of the type 'text' needs a text")
    elif not isinstance(content, str | None):
        raise UsageError(
            f"{where}: content must be text or a list of parts, not {type(content).__name__}"
        )
    return dict(message)


def _check_tool_calls(messages: list[dict[str, Any]]) -> None:
    """See that each tool call is whole, and that each result names a call that came before it."""
    call_ids: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message["role"] == "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str):
                raise UsageError(f"{where}: a message of the role 'tool' needs a tool_call_id")
            if call_id not in call_ids:
                hint = f"; the calls before it are {', '.join(map(repr, call_ids))}"
                raise UsageError(
                    f"{where}: no message before it calls a tool with the id"
                    f" {call_id!r}{hint if call_ids else ''}"
                )
        calls = message.get("tool_calls")
        if not calls:
            continue
        if message["role"] != "assistant" or not isinstance(calls, list | tuple):
            raise UsageError(f"{where}: tool_calls must be a list, in a message of the assistant")
        call_ids += [_id_of(f"{where}: tool_calls[{at}]", call) for at, call in enumerate(calls)]


def _id_of(where: str, call: object) -> str:
    """Return the id of a tool call.

    Raises:
        UsageError: it has none, or calls nothing.
    """
    call_id = call.get("id") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(call_id, str):
        raise UsageError(f"{where} must be a mapping with an id")
    if call.get("type", "function") != "function":
        return call_id
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UsageError(f"{where} must name its function: {{function: {{name: …}}}}")
    if not isinstance(function.get("arguments", ""), str):
        raise UsageError(f"{where}: the arguments must be text that holds JSON")
    return call_id


def _text(index: int, message: Message) -> str:
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    if any(part.get("type") != "text" for part in parts):
        raise UsageError(f"messages[{index}]: `model_type: text` takes nothing but text")
    return "".join(str(part.get("text", "")) for part in parts)
