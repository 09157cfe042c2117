"""Responses as the bytes that stores keep, and which of them are worth keeping."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import msgspec

from lmconf.transports import REQUEST_ID, Json

__all__ = ["read", "worth_keeping", "write"]

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()
# A cut answer may be whole next time; a filtered one is the filter's, not the model's.
_ENDED = {"length": "truncated", "content_filter": "filtered"}


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


def worth_keeping(response: Mapping[str, Any], keep: Set[str]) -> bool:
    """Say whether `response` may be kept: `keep` names what may be so beside whole texts."""
    return all(_kinds(choice) <= keep for choice in response["choices"])


def _kinds(choice: Mapping[str, Any]) -> set[str]:
    """Return what must be allowed for `choice` to be kept, in the words of `cache.keep`."""
    kinds = set()
    message = choice.get("message") or choice
    if message.get("tool_calls"):
        kinds.add("tool_calls")
    elif not (message.get("content") or message.get("text")):
        kinds.add("empty")
    ended = _ENDED.get(choice.get("finish_reason") or "")
    if ended is not None:
        kinds.add(ended)
    return kinds
