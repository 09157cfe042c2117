"""Google: Gemini's own API, and Vertex AI, which serves the models of several makers."""

from __future__ import annotations

from msgspec.structs import replace

from lmconf.providers.provider import LABELS, ApiRules, Provider
from lmconf.providers.records import anthropic
from lmconf.schema.frozen import FrozenMap

__all__ = ["RECORDS"]

# LiteLLM drops penalties for newer models; those that take none say so themselves.
_GEMINI = ApiRules(
    in_body=frozenset(),
    inside=FrozenMap(
        {"frequency_penalty": "generationConfig", "presence_penalty": "generationConfig"}
    ),
    unsupported=FrozenMap(
        {
            **dict.fromkeys(sorted(LABELS), "leave it out, or `null` it for this LM"),
            "parallel_tool_calls": "leave it out: the model may call several at once",
        }
    ),
    fetched_prefixes=("http://",),
    house="google",
)

_VERTEX = Provider(
    "vertex_ai",
    credentials="cloud",
    cloud="google",
    chat="http",
    name_in_path=True,
    houses=FrozenMap({"gemini": _GEMINI, "claude": anthropic.RULES}),
    telemetry="gcp.vertex_ai",
    priced_by_litellm=True,
    profile="vertex",
    docs="https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest",
)

RECORDS = (
    Provider(
        "gemini",
        "https://generativelanguage.googleapis.com",
        "GEMINI_API_KEY",
        chat="http",
        name_in_path=True,
        api=_GEMINI,
        telemetry="gcp.gemini",
        docs="https://ai.google.dev/api/generate-content",
    ),
    _VERTEX,
    replace(_VERTEX, name="vertex_ai_beta", telemetry="", profile=""),
)
