"""Cohere."""

from __future__ import annotations

from msgspec.structs import replace

from lmconf.providers.provider import LABELS, ApiRules, Provider
from lmconf.schema.frozen import FrozenMap

__all__ = ["RECORDS"]

_COHERE = Provider(
    "cohere",
    "https://api.cohere.com",
    "COHERE_API_KEY",
    chat="lent",
    api=ApiRules(
        in_body=frozenset(),
        unsupported=FrozenMap(
            {
                **dict.fromkeys(sorted(LABELS), "leave it out, or `null` it for this LM"),
                "tool_choice": "leave it out: the model chooses",
            }
        ),
        fetched_prefixes=("http://",),
        house="cohere",
        in_lines=True,
    ),
    docs="https://docs.cohere.com/reference/chat",
)

RECORDS = (_COHERE, replace(_COHERE, name="cohere_chat", telemetry="cohere"))
