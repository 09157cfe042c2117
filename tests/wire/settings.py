"""Every setting of the matrix, and what each API is sent for it, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INVOICE = {
    "type": "object",
    "properties": {"total": {"type": "number"}},
    "required": ["total"],
    "additionalProperties": False,
}
FORM = {
    "type": "json_schema",
    "json_schema": {"name": "invoice", "schema": INVOICE, "strict": True},
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather.", "parameters": CITY},
}
THIS_TOOL = {"type": "function", "function": {"name": "weather"}}
THINKING = {"type": "enabled", "budget_tokens": 2000}

STATED: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.25},
    "max_tokens": {"max_tokens": 77},
    "top_p": {"top_p": 0.5},
    "stop": {"stop": ["\n", "END"]},
    "n": {"n": 2},
    "seed": {"seed": 3},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "presence_penalty": {"presence_penalty": -0.5},
    "logprobs": {"logprobs": True, "top_logprobs": 3},
    "logit_bias": {"logit_bias": {"5": 1.0}},
    "a form": {"response_format": FORM},
    "any JSON": {"response_format": {"type": "json_object"}},
    "reasoning_effort": {"reasoning_effort": "low"},
    "thinking": {"thinking": THINKING},
    "verbosity": {"verbosity": "low"},
    "modalities": {"modalities": ["text"]},
    "service_tier": {"service_tier": "flex"},
    "user": {"user": "u-1"},
    "metadata": {"metadata": {"run": "7"}},
    "user and metadata": {"user": "u-1", "metadata": {"run": "7"}},
    "tools": {"tools": [TOOL]},
    "a tool": {"tools": [TOOL], "tool_choice": THIS_TOOL},
    "any tool": {"tools": [TOOL], "tool_choice": "required"},
    "one tool at a time": {"tools": [TOOL], "parallel_tool_calls": False},
}
"""What a profile states, by a name for it."""

REFUSED: dict[str, str] = {"is": "refused before anything is sent"}
"""Stands for a setting that the API has no place for."""

_ANTHROPIC_TOOL = {
    "type": "custom",
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": CITY,
}
_FORM_AS_TOOL = {"name": "json_tool_call", "input_schema": INVOICE}
_4096 = {"max_tokens": 4096}  # Anthropic's API wants some limit

# The whole of what stands in the body beside model and messages. What is not named here is sent as
# it was stated.
SPELT: dict[str, Mapping[str, dict[str, Any]]] = {
    "openai": {},
    "databricks": {
        # The workspace's Claude thinks by a budget.
        "reasoning_effort": {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "max_tokens": 5120,
        },
        "thinking": {"thinking": THINKING, "max_tokens": 6096},
    },
    "mistral": {
        "seed": {"random_seed": 3},
        "any tool": {"tools": [TOOL], "tool_choice": "any"},
        **dict.fromkeys(
            (
                "logit_bias",
                "logprobs",
                "modalities",
                "service_tier",
                "thinking",
                "user",
                "user and metadata",
                "verbosity",
            ),
            REFUSED,
        ),
    },
    "anthropic": {
        "temperature": {"temperature": 0.25, **_4096},
        "top_p": {"top_p": 0.5, **_4096},
        "stop": {"stop_sequences": ["\n", "END"], **_4096},
        "reasoning_effort": {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "max_tokens": 5120,
        },
        "thinking": {"thinking": THINKING, "max_tokens": 6096},
        "service_tier": {"service_tier": "flex", **_4096},
        "user": {"metadata": {"user_id": "u-1"}, **_4096},
        "metadata": {"metadata": {"run": "7"}, **_4096},
        "user and metadata": {"metadata": {"user_id": "u-1", "run": "7"}, **_4096},
        "a form": {
            "tools": [_FORM_AS_TOOL],
            "tool_choice": {"type": "tool", "name": "json_tool_call"},
            **_4096,
        },
        "tools": {"tools": [_ANTHROPIC_TOOL], **_4096},
        "a tool": {
            "tools": [_ANTHROPIC_TOOL],
            "tool_choice": {"type": "tool", "name": "weather"},
            **_4096,
        },
        "any tool": {"tools": [_ANTHROPIC_TOOL], "tool_choice": {"type": "any"}, **_4096},
        "one tool at a time": {
            "tools": [_ANTHROPIC_TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            **_4096,
        },
        **dict.fromkeys(
            (
                "any JSON",
                "frequency_penalty",
                "logit_bias",
                "logprobs",
                "modalities",
                "n",
                "presence_penalty",
                "seed",
                "verbosity",
            ),
            REFUSED,
        ),
    },
    "ollama": {
        "temperature": {"options": {"temperature": 0.25}},
        "max_tokens": {"options": {"num_predict": 77}},
        "top_p": {"options": {"top_p": 0.5}},
        "stop": {"options": {"stop": ["\n", "END"]}},
        "seed": {"options": {"seed": 3}},
        "frequency_penalty": {"options": {"frequency_penalty": 0.5}},
        "presence_penalty": {"options": {"presence_penalty": -0.5}},
        "a form": {"options": {}, "format": INVOICE},
        "any JSON": {"options": {}, "format": "json"},
        "reasoning_effort": {"options": {}, "think": True},
        "tools": {"options": {}, "tools": [TOOL]},
        **dict.fromkeys(
            (
                "a tool",
                "any tool",
                "logit_bias",
                "logprobs",
                "metadata",
                "modalities",
                "n",
                "one tool at a time",
                "service_tier",
                "thinking",
                "user",
                "user and metadata",
                "verbosity",
            ),
            REFUSED,
        ),
    },
}
