"""OpenAI's chat completions and completions, for servers that speak these APIs themselves.

They are sent what was stated, as it was stated, and their answers need little reading (OpenAI API
reference, "Chat", "Completions").
"""

from __future__ import annotations

from urllib.parse import quote

from lmconf.errors import BadRequest
from lmconf.providers.catalogue import record_of
from lmconf.transports.http.http_request import HttpRequest, json_post, merge_extra, url_of
from lmconf.transports.openai.chat_response import ChatStreamReader, response_of
from lmconf.transports.transport import Json, Request

__all__ = ["DEFAULT_AZURE_VERSION", "ChatApi", "make_request"]

DEFAULT_AZURE_VERSION = "2024-10-21"
"""Azure's generally available version of the API, used where a profile names none."""

_PATHS = {"chat": "chat/completions", "text": "completions"}


class ChatApi:
    """Both APIs, for `lmconf.transports.http.direct_transport`: the request's route says which is asked."""

    def request_of(self, request: Request, *, stream: bool) -> HttpRequest:
        return make_request(request, stream=stream)

    def response_of(self, body: Json, request: Request, secrets: tuple[str, ...]) -> Json:
        return response_of(body)

    def stream_reader(self, request: Request, secrets: tuple[str, ...]) -> ChatStreamReader:
        return ChatStreamReader()


def make_request(request: Request, *, stream: bool) -> HttpRequest:
    """Return `request` as it is sent, with a placeholder for the credential.

    Raises:
        BadRequest: it cannot be written as JSON, or has no address.
    """
    url = _address(request)
    body: Json = {"model": request.model}
    if request.route == "text":
        body["prompt"] = request.prompt
    else:
        body["messages"] = list(request.messages)
    body.update(request.settings)
    if stream:
        # Without these options servers leave the usage out.
        body["stream"], body["stream_options"] = True, {"include_usage": True}
    if request.extra:
        body = merge_extra(body, request.extra)
    # Of streams, too, the type is JSON: OpenAI's own client says nothing else.
    return json_post(request, url_of(url), body, "application/json")


def _address(request: Request) -> str:
    base = request.connection.base
    if not base:
        raise BadRequest(f"{request.provider}/ has no address of its own", help="state `api_base`")
    path = _PATHS[request.route]
    if not record_of(request.provider).azure:
        return f"{base.rstrip('/')}/{path}"
    root = base.partition("/openai")[0].rstrip("/")
    version = request.connection.other.get("api_version") or DEFAULT_AZURE_VERSION
    if version == "v1":
        return f"{root}/openai/v1/{path}"
    deployment = quote(request.model, safe="")
    return f"{root}/openai/deployments/{deployment}/{path}?api-version={quote(version, safe='')}"
