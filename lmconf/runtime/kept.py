"""Responses as the bytes that stores keep, and which of them are worth keeping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lmconf.transports import REQUEST_ID, Json

__all__ = ["read", "worth_keeping", "write"]

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()
# A cut answer may be whole next time; a filtered one is the filter's, not the model's.
_UNUSABLE = frozenset(("length", "content_filter"))


def write(response: Json) -> bytes:
    """Return `response` as JSON."""
    kept = {key: value for key, value in response.items() if key != REQUEST_ID}
    return _ENCODER.encode(kept)


def read(value: bytes) -> Json | None:
    """Return the response that `value` holds, always a new one; None if it holds none."""
    try:
        found: Any = _DECODER.decode(value)
    except msgspec.DecodeError:
        return None
    if isinstance(found, dict) and isinstance(found.get("choices"), list) and found["choices"]:
        return found
    return None


def worth_keeping(response: Mapping[str, Any]) -> bool:
    """Say whether every choice of `response` is whole, was not filtered, and says something."""
    return all(
        choice.get("finish_reason") not in _UNUSABLE and _says_something(choice)
        for choice in response["choices"]
    )


def _says_something(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message") or choice
    return bool(message.get("content") or message.get("text") or message.get("tool_calls"))
