"""OpenAI's chat completions and completions, for servers that speak these APIs themselves.

They are sent what was stated, as it was stated, and their answers need little reading (OpenAI API
reference, "Chat", "Completions").
"""

from __future__ import annotations

from lmconf.transports.http.http_request import HttpRequest
from lmconf.transports.openai.chat_request import make_request
from lmconf.transports.openai.chat_response import ChatStreamReader, response_of
from lmconf.transports.transport import Json, Request

__all__ = ["ChatApi"]


class ChatApi:
    """Both APIs, for `lmconf.transports.http.direct_transport`: the request's route says which is asked."""

    def asked(self, request: Request, *, stream: bool) -> HttpRequest:
        return make_request(request, stream=stream)

    def response_of(self, body: Json, request: Request, secrets: tuple[str, ...]) -> Json:
        return response_of(body)

    def answering(self, request: Request, secrets: tuple[str, ...]) -> ChatStreamReader:
        return ChatStreamReader()
