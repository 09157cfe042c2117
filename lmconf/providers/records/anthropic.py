"""Anthropic."""

from __future__ import annotations

from lmconf.providers.provider import ApiRules, Provider

__all__ = ["RECORDS", "RULES"]

RULES = ApiRules(
    # LiteLLM spells `user` as Anthropic does: `metadata: {user_id: …}`.
    in_body=frozenset(("metadata", "service_tier")),
    parts=frozenset(
        "document file image_url redacted_thinking text thinking tool_reference".split()
    ),
    fetched_prefixes=("http://",),
    message_names=False,
    house="anthropic",
)

RECORDS = (
    Provider(
        "anthropic",
        "https://api.anthropic.com",
        "ANTHROPIC_API_KEY",
        chat="http",
        above_version=True,
        api=RULES,
        priced_by_litellm=True,
        launchable=True,  # llama.cpp's server speaks its API
        profile="anthropic",
        docs="https://docs.anthropic.com/en/api/messages",
    ),
)
