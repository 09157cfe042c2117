"""Azure OpenAI and Azure AI: each account has an address of its own."""

from __future__ import annotations

from lmconf.providers.provider import Provider

__all__ = ["RECORDS"]

_DOCS = "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference"

RECORDS = (
    Provider(
        "azure",
        key_env="AZURE_API_KEY",
        base_env="AZURE_API_BASE",
        azure=True,
        text="bare",
        responses="/openai/v1",
        telemetry="azure.ai.openai",
        trainer="openai",
        profile="azure",
        docs=_DOCS,
        litellm="openai",
    ),
    # An API for completions alone.
    Provider(
        "azure_text",
        key_env="AZURE_API_KEY",
        base_env="AZURE_API_BASE",
        azure=True,
        chat=None,
        text="bare",
        docs=_DOCS,
    ),
    Provider(
        "azure_ai",
        key_env="AZURE_AI_API_KEY",
        base_env="AZURE_AI_API_BASE",
        azure=True,
        chat="http",
        responses="/openai/v1",
        telemetry="azure.ai.inference",
    ),
)
