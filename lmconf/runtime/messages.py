"""The prompt or the messages of a call, checked before anything is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from lmconf.errors import UsageError
from lmconf.spelling import did_you_mean

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
        return [{"role": "user", "content": prompt}]
    if messages is None:
        raise UsageError("give a prompt, or messages=[…]")
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise UsageError(f"messages must be a list of messages, not {type(messages).__name__}")
    if not messages:
        raise UsageError("messages must hold at least one message")
    return [_checked(index, message) for index, message in enumerate(messages)]


def as_prompt(messages: Messages) -> str:
    """Return the one text that `messages` make for an API that takes no messages.

    Raises:
        UsageError: a message holds something other than text.
    """
    return "\n\n".join(_text(index, message) for index, message in enumerate(messages))


def _checked(index: int, message: object) -> dict[str, Any]:
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise UsageError(f"{where} must be a mapping, not {type(message).__name__}")
    role = message.get("role")
    if role not in ROLES:
        near = did_you_mean(role, ROLES) if isinstance(role, str) else None
        meant = f"; did you mean {near!r}?" if near else ""
        raise UsageError(f"{where}: role must be one of {', '.join(ROLES)}, not {role!r}{meant}")
    content = message.get("content")
    if content is None and role != "assistant":
        raise UsageError(f"{where}: a message of the role {role!r} needs content")
    if isinstance(content, list | tuple):
        for place, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise UsageError(f"{where}: content[{place}] must be a mapping with a type")
    elif not isinstance(content, str | None):
        raise UsageError(
            f"{where}: content must be text or a list of parts, not {type(content).__name__}"
        )
    return dict(message)


def _text(index: int, message: Message) -> str:
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    if any(part.get("type") != "text" for part in parts):
        raise UsageError(f"messages[{index}]: `model_type: text` takes nothing but text")
    return "".join(str(part.get("text", "")) for part in parts)
