"""How many tokens a request may come to, judged before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["PICTURE", "UNSTATED_ANSWER", "answer_tokens", "prompt_tokens"]

PICTURE = 1000
"""The tokens of a picture, a sound or a file in a prompt."""

UNSTATED_ANSWER = 4096
"""The tokens of an answer where `max_tokens` is null."""

_TURN = 4  # the words around a message that say whose it is


def prompt_tokens(messages: Iterable[Mapping[str, Any]], *others: object) -> int:
    """Return about how many tokens the prompt has: one for four characters of English.

    Characters outside ASCII count more, by the bytes of their UTF-8. `others` are what else stands
    in the request for the model to read, such as `tools`.
    """
    total = sum(_TURN + _tokens(message.get("content")) for message in messages)
    total += sum(_tokens(message.get("tool_calls")) for message in messages)
    return int(total + sum(map(_tokens, others))) + 1


def answer_tokens(max_tokens: int | None, n: int | None) -> int:
    """Return how many tokens the `n` answers may have."""
    return (UNSTATED_ANSWER if max_tokens is None else max_tokens) * (n or 1)


def _tokens(value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, str):
        characters = len(value)
        beyond = 0 if value.isascii() else len(value.encode("utf-8", "replace")) - characters
        return characters / 4 + beyond / 2
    if isinstance(value, Mapping):
        if value.get("type") in ("image_url", "input_audio", "file", "image", "input_image"):
            return PICTURE
        return sum(1 + _tokens(key) + _tokens(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_tokens, value))
    return 1.0
