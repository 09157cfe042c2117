"""What of a request litellm is told, what is put into the body as it was stated, and what no
API of the provider's can carry.

litellm leaves some settings and parts of messages out without a word, respells a few wrongly, and
refuses what its table of models does not know. A server that speaks the OpenAI API is therefore
sent what was stated, as it was stated; for the others, their records say what litellm loses.
What would be lost is refused before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lmconf.errors import BadRequest
from lmconf.providers import ApiRules
from lmconf.providers.catalogue import record_of
from lmconf.providers.routes import client_of
from lmconf.schema.frozen import thaw
from lmconf.transports.transport import Request

__all__ = [
    "body_additions",
    "check_parameters",
    "complete_body",
    "litellm_settings",
]

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
"""Settings that litellm spells as each provider wants them."""

_ANY_ADDRESS = ("http://", "https://")


def _api_of(request: Request) -> ApiRules:
    """Return what is known of the API that `request` goes to."""
    record = record_of(request.provider)
    for word, rules in record.houses.items():
        if word in request.model:
            return rules
    return record.api


def litellm_settings(request: Request) -> dict[str, Any]:
    """Return the settings that litellm is told, and spells as the provider wants them."""
    own = _withheld(request)
    return {key: thaw(value) for key, value in request.settings.items() if key not in own}


def body_additions(request: Request) -> dict[str, Any]:
    """Return what a body is completed with where litellm left it out."""
    settings = {key: thaw(value) for key, value in request.settings.items()}
    if client_of(request.provider, request.route) in ("bare", "openai"):
        return {key: value for key, value in settings.items() if key not in TOKEN_LIMITS}
    found: dict[str, Any] = {}
    api = _api_of(request)
    for key, value in settings.items():
        if key in api.inside:
            found.setdefault(api.inside[key], {})[key] = value
        elif key in api.in_body or _is_named_tool(request, key):
            found[key] = value
    return found


_BLOCKS = ("generationConfig", "metadata", "options")


def complete_body(body: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with `own` in it: blocks are merged, and what litellm spelt stays."""
    made = dict(body)
    for key, value in own.items():
        held = made.get(key)
        if key not in made:
            made[key] = value
        elif key in _BLOCKS and isinstance(held, dict) and isinstance(value, dict):
            made[key] = {**value, **held}
    return made


def check_parameters(request: Request) -> None:
    """Refuse what would be lost on the way to the provider.

    Raises:
        BadRequest: a setting or a part of a message has no place in the provider's API.
    """
    api = _api_of(request)
    for key, help_ in api.unsupported.items():
        if key in request.settings and not _is_default(key, request.settings[key]):
            raise BadRequest(f"{request.provider}/ does not support `{key}`", help=help_)
    for rule in _RULES:
        for message, help_ in rule(request, api):
            raise BadRequest(message, help=help_)


def _withheld(request: Request) -> frozenset[str]:
    if client_of(request.provider, request.route) in ("bare", "openai"):
        return frozenset(("metadata", "thinking"))
    api = _api_of(request)
    return api.in_body | api.inside.keys() | ({"tool_choice"} & api.unsupported.keys())


def _is_named_tool(request: Request, key: str) -> bool:
    """Say whether this is a choice of one tool, which litellm drops for Mistral."""
    return (
        _api_of(request).house == "mistral"
        and key == "tool_choice"
        and isinstance(request.settings[key], Mapping)
    )


def _is_default(key: str, value: object) -> bool:
    return (key, value) in (("tool_choice", "auto"), ("parallel_tool_calls", True))


def _parts(request: Request) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for index, message in enumerate(request.messages):
        content = message.get("content")
        for part in content if isinstance(content, list | tuple) else ():
            if isinstance(part, Mapping):
                yield index, part


def _parts_have_a_place(request: Request, api: ApiRules) -> Iterator[tuple[str, str]]:
    for index, part in _parts(request):
        kind = part.get("type")
        if api.parts is not None and kind not in api.parts:
            yield (
                f"messages[{index}]: {request.provider}/ takes no parts of the type {kind!r}",
                f"it takes {', '.join(sorted(api.parts))}",
            )


