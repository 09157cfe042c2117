"""The body, the address and the headers of a request to the Responses API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from lmconf.errors import BadRequest, UsageError
from lmconf.providers.catalogue import record_of
from lmconf.providers.routes import NOT_IN_RESPONSES
from lmconf.schema.frozen import thaw
from lmconf.transports.http.http_request import HttpRequest, json_post, merge_extra, url_of
from lmconf.transports.litellm.params import TOKEN_LIMITS
from lmconf.transports.transport import Json, Request

__all__ = ["items_of", "limit_of", "make_request"]

# What steers an answer in a chat message and has no place in an item.
_NOWHERE = {
    "name": "name the speaker in the content",
    "audio": "give the audio's transcript as content",
    "function_call": "write `tool_calls`",
}


def items_of(messages: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the input items that `messages` of the chat completions API stand for, in order.

    What an assistant's message carries beside its content, as it came with an answer
    (annotations, reasoning as text), is left out; its `reasoning_items` go back as they came.

    Raises:
        UsageError: a message holds something that no item can hold.
    """
    made: list[Json] = []
    custom: set[str] = set()
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            made.append(_result(index, message, custom))
            continue
        for key, help_ in _NOWHERE.items():
            if message.get(key) is not None:
                raise UsageError(
                    f"messages[{index}]: the Responses API does not support `{key}`: {help_}"
                )
        if role == "assistant":
            made.extend(_assistant(message, custom))
        else:
            content = _content(message["content"])
            made.append({"type": "message", "role": role, "content": content})
    return made


def _assistant(message: Mapping[str, Any], custom: set[str]) -> Iterator[Json]:
    for item in message.get("reasoning_items") or ():
        yield thaw(item)
    content: Any = message.get("content")
    if isinstance(content, list | tuple):
        content = [_assistant_part(part) for part in content]
    if message.get("refusal"):
        before = [{"type": "output_text", "text": content}] if isinstance(content, str) else content
        content = [*(before or ()), {"type": "refusal", "refusal": message["refusal"]}]
    if content:
        yield {"type": "message", "role": "assistant", "content": content}
    for call in message.get("tool_calls") or ():
        if call.get("type") == "custom":
            custom.add(call["id"])
            yield {"type": "custom_tool_call", "call_id": call["id"], **thaw(call["custom"])}
        else:
            function = call["function"]
            yield {
                "type": "function_call",
                "call_id": call["id"],
                "name": function["name"],
                "arguments": function.get("arguments") or "{}",
            }


def _result(index: int, message: Mapping[str, Any], custom: set[str]) -> Json:
    call = message.get("tool_call_id")
    if not call:
        raise UsageError(f"messages[{index}]: a message of the role 'tool' needs `tool_call_id`")
    kind = "custom_tool_call_output" if call in custom else "function_call_output"
    return {"type": kind, "call_id": call, "output": _content(message["content"])}


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> Json:
    """Return a part of a person's message; one of a type unknown here stays as it is."""
    kind = part["type"]
    rest = {key: thaw(value) for key, value in part.items() if key not in ("type", kind)}
    held = part.get(kind)
    if kind == "text":
        return {"type": "input_text", "text": held, **rest}
    if kind == "image_url":
        image = {"url": held} if isinstance(held, str) else dict(held or {})
        made = {"image_url": image.get("url"), "detail": image.get("detail") or "auto"}
        return {"type": "input_image", **made, **rest}
    if kind == "file":
        return {"type": "input_file", **thaw(held or {}), **rest}
    return thaw(dict(part))  # type: ignore[no-any-return]


def _assistant_part(part: Mapping[str, Any]) -> Json:
    """Return a part of an assistant's message."""
    if part["type"] == "text":
        rest = {key: thaw(value) for key, value in part.items() if key != "type"}
        return {"type": "output_text", **rest}
    return thaw(dict(part))  # type: ignore[no-any-return]


_AS_THEY_ARE = frozenset("metadata parallel_tool_calls service_tier temperature top_p user".split())
_LOGPROBS = "message.output_text.logprobs"


def make_request(request: Request, *, stream: bool) -> HttpRequest:
    """Return `request` as it is sent, with a placeholder for the credential.

    Raises:
        BadRequest: the provider has no Responses API, or the API has no such parameter.
        UsageError: a message holds something that the API has no place for.
    """
    body = merge_extra(_body(request, stream), request.extra)
    accept = "text/event-stream" if stream else "application/json"
    return json_post(request, _address(request), body, accept)


def limit_of(request: Request) -> int | None:
    """Return the most tokens that the answer may have; None: the request does not say."""
    found = request.extra.get("max_output_tokens")
    for name in TOKEN_LIMITS:
        found = request.settings.get(name) if found is None else found
    return found if isinstance(found, int) else None


