"""A server that refuses what the providers' own refuse, each rule with its source.

The rules are written down here a second time, by other means than lmconf has: by words in names,
and by what LiteLLM's table says of the very model. A test that holds both together finds where
either is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.clouds import CONVERSED, conversation, framed
from tests.loopback import Received, Reply, anthropic, chat, chat_chunks, gemini, named_sse, sse

TABLE: dict[str, dict[str, Any]] = json.loads(
    (
        Path(str((find_spec("litellm") or exec).submodule_search_locations[0]))  # type: ignore[union-attr,index]
        / "model_prices_and_context_window_backup.json"
    ).read_text(encoding="utf-8")
)

Rule = Callable[[Mapping[str, Any], Mapping[str, Any]], str | None]
"""What is wrong with what was said, for the row of its model."""


def _has(row: Mapping[str, Any], *words: str) -> bool:
    return any(word in row["name"] for word in words)


def _is_openai(row: Mapping[str, Any]) -> bool:
    by = row["litellm_provider"] in ("openai", "azure", "azure_ai", "openrouter")
    return by and not _has(row, "gpt-oss", "claude")


def _thinks_for_openai(row: Mapping[str, Any]) -> bool:
    if not _is_openai(row) or row["name"].endswith(("gpt-5-chat", "gpt-5-chat-latest")):
        return False
    return bool(row.get("supports_reasoning")) or bool(re.search(r"gpt-[5-9]|\bo\d\b", row["name"]))


def _version_of_claude(row: Mapping[str, Any]) -> tuple[int, ...]:
    if "claude" not in row["name"]:
        return ()
    if _has(row, "fable", "mythos"):
        return (5,)
    numbers = re.findall(r"(?<![\d:v])\d{1,2}(?!\d)", row["name"].partition("claude")[2])
    return tuple(int(number) for number in numbers[:2])


def temperature_of_openai(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Refuse what "Reasoning models" (OpenAI) says is not supported.

    "'temperature' does not support 0 with this model. Only the default (1) value is supported."
    """
    if _thinks_for_openai(row) and said.get("temperature") not in (None, 1):
        effort = said.get("reasoning_effort") or row.get("default_reasoning_effort")
        if not (row.get("supports_none_reasoning_effort") and effort == "none"):
            return "'temperature' does not support this value with this model"
    return None


