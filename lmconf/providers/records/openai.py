"""OpenAI."""

from __future__ import annotations

from lmconf.providers.provider import Provider

__all__ = ["RECORDS"]

_DOCS = "https://platform.openai.com/docs/api-reference"

RECORDS = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        text="bare",
        responses="",
        litellm="openai",
        launchable=True,
        trainer="openai",
        profile="openai",
        docs=f"{_DOCS}/chat",
    ),
    # An API for completions alone.
    Provider(
        "text-completion-openai",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        chat=None,
        text="bare",
        launchable=True,
        telemetry="openai",
        docs=f"{_DOCS}/completions",
    ),
)
