"""Mistral and its Codestral."""

from __future__ import annotations

from lmconf.providers.provider import ApiRules, Provider
from lmconf.schema.frozen import FrozenMap

__all__ = ["RECORDS"]

RECORDS = (
    Provider(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        chat="http",
        api=ApiRules(
            in_body=frozenset(
                ("frequency_penalty", "metadata", "n", "presence_penalty", "reasoning_effort")
            ),
            unsupported=FrozenMap(
                {
                    "thinking": "write `reasoning_effort`",
                    "user": "leave it out, or `null` it for this LM",
                }
            ),
            parts=frozenset(("text", "image_url", "file")),
            message_names=False,
            house="mistral",
        ),
        telemetry="mistral_ai",
        profile="mistral",
        docs="https://docs.mistral.ai/api/",
    ),
    Provider("codestral", "https://codestral.mistral.ai/v1", credentials="unknown", chat="openai"),
    Provider("text-completion-codestral", credentials="unknown", chat=None),
)