def limit_of_openai(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Refuse what "Create chat completion" (OpenAI) calls deprecated.

    "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    """
    if _thinks_for_openai(row) and "max_tokens" in said["body"]:
        return "'max_tokens' is not supported with this model"
    if {"max_tokens", "max_completion_tokens"} <= said["body"].keys():
        return "both limits at the same time"
    return None


def searching_of_openai(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """OpenAI, "Web search": "Model incompatible request argument supplied: temperature"."""
    if _is_openai(row) and _has(row, "-search-") and "temperature" in said["body"]:
        return "Model incompatible request argument supplied: temperature"
    return None


def sampling(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """LiteLLM's `supports_sampling_params`; Anthropic, "Migrating to Claude Opus 4.7":
    "`temperature` is deprecated for this model".
    """
    refused = row.get("supports_sampling_params") is False or _version_of_claude(row) >= (4, 7)
    if refused and (said.get("temperature") not in (None, 1) or said.get("top_p") is not None):
        return "`temperature` is deprecated for this model"
    return None


def either_of_claude(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Anthropic, "Migrating to Claude 4.5": use only `temperature` or `top_p`, not both."""
    both = None not in (said.get("temperature"), said.get("top_p"))
    if both and _version_of_claude(row) >= (4, 1):
        return "`temperature` and `top_p` cannot both be specified for this model"
    return None


def limit_of_claude(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Anthropic, "Create a Message": `max_tokens` is required."""
    if said["api"] == "anthropic" and not isinstance(said.get("max_tokens"), int):
        return "max_tokens: Field required"
    return None


def thinking_of_claude(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Anthropic, "Extended thinking": the budget is less than `max_tokens`, and `temperature` may
    only be set to 1 when thinking is enabled.
    """
    thinking = said.get("thinking")
    if not _version_of_claude(row) or not isinstance(thinking, Mapping):
        return None
    if thinking.get("type") == "disabled":
        return None
    if said.get("temperature") not in (None, 1):
        return "`temperature` may only be set to 1 when thinking is enabled"
    budget = thinking.get("budget_tokens")
    if isinstance(budget, int) and not budget < (said.get("max_tokens") or 0):
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    return None


def most_of_all(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """LiteLLM's `max_output_tokens`: "max_tokens is too large"."""
    most = row.get("max_output_tokens")
    if isinstance(most, int) and most and (said.get("max_tokens") or 0) > most:
        return f"max_tokens is too large: {said['max_tokens']} > {most}"
    return None


def kimi(said: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """LiteLLM's adapter for Moonshot: "reasoning models reject every temperature except 1"."""
    thinks = row["litellm_provider"] == "moonshot" and row.get("supports_reasoning")
    if thinks and said.get("temperature") not in (None, 1):
        return "invalid temperature: only 1 is allowed for this model"
    return None


RULES: tuple[Rule, ...] = (
    temperature_of_openai,
    limit_of_openai,
    searching_of_openai,
    sampling,
    either_of_claude,
    limit_of_claude,
    thinking_of_claude,
    most_of_all,
    kimi,
)

_CLAUDES_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {**anthropic(), "content": [], "stop_reason": None},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def strict(row: Mapping[str, Any]) -> Callable[[Received], Reply]:
    """Return the script of a server that serves the model of `row` as its provider does."""

    def script(received: Received) -> Reply:
        said = _said(received)
        wrong = [found for rule in RULES if (found := rule(said, row)) is not None]
        if wrong:
            error = {"type": "invalid_request_error", "message": "; ".join(wrong)}
            return Reply(status=400, json={"type": "error", "error": error})
        return _ANSWERS[said["api"]][said["stream"]]

    return script


_ANSWERS: dict[str, tuple[Reply, Reply]] = {
    "openai": (Reply(json=chat()), Reply(pieces=sse(*chat_chunks("Hel", "lo.")))),
    "anthropic": (Reply(json=anthropic()), Reply(pieces=named_sse(_CLAUDES_EVENTS))),
    "bedrock": (Reply(json=CONVERSED), framed(conversation("Hel", "lo."))),
    "gemini": (Reply(json=gemini()), Reply(pieces=sse(gemini(), done=False))),
}


def _said(received: Received) -> dict[str, Any]:
    """Return what a request says, whatever its API calls it."""
    body = received.json
    path = unquote(received.path)
    stream = bool(body.get("stream")) or "stream" in path.lower()
    found: dict[str, Any] = {"body": body, "stream": stream, "api": "openai"}
    flat = dict(body)
    if "/converse" in path:
        found["api"] = "bedrock"
        flat |= body.get("inferenceConfig") or {}
        flat |= body.get("additionalModelRequestFields") or {}
    elif ":generateContent" in path or ":streamGenerateContent" in path:
        found["api"] = "gemini"
        flat |= body.get("generationConfig") or {}
    elif path.endswith(("/messages", "rawPredict", "RawPredict")):
        found["api"] = "anthropic"
    names = {
        "temperature": ("temperature",),
        "top_p": ("top_p", "topP"),
        "max_tokens": (
            "max_tokens",
            "max_completion_tokens",
            "maxTokens",
            "max_output_tokens",
            "maxOutputTokens",
        ),
        "thinking": ("thinking", "reasoning_config"),
        "reasoning_effort": ("reasoning_effort",),
    }
    for name, spellings in names.items():
        for spelling in spellings:
            if flat.get(spelling) is not None:
                found[name] = flat[spelling]
    return found


def rows(provider: str, *modes: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and row of every chat model of a provider that the table has."""
    for name, row in TABLE.items():
        if row.get("litellm_provider") == provider and row.get("mode") in (modes or ("chat",)):
            yield name, {**row, "name": name.lower()}
