"""How each provider is called and what it is sent, as a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lmconf.runtime import LM, Answer
from tests.loopback import Loopback


@dataclass(frozen=True)
class Wire:
    """One provider as it is on the wire.

    `base` is the path of its address, `paths` those of its routes. `credential` is the header
    that carries the key, and how. `key` and `address` are the provider's usual variables.
    `speaks` names the language of its answers, `asks` that of its requests.
    """

    name: str
    model: str
    paths: Mapping[str, str]
    base: str = "/v1"
    credential: tuple[str, str] = ("authorization", "Bearer {}")
    key: str | None = None
    address: str | None = None
    speaks: str = "openai"
    asks: str = "openai"
    agent: str = "lmconf"
    headers: Mapping[str, str] = field(default_factory=dict)

    def lm(self, server: Loopback, **settings: Any) -> LM:
        """Return an LM of this provider at `server`, with a key of the profile's own."""
        stated: dict[str, Any] = {
            "api_base": server.url + self.base,
            "api_key": "stated-key",
            "temperature": None,
            "max_tokens": None,
            "cache": False,
            "num_retries": 0,
        }
        return LM(f"{self.name}/{self.model}", **{**stated, **settings})


_OPENAI = {"chat": "/v1/chat/completions", "text": "/v1/completions"}
_CHAT = {"chat": "/v1/chat/completions"}
_AZURE = "/openai/deployments/house-gpt/{}?api-version=2024-10-21"

WIRES = {
    "openai": Wire("openai", "gpt-4o-mini", _OPENAI, key="OPENAI_API_KEY"),
    "openai-compatible": Wire("openai", "house-70b", _OPENAI),
    "anyscale": Wire("anyscale", "meta-llama/Llama-3-8b", _OPENAI, key="ANYSCALE_API_KEY"),
    "together_ai": Wire("together_ai", "meta-llama/Llama-3-8b", _OPENAI, key="TOGETHERAI_API_KEY"),
    "hosted_vllm": Wire(
        "hosted_vllm",
        "meta-llama/Llama-3-8b",
        _OPENAI,
        address="HOSTED_VLLM_API_BASE",
        speaks="reasoning",
    ),
    "groq": Wire("groq", "openai/gpt-oss-20b", _CHAT, key="GROQ_API_KEY", speaks="reasoning"),
    "openrouter": Wire(
        "openrouter",
        "anthropic/claude-3.7-sonnet",
        _OPENAI,
        key="OPENROUTER_API_KEY",
        speaks="reasoning",
    ),
    "litellm_proxy": Wire(
        "litellm_proxy",
        "house",
        _OPENAI,
        key="LITELLM_PROXY_API_KEY",
        address="LITELLM_PROXY_API_BASE",
    ),
    "azure": Wire(
        "azure",
        "house-gpt",
        {"chat": _AZURE.format("chat/completions"), "text": _AZURE.format("completions")},
        base="",
        credential=("api-key", "{}"),
        key="AZURE_API_KEY",
        address="AZURE_API_BASE",
    ),
    "databricks": Wire(
        "databricks",
        "databricks-claude-3-7-sonnet",
        {"chat": "/serving-endpoints/chat/completions"},
        base="/serving-endpoints",
        key="DATABRICKS_API_KEY",
        address="DATABRICKS_API_BASE",
        speaks="databricks",
        asks="databricks",
        agent="python-httpx/",
    ),
    "mistral": Wire(
        "mistral",
        "magistral-small-latest",
        _CHAT,
        key="MISTRAL_API_KEY",
        speaks="mistral",
        asks="mistral",
        agent="python-httpx/",
    ),
    "anthropic": Wire(
        "anthropic",
        "claude-3-7-sonnet-20250219",
        {"chat": "/v1/messages"},
        base="",
        credential=("x-api-key", "{}"),
        key="ANTHROPIC_API_KEY",
        speaks="anthropic",
        asks="anthropic",
        agent="python-httpx/",
        headers={"anthropic-version": "2023-06-01"},
    ),
    "ollama_chat": Wire(
        "ollama_chat",
        "llama3.2",
        {"chat": "/api/chat"},
        base="",
        speaks="ollama",
        asks="ollama",
        agent="python-httpx/",
    ),
}
"""Every provider of the matrix, by the name of its row."""


def ask(lm: LM, given: Mapping[str, Any]) -> Answer:
    return lm.ask(**given)


def aask(lm: LM, given: Mapping[str, Any]) -> Answer:
    return asyncio.run(lm.aask(**given))


def stream(lm: LM, given: Mapping[str, Any]) -> Answer:
    with lm.stream(**given) as pieces:
        list(pieces)
        return pieces.answer


def astream(lm: LM, given: Mapping[str, Any]) -> Answer:
    async def read() -> Answer:
        async with lm.astream(**given) as pieces:
            async for _ in pieces:
                pass
            return pieces.answer

    return asyncio.run(read())


Way = Callable[[LM, Mapping[str, Any]], Answer]
WHOLE: tuple[Way, ...] = (ask, aask)
STREAMED: tuple[Way, ...] = (stream, astream)
