"""The APIs that a faulty server may speak: how an LM is led to it, and what a right answer is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lmconf.runtime import LM
from tests.loopback import anthropic, chat, chat_chunks, named_sse, response_events, responses, sse

KEY = "Zq7vR-unseen-marker-93kd"
"""The credential that the LMs send; the same that `tests.artefacts` looks for."""


@dataclass(frozen=True)
class Dialect:
    """One API, on one route through the shipped transport.

    `whole` is an answer with a text, `events` is the same streamed. `begun` is how many of the
    events stand before the first of the text, and `unended` is the stream without its end.
    """

    name: str
    model: str
    whole: Callable[[str], dict[str, Any]]
    pieces: Callable[[str], list[bytes]]
    begun: int
    unended: Callable[[str], list[bytes]]
    hollow: Mapping[str, Any]
    settings: Mapping[str, Any]

    def lm(self, base: str, **settings: Any) -> LM:
        """An LM of this API at `base`, with waits of milliseconds."""
        given: dict[str, Any] = {
            "api_key": KEY,
            "cache": False,
            "num_retries": 2,
            "retry": {"initial": 0.004, "max": 0.006},
            "timeout": 20,
            "deadline": 20,
            **self.settings,
            **settings,
        }
        return LM(self.model, api_base=base, **given)


def _chat_pieces(text: str) -> list[bytes]:
    return sse(*chat_chunks("", text[:3], text[3:]))


def _chat_unended(text: str) -> list[bytes]:
    return sse(*chat_chunks("", text[:3], text[3:], finish=None, usage=False), done=False)


def _anthropic_events(text: str) -> list[dict[str, Any]]:
    start = {**anthropic(), "content": [], "stop_reason": None}
    delta = "content_block_delta"
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": delta, "index": 0, "delta": {"type": "text_delta", "text": text[:3]}},
        {"type": delta, "index": 0, "delta": {"type": "text_delta", "text": text[3:]}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ]


def _responses_whole(text: str) -> dict[str, Any]:
    made = copy.deepcopy(responses())
    made["output"][0]["content"][0]["text"] = text
    return made


def _responses_pieces(text: str) -> list[bytes]:
    return named_sse(response_events(_responses_whole(text)))


DIALECTS = {
    made.name: made
    for made in (
        Dialect("openai", "openai/tiny", chat, _chat_pieces, 1, _chat_unended, {"choices": []}, {}),
        Dialect(
            "mistral", "mistral/tiny", chat, _chat_pieces, 1, _chat_unended, {"choices": []}, {}
        ),
        Dialect(
            "anthropic",
            "anthropic/tiny",
            anthropic,
            lambda text: named_sse(_anthropic_events(text)),
            2,
            lambda text: named_sse(_anthropic_events(text)[:4]),
            {"content": None},
            {},
        ),
        Dialect(
            "responses",
            "openai/tiny",
            _responses_whole,
            _responses_pieces,
            2,
            lambda text: _responses_pieces(text)[:-3],
            {"output": None},
            {"model_type": "responses"},
        ),
    )
}


def body_of(dialect: Dialect, text: str = "Hello.") -> bytes:
    """A right answer's body."""
    return json.dumps(dialect.whole(text)).encode()
