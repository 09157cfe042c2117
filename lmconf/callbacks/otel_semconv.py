"""The names that OpenTelemetry's conventions for generative AI give to what a call is.

https://github.com/open-telemetry/semantic-conventions-genai: docs/gen-ai/gen-ai-spans.md and
gen-ai-metrics.md. Everything here is plain data; no OpenTelemetry is needed for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from lmconf.callbacks.events import End, Start
from lmconf.providers.catalogue import record_of

__all__ = [
    "Attributes",
    "Value",
    "identity_of",
    "of_answer",
    "of_answer_content",
    "of_request",
    "of_request_content",
    "of_server",
]

Value: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = dict[str, Value]

_SETTINGS: dict[str, tuple[str, type]] = {
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
}
_PORTS = {"http": 80, "https": 443}


def identity_of(event: Start) -> Attributes:
    """Return what is asked of whom: operation, provider, model."""
    return {
        "gen_ai.operation.name": "text_completion" if event.model_type == "text" else "chat",
        "gen_ai.provider.name": record_of(event.provider).telemetry or event.provider or "_OTHER",
        "gen_ai.request.model": event.model.removeprefix(f"{event.provider}/"),
    }


def of_server(origin: str | None) -> Attributes:
    """Return address and port of `origin`."""
    parts = urlsplit(origin or "")
    if not parts.hostname:
        return {}
    port = parts.port or _PORTS.get(parts.scheme)
    said: Attributes = {"server.address": parts.hostname}
    return said if port is None else {**said, "server.port": port}


def of_request(event: Start) -> Attributes:
    """Return the settings of a request."""
    settings = _mapping(event.request.get("settings"))
    said: Attributes = {}
    for name, (attribute, kind) in _SETTINGS.items():
        value = settings.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            said[attribute] = kind(value)
    stop = settings.get("stop")
    if stop is not None:
        said["gen_ai.request.stop_sequences"] = _texts([stop] if isinstance(stop, str) else stop)
    number = settings.get("n")
    if isinstance(number, int) and number != 1:
        said["gen_ai.request.choice.count"] = number
    top_k = _mapping(settings.get("extra")).get("top_k")
    if isinstance(top_k, int | float):
        said["gen_ai.request.top_k"] = float(top_k)
    if event.stream:
        said["gen_ai.request.stream"] = True
    if settings.get("response_format") is not None:
        said["gen_ai.output.type"] = "json"
    return said


def of_answer(event: End) -> Attributes:
    """Return what is known of an answer, beside what it says."""
    response = _mapping(event.response)
    said: Attributes = {}
    for name in ("id", "model"):
        value = response.get(name)
        if isinstance(value, str) and value:
            said[f"gen_ai.response.{name}"] = value
    reasons = _texts([_mapping(choice).get("finish_reason") for choice in _choices(response)])
    if reasons:
        said["gen_ai.response.finish_reasons"] = reasons
    if event.first_token is not None:
        said["gen_ai.response.time_to_first_chunk"] = event.first_token
    usage = _mapping(event.usage)
    prompt = _mapping(usage.get("prompt_tokens_details"))
    completion = _mapping(usage.get("completion_tokens_details"))
    for attribute, value in (
        ("gen_ai.usage.input_tokens", usage.get("prompt_tokens")),
        ("gen_ai.usage.output_tokens", usage.get("completion_tokens")),
        ("gen_ai.usage.cache_read.input_tokens", prompt.get("cached_tokens")),
        ("gen_ai.usage.reasoning.output_tokens", completion.get("reasoning_tokens")),
    ):
        if isinstance(value, int):
            said[attribute] = value
    return said


def of_request_content(event: Start) -> Attributes:
    """Return what was asked, as JSON text: spans hold no structures."""
    messages = [_mapping(message) for message in _items(event.request.get("messages"))]
    told = [message for message in messages if message.get("role") not in ("system", "developer")]
    instructions = [
        part
        for message in messages
        if message.get("role") in ("system", "developer")
        for part in _parts(message)
    ]
    said: Attributes = {"gen_ai.input.messages": _json([_message(message) for message in told])}
    if instructions:
        said["gen_ai.system_instructions"] = _json(instructions)
    tools = _mapping(event.request.get("settings")).get("tools")
    if tools:
        said["gen_ai.tool.definitions"] = _json(
            [
                {"type": "function", **_mapping(_mapping(tool).get("function"))}
                for tool in _items(tools)
            ]
        )
    return said


def of_answer_content(event: End) -> Attributes:
    """Return what was answered, as JSON text."""
    said = []
    for choice in _choices(_mapping(event.response)):
        message = _mapping(choice.get("message")) or {"content": choice.get("text")}
        reason = choice.get("finish_reason")
        said.append({**_message({"role": "assistant", **message}), "finish_reason": reason or ""})
    return {"gen_ai.output.messages": _json(said)}


def _message(message: Mapping[str, object]) -> dict[str, object]:
    return {"role": str(message.get("role", "")), "parts": _parts(message)}


def _parts(message: Mapping[str, object]) -> list[dict[str, object]]:
    content = message.get("content")
    parts: list[dict[str, object]] = []
    if message.get("role") == "tool":
        answered = message.get("tool_call_id")
        return [{"type": "tool_call_response", "id": answered, "response": content}]
    if isinstance(content, str):
        parts.append({"type": "text", "content": content})
    parts.extend(_part(_mapping(part)) for part in _items(content))
    for call in map(_mapping, _items(message.get("tool_calls"))):
        function = _mapping(call.get("function"))
        parts.append(
            {
                "type": "tool_call",
                "id": call.get("id"),
                "name": function.get("name"),
                "arguments": function.get("arguments"),
            }
        )
    return parts


def _part(part: Mapping[str, object]) -> dict[str, object]:
    if part.get("type") == "text":
        return {"type": "text", "content": part.get("text")}
    address = _mapping(part.get("image_url")).get("url")
    if isinstance(address, str) and not address.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": address}
    # Data in place would make spans too large for most collectors.
    return {"type": str(part.get("type", ""))}


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _choices(response: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [_mapping(choice) for choice in _items(response.get("choices"))]


def _texts(values: object) -> list[str]:
    return [value for value in _items(values) if isinstance(value, str)]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda _: None, separators=(",", ":"))
