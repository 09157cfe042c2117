"""Ollama: its API for chats, and the older one that takes a prompt."""

from __future__ import annotations

from msgspec.structs import replace

from lmconf.providers.provider import ApiRules, Provider
from lmconf.schema.frozen import FrozenMap

__all__ = ["RECORDS"]

_NO_PLACE = "leave it out, or `null` it for this LM"
_RULES = ApiRules(
    in_body=frozenset(),
    inside=FrozenMap({"frequency_penalty": "options", "presence_penalty": "options"}),
    unsupported=FrozenMap(dict.fromkeys(("metadata", "tool_choice", "user"), _NO_PLACE)),
    parts=frozenset(("text", "image_url")),
    fetched_prefixes=("http://", "https://"),
    message_names=False,
)
_NO_TOOLS = {"tools": "write `ollama_chat/`: `ollama/` is its generate API"}

_CHAT = Provider(
    "ollama_chat",
    "http://localhost:11434",
    credentials="optional",
    chat="http",
    above_version=True,
    api=_RULES,
    launchable=True,
    launcher="ollama",
    profile="ollama",
    docs="https://github.com/ollama/ollama/blob/main/docs/api.md",
)

RECORDS = (
    _CHAT,
    replace(
        _CHAT,
        name="ollama",
        text="http",
        responses="/v1",
        api=replace(_RULES, unsupported=FrozenMap({**_RULES.unsupported, **_NO_TOOLS})),
        profile="",
    ),
)
