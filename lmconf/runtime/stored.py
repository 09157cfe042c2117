"""Responses as the bytes that stores keep, and which of them are worth keeping."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from lmconf.runtime.answer import is_truncated, outputs_of
from lmconf.system.tracebacks import is_interrupt
from lmconf.transports import REQUEST_ID, Json
from lmconf.transports.response_checks import WHOLE

__all__ = ["StoredResponse", "open_stored", "read_stored", "worth_keeping", "write"]


class _Message(Struct):
    content: str | None = None
    tool_calls: Any = None


class _Choice(Struct):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Glance(Struct):
    """What has to be seen of a response before its texts can be handed out."""

    choices: list[_Choice]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()
_glance = msgspec.json.Decoder(_Glance).decode
# A cut answer may be whole next time; a filtered one is the filter's, not the model's. What ended
# for a reason that nobody knows may be anything.
_ENDED = {"length": "truncated", "content_filter": "filtered"}


class StoredResponse:
    """An answer as a store holds it, for one call; it is read as far as somebody asks.

    Most calls ask for nothing but texts, and reading these alone takes half the time.
    """

    __slots__ = ("_response", "_texts", "value")

    def __init__(self, value: bytes, texts: list[str] | None, response: Json | None) -> None:
        self.value = value
        self._texts = texts
        self._response = response

    @property
    def response(self) -> Json:
        """The whole response, which nobody else has."""
        if self._response is None:
            self._response = read_stored(self.value) or self._of_texts()
        return self._response

    def _of_texts(self) -> Json:
        """Return the response that is left where what stands beside the texts cannot be read."""
        texts = enumerate(self._texts or ())
        return {"choices": [{"index": at, "message": {"content": text}} for at, text in texts]}

    @property
    def outputs(self) -> list[Any]:
        """What calling the LM returns, always a new list."""
        return list(self._texts) if self._texts is not None else outputs_of(self.response)

    @property
    def truncated(self) -> bool:
        """Whether `max_tokens` cut it short."""
        return self._texts is None and is_truncated(self.response)


def open_stored(value: bytes, keep: Collection[str]) -> StoredResponse | None:
    """Return the answer that `value` holds; None where it holds none, or one that `keep` bars."""
    texts = _whole_texts(value)
    if texts is not None:
        return StoredResponse(value, texts, None)
    response = read_stored(value)
    if response is None or not worth_keeping(response, keep):
        return None
    return StoredResponse(value, None, response)


def _whole_texts(value: bytes) -> list[str] | None:
    """Return the texts of an answer that has nothing else to tell; None for any other."""
    texts: list[str] = []
    try:
        for choice in _glance(value).choices:
            message = choice.message
            text = choice.text if message is None else message.content
            if not text or choice.logprobs is not None:
                return None
            reason = choice.finish_reason
            if reason in _ENDED or (reason and reason not in WHOLE):
                return None
            if message is not None and message.tool_calls:
                return None
            texts.append(text)
    except (ValueError, RecursionError) as error:  # msgspec's, and that of bytes that are no UTF-8
        if is_interrupt(error):
            raise
        return None  # `read_stored` says what it is
    return texts or None


def write(response: Json) -> bytes:
    """Return `response` as JSON."""
    body = {key: value for key, value in response.items() if key != REQUEST_ID}
    try:
        return _ENCODER.encode(body)
    except (UnicodeEncodeError, OverflowError):
        # Half of a surrogate pair, as it stands at the end of a cut text, or a huge number.
        return json.dumps(body).encode()


def read_stored(value: bytes) -> Json | None:
    """Return the response that `value` holds, always a new one; None if it holds none."""
    response: Any = None
    try:
        response = _DECODER.decode(value)
    except (ValueError, RecursionError) as error:
        if is_interrupt(error):
            raise
        # Only what `write` falls back to is read now, and what no store should hold.
        with contextlib.suppress(ValueError, RecursionError):
            response = json.loads(value)
    choices = response.get("choices") if isinstance(response, dict) else None
    if isinstance(choices, list) and choices and all(map(_is_choice, choices)):
        return cast(Json, response)
    return None


def _is_choice(value: object) -> bool:
    """Say whether a choice may be read: a store may hold what lmconf did not put there."""
    return isinstance(value, dict) and isinstance(value.get("message"), dict | None)


def worth_keeping(response: Mapping[str, Any], keep: Collection[str]) -> bool:
    """Say whether `response` may be kept: `keep` names what may be so beside whole texts."""
    for choice in response["choices"]:
        message = choice.get("message") or choice
        if message.get("tool_calls"):
            if "tool_calls" not in keep:
                return False
        elif not (message.get("content") or message.get("text")) and "empty" not in keep:
            return False
        reason = choice.get("finish_reason") or ""
        category = _ENDED.get(reason)
        if (category is not None and category not in keep) or (reason and reason not in WHOLE):
            return False
    return True
