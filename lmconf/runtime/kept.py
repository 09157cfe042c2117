"""Responses as the bytes that stores keep, and which of them are worth keeping."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
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
    try:
        return _ENCODER.encode(kept)
    except (UnicodeEncodeError, OverflowError):
        # Half of a surrogate pair, as it stands at the end of a cut text, or a huge number.
        return json.dumps(kept).encode()


def read(value: bytes) -> Json | None:
    """Return the response that `value` holds, always a new one; None if it holds none."""
    found: Any = None
    try:
        found = _DECODER.decode(value)
    except (msgspec.DecodeError, RecursionError):
        # Only what `write` falls back to is read now, and what no store should hold.
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(value)
    if isinstance(found, dict) and isinstance(found.get("choices"), list) and found["choices"]:
        return found
    return None


def worth_keeping(response: Mapping[str, Any], keep: Collection[str]) -> bool:
    """Say whether `response` may be kept: `keep` names what may be so beside whole texts."""
    for choice in response["choices"]:
        message = choice.get("message") or choice
        if message.get("tool_calls"):
            if "tool_calls" not in keep:
                return False
        elif not (message.get("content") or message.get("text")) and "empty" not in keep:
            return False
        ended = _ENDED.get(choice.get("finish_reason") or "")
        if ended is not None and ended not in keep:
            return False
    return True
