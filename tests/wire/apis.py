"""What servers answer in the language of each API: one answer, told whole and in pieces.

Every one of them says the same: a thought, a text, the call of a tool, and what it cost.
"""

from __future__ import annotations

import json
from typing import Any

from tests.loopback import USAGE, Reply, sse

TEXT, THOUGHT = "Hello.", "They greet me."
ARGUMENTS = {"city": "Oslo"}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "tiny-2024"}


def _openai(thought: dict[str, Any], content: Any = TEXT) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **thought, "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def _openai_pieces(*deltas: dict[str, Any]) -> list[bytes]:
    """The pieces of a stream: each of `deltas`, then the tool's call, the end and the usage."""
    name, arguments = CALL["function"]["name"], CALL["function"]["arguments"]  # type: ignore[index]
    first = {"index": 0, **CALL, "function": {"name": name, "arguments": arguments[:5]}}
    rest = {"index": 0, "function": {"arguments": arguments[5:]}}
    told = [{"role": "assistant", "content": ""}, *deltas]
    told += [{"tool_calls": [first]}, {"tool_calls": [rest]}]
    head = {**HEAD, "object": "chat.completion.chunk"}
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in told]
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    return sse(*chunks, {**head, "choices": [end]}, {**head, "choices": [], "usage": USAGE})


def _thinking_part(kind: str) -> dict[str, Any]:
    if kind == "mistral":
        return {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]}


def _parts(kind: str) -> list[dict[str, Any]]:
    return [_thinking_part(kind), {"type": "text", "text": TEXT}]


ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "tiny-2024",
    "content": [
        {"type": "thinking", "thinking": THOUGHT, "signature": "c2ln"},
        {"type": "text", "text": TEXT},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": ARGUMENTS},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2},
}


def _block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    begin = {"type": "content_block_start", "index": index, "content_block": start}
    told = [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
    return [begin, *told, {"type": "content_block_stop", "index": index}]


def _named_events(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


_ANTHROPIC_END: tuple[dict[str, Any], ...] = (
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
)


def _anthropic_pieces() -> list[bytes]:
    start = {**ANTHROPIC, "content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": 5, "output_tokens": 1}
    return _named_events(
        {"type": "message_start", "message": start},
        *_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": THOUGHT},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
        *_block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Hel"},
            {"type": "text_delta", "text": "lo."},
        ),
        *_block(
            2,
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"cit'},
            {"type": "input_json_delta", "partial_json": 'y": "Oslo"}'},
        ),
        *_ANTHROPIC_END,
    )


def _ollama(message: dict[str, Any], *, done: bool) -> dict[str, Any]:
    told = {"model": "tiny-2024", "created_at": "2024-01-01T00:00:00Z", "done": done}
    counts = {"done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2} if done else {}
    return {**told, "message": {"role": "assistant", **message}, **counts}


OLLAMA_CALL = {"function": {"name": "weather", "arguments": ARGUMENTS}}
OLLAMA_PIECES = (
    _ollama({"content": "", "thinking": THOUGHT}, done=False),
    _ollama({"content": "Hel"}, done=False),
    _ollama({"content": "lo."}, done=False),
    _ollama({"content": "", "tool_calls": [OLLAMA_CALL]}, done=False),
    _ollama({"content": ""}, done=True),
)

WHOLE: dict[str, Reply] = {
    "openai": Reply(json=_openai({"reasoning_content": THOUGHT})),
    "reasoning": Reply(json=_openai({"reasoning": THOUGHT})),
    "mistral": Reply(json=_openai({}, _parts("mistral"))),
    "databricks": Reply(json=_openai({}, _parts("databricks"))),
    "anthropic": Reply(json=ANTHROPIC),
    "ollama": Reply(
        json=_ollama({"content": TEXT, "thinking": THOUGHT, "tool_calls": [OLLAMA_CALL]}, done=True)
    ),
}
"""The answer in one piece, by the language of its API."""

TOLD = ({"content": "Hel"}, {"content": "lo."})
STREAMED: dict[str, Reply] = {
    "openai": Reply(pieces=_openai_pieces({"reasoning_content": THOUGHT}, *TOLD)),
    "reasoning": Reply(pieces=_openai_pieces({"reasoning": THOUGHT}, *TOLD)),
    "mistral": Reply(pieces=_openai_pieces({"content": [_thinking_part("mistral")]}, *TOLD)),
    "databricks": Reply(pieces=_openai_pieces({"content": [_thinking_part("databricks")]}, *TOLD)),
    "anthropic": Reply(pieces=_anthropic_pieces()),
    "ollama": Reply(pieces=[json.dumps(piece).encode() + b"\n" for piece in OLLAMA_PIECES]),
}
"""The same answer in pieces."""

_CHOICE = {"index": 0, "text": TEXT, "logprobs": None, "finish_reason": "stop"}
COMPLETION = Reply(json={**HEAD, "object": "text_completion", "choices": [_CHOICE], "usage": USAGE})
"""An answer of the completions API."""

COMPLETION_STREAMED = Reply(
    pieces=sse(
        *(
            {
                **HEAD,
                "object": "text_completion",
                "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}],
            }
            for text, reason in (("Hel", None), ("lo.", None), ("", "stop"))
        ),
        {**HEAD, "object": "text_completion", "choices": [], "usage": USAGE},
    )
)
"""The same in pieces."""


def _generated(text: str, *, done: bool) -> dict[str, Any]:
    counts = {"done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2} if done else {}
    return {"model": "tiny-2024", "response": text, "done": done, **counts}


GENERATED = (
    Reply(json=_generated(TEXT, done=True)),
    Reply(
        pieces=[
            json.dumps(_generated(text, done=not text)).encode() + b"\n"
            for text in ("Hel", "lo.", "")
        ]
    ),
)
"""An answer of Ollama's generate API, and the same in pieces."""

JSON_TEXT = '{"total": 3}'


def said(speaks: str, text: str = JSON_TEXT) -> Reply:
    """An answer that is nothing but `text`."""
    if speaks == "anthropic":
        told = {**ANTHROPIC, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        return Reply(json=told)
    if speaks == "ollama":
        return Reply(json=_ollama({"content": text}, done=True))
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Reply(json={**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})


_USE = {"type": "tool_use", "id": "call_2", "name": "json_tool_call", "input": {"total": 3}}
CALLED = (
    Reply(json={**ANTHROPIC, "content": [_USE]}),
    Reply(
        pieces=_named_events(
            {
                "type": "message_start",
                "message": {**ANTHROPIC, "content": [], "stop_reason": None},
            },
            *_block(
                0,
                {**_USE, "input": {}},
                {"type": "input_json_delta", "partial_json": JSON_TEXT[:6]},
                {"type": "input_json_delta", "partial_json": JSON_TEXT[6:]},
            ),
            *_ANTHROPIC_END,
        )
    ),
)
"""Anthropic's answer in a form, which litellm asks for as the call of a tool; and in pieces."""