def _nothing_is_fetched(request: Request, api: ApiRules) -> Iterator[tuple[str, str]]:
    for index, part in _parts(request):
        image = part.get("image_url")
        address = image.get("url") if isinstance(image, Mapping) else image
        if isinstance(address, str) and address.strip().lower().startswith(
            api.fetched_prefixes or ("\0",)
        ):
            yield (
                f"messages[{index}]: {request.provider}/ takes no images from such an address, and"
                " none are fetched on its behalf",
                "send the image itself: `data:image/png;base64,…`",
            )


# Of these Google is told the address; the others litellm fetches, to see what they are.
_OF_GOOGLE = re.compile(r"https://[^?#\s]+\.(png|jpe?g|webp)\Z", re.IGNORECASE)


def _google_is_told_what_it_is(request: Request, api: ApiRules) -> Iterator[tuple[str, str]]:
    for index, part in _parts(request):
        image = part.get("image_url")
        address = image.get("url") if isinstance(image, Mapping) else image
        if api.house == "google" and _is_address(address) and not _OF_GOOGLE.match(str(address)):
            yield (
                f"messages[{index}]: {request.provider}/ cannot be told of what kind this image is, and"
                " it is not fetched to see that",
                "send the image itself: `data:image/png;base64,…`",
            )


def _files_are_sent_whole(request: Request, api: ApiRules) -> Iterator[tuple[str, str]]:
    """Yield each file that is an address: litellm would fetch it, from wherever that leads."""
    for index, part in _parts(request):
        stated = part.get("file")
        file: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
        for name in ("file_id", "file_data"):
            address = file.get(name)
            if not _is_address(address) or (api.house == "anthropic" and name == "file_id"):
                continue  # Anthropic fetches a document itself
            yield (
                f"messages[{index}]: {request.provider}/ takes no file from an address, and none is"
                " fetched on its behalf",
                "send the file itself: `file_data: data:application/pdf;base64,…`",
            )


def _is_address(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower().startswith(_ANY_ADDRESS)


def _names_have_a_place(request: Request, api: ApiRules) -> Iterator[tuple[str, str]]:
    for index, message in enumerate(request.messages):
        if not api.message_names and message.get("name") and message.get("role") != "tool":
            yield (
                f"messages[{index}]: {request.provider}/ does not support `name`",
                "leave it out, or name the speaker in the text",
            )


def _anthropics_rules(request: Request, api: ApiRules) -> Iterator[tuple[str, str]]:
    if api.house != "anthropic" or record_of(request.provider).cloud is not None:
        return
    form = request.settings.get("response_format")
    if isinstance(form, Mapping) and form.get("type") == "json_object":
        yield (
            "anthropic/ does not support `response_format: {type: json_object}`",
            "state the form of the answer: `{type: json_schema, json_schema: …}`",
        )
    if not request.settings.get("tools") and any("tool_calls" in m for m in request.messages):
        # litellm would offer the model a tool of its own invention.
        yield (
            "the messages contain tool calls, but `tools` is missing",
            "give the `tools` that the answer with the calls was asked with",
        )


def _googles_rules(request: Request, api: ApiRules) -> Iterator[tuple[str, str]]:
    thinking = request.settings.get("thinking")
    if api.house == "google" and "gemini-3" in request.model and isinstance(thinking, Mapping):
        # litellm asks for thoughts, and drops how many.
        yield (
            f"{request.provider}/{request.model} has levels of thinking, not a budget",
            "write `reasoning_effort`",
        )


_RULES: tuple[Callable[[Request, ApiRules], Iterator[tuple[str, str]]], ...] = (
    _parts_have_a_place,
    _nothing_is_fetched,
    _google_is_told_what_it_is,
    _files_are_sent_whole,
    _names_have_a_place,
    _anthropics_rules,
    _googles_rules,
)