def _body(request: Request, stream: bool) -> Json:
    settings = request.settings
    body: Json = {
        "model": _model(request),
        "input": items_of(request.messages),
        # OpenAI keeps answers for a month unless told not to; a chat completion is not kept.
        "store": False,
    }
    for name, value in settings.items():
        if name in NOT_IN_RESPONSES and value != NOT_IN_RESPONSES[name].harmless:
            raise BadRequest(f"the Responses API has no `{name}`", help=NOT_IN_RESPONSES[name].help)
        if name in TOKEN_LIMITS:
            body["max_output_tokens"] = value
        elif name in _AS_THEY_ARE:
            body[name] = thaw(value)
    if settings.get("reasoning_effort") is not None:
        body["reasoning"] = {"effort": settings["reasoning_effort"]}
    text = _text(settings)
    if text:
        body["text"] = text
    if settings.get("tools"):
        body["tools"] = [_tool(tool) for tool in settings["tools"]]
    if settings.get("tool_choice") is not None:
        body["tool_choice"] = _choice(settings["tool_choice"])
    body.update(_log_probabilities(settings))
    if stream:
        body["stream"] = True
    return body


def _text(settings: Mapping[str, Any]) -> Json:
    text: Json = {}
    form = settings.get("response_format")
    if form is not None:
        schema = form.get("json_schema")
        nested = form.get("type") == "json_schema" and isinstance(schema, Mapping)
        text["format"] = {"type": "json_schema", **thaw(schema)} if nested else thaw(form)
    if settings.get("verbosity") is not None:
        text["verbosity"] = settings["verbosity"]
    return text


def _log_probabilities(settings: Mapping[str, Any]) -> Json:
    wanted = settings.get("logprobs")
    if wanted is None or wanted is False:
        return {}
    alternatives = settings.get("top_logprobs")
    if alternatives is None and wanted is not True:
        alternatives = wanted
    told = {} if alternatives is None else {"top_logprobs": alternatives}
    return {"include": [_LOGPROBS], **told}


def _tool(tool: Mapping[str, Any]) -> Json:
    """Return a tool as this API has it: flat. A built-in tool is written so from the start."""
    kind = str(tool.get("type"))
    held = tool.get(kind)
    if not isinstance(held, Mapping):
        return thaw(tool)  # type: ignore[no-any-return]
    made: Json = {"type": kind, **thaw(held)}
    if kind == "function":
        made.setdefault("parameters", {"type": "object", "properties": {}})
        # Unsaid, it is true here and false in chat completions, whose tools these are.
        made.setdefault("strict", False)
    form = made.get("format")
    if isinstance(form, dict) and isinstance(form.get("grammar"), dict):
        made["format"] = {"type": "grammar", **form["grammar"]}
    return made


def _choice(choice: Any) -> Any:
    if not isinstance(choice, Mapping):
        return choice
    kind = str(choice.get("type"))
    held = choice.get(kind)
    if not isinstance(held, Mapping):
        return thaw(choice)
    made = {"type": kind, **thaw(held)}
    if isinstance(held.get("tools"), Sequence):
        made["tools"] = [_choice(tool) for tool in held["tools"]]
    return made


def _model(request: Request) -> str:
    """Return the model's name for the server; Fireworks' models have short names, as in chat."""
    name = request.model
    is_short = "/" not in name and "#" not in name
    return record_of(request.provider).responses_model + name if is_short else name


def _address(request: Request) -> httpx.URL:
    provider, connection = request.provider, request.connection
    record = record_of(provider)
    if record.responses is None:
        raise BadRequest(
            f"{provider}/ has no known Responses API",
            help="a server that has one is `openai/<model>` with its `api_base`",
        )
    if not connection.base:
        raise BadRequest(f"{provider}/ has no address of its own", help="state `api_base`")
    base = url_of(connection.base)
    path = base.path.rstrip("/")
    if record.azure:
        return _azure(base, path, connection.other.get("api_version"))
    above = record.responses
    prefix = path if path.endswith(above) else path + above
    return base.copy_with(path=f"{prefix}/responses")


def _azure(base: httpx.URL, path: str, version: str | None) -> httpx.URL:
    """Return Azure's address: `/openai/v1` has no versions, and a date means the API before it.

    The deployment is named in the body in both (Microsoft Learn, "Azure OpenAI API version
    lifecycle").
    """
    root = path.partition("/openai")[0]
    dated = version is not None and version[:4].isdigit()
    url = base.copy_with(path=f"{root}/openai/{'responses' if dated else 'v1/responses'}")
    said = version is not None and version != "v1"
    return url.copy_with(params={"api-version": version}) if said else url
