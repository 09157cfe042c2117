"""OpenAI's Responses API, asked and answered in the shape of chat completions.

Everything above a transport speaks of messages, choices and chunks. Here they become the input
items of `POST …/responses`, and its output items, or the events of its stream, become them again
(OpenAI API reference, "Responses"; "Migrate to the Responses API").
"""

from __future__ import annotations

from lmconf.transports.http.http_request import HttpRequest
from lmconf.transports.openai.responses_request import limit_of, make_request
from lmconf.transports.openai.responses_response import response_of
from lmconf.transports.openai.responses_stream import ResponsesStreamReader
from lmconf.transports.transport import Json, Request

__all__ = ["ResponsesApi"]


class ResponsesApi:
    """The Responses API, for `lmconf.transports.http.direct_transport`."""

    def request_of(self, request: Request, *, stream: bool) -> HttpRequest:
        return make_request(request, stream=stream)

    def response_of(self, body: Json, request: Request, secrets: tuple[str, ...]) -> Json:
        return response_of(body, limit_of(request), secrets)

    def stream_reader(self, request: Request, secrets: tuple[str, ...]) -> ResponsesStreamReader:
        return ResponsesStreamReader(limit_of(request), secrets)
