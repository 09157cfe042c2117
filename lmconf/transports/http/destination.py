"""The server that the requests of one LM go to, and what of them may reach it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from lmconf.errors import ConnectionFailed
from lmconf.schema.frozen import thaw
from lmconf.transports.clouds.credentials import CloudRoute, Shape, Sign
from lmconf.transports.http.http_request import (
    PLACEHOLDER,
    Headers,
    HttpRequest,
    merge_extra,
    origin_of,
    url_of,
)
from lmconf.transports.litellm.params import body_additions, complete_body
from lmconf.transports.transport import Request

__all__ = ["Destination"]

# What a client may say of itself and of the body. Everything else that reaches the server was
# asked for by the profile: the SDKs also read headers and organizations from the environment.
_CLIENT_HEADERS = frozenset(
    b"host accept connection content-type user-agent anthropic-version anthropic-beta".split()
)


class Destination:
    """Where a request goes: its origin, its credential, and what is added on the way.

    A request that is `whole` when it comes here has its body already.
    """

    def __init__(self, request: Request, *, whole: bool) -> None:
        self.base = url_of(request.connection.base or "")
        self._key = request.connection.key
        self._headers = _headers_of(request)
        self._own: Mapping[str, Any] = {} if whole else body_additions(request)
        self._extra: Mapping[str, Any] = {} if whole else request.extra
        self._shape: Shape | None = None
        self._sign: Sign | None = None

    def follow(self, route: CloudRoute) -> None:
        """Go by the `route` that was found to a cloud."""
        self._own = body_additions(route.request)
        self.base = url_of(route.request.connection.base or "")
        self._shape, self._sign = route.shape, route.sign

    def refusal_of(self, url: httpx.URL) -> ConnectionFailed | None:
        """Return why nothing is sent to `url`; None where it belongs to this destination."""
        if origin_of(url) == origin_of(self.base):
            return None
        return ConnectionFailed(
            f"refused to send to {origin_of(url)}: the address of this LM is"
            f" {origin_of(self.base)}",
            retryable=False,
        )

    def complete(self, request: httpx.Request | HttpRequest) -> HttpRequest:
        """Return `request` as it leaves: with its credential, and with nothing unasked for."""
        url, content, placeholder = request.url, request.content, PLACEHOLDER.encode()
        if placeholder in url.raw_path:
            path = url.raw_path.replace(placeholder, (self._key or "").encode())
            url = url.copy_with(raw_path=path)
        if self._shape is not None:
            url, content = self._shape(url, content)
        content = _complete_body(content, self._own, self._extra)
        stated = request.headers
        raw = stated.raw if isinstance(stated, httpx.Headers) else stated
        headers = self._complete_headers(raw, url, len(content))
        if self._sign is not None:
            signed = httpx.Request(request.method, url, headers=headers, content=content)
            signed.headers.update(self._sign(signed))
            headers = signed.headers.raw
        return HttpRequest(request.method, url, headers, content)

    def _complete_headers(self, stated: Headers, url: httpx.URL, length: int) -> Headers:
        placeholder, key = PLACEHOLDER.encode(), self._key
        own = {name.lower().encode() for name in self._headers}
        names = {name.lower() for name, _ in stated} | own
        headers = [(b"Accept-Encoding", b"identity"), (b"Content-Length", str(length).encode())]
        if b"host" not in names:
            headers.insert(0, (b"Host", url.netloc))
        if length and b"content-type" not in names:
            # Ollama itself guesses; servers that only speak its API do not.
            headers.append((b"Content-Type", b"application/json"))
        for name, value in stated:
            lower = name.lower()
            if lower in own:
                continue
            if placeholder in value:
                if key:
                    headers.append((name, value.replace(placeholder, key.encode())))
            elif lower in _CLIENT_HEADERS:
                headers.append((name, value))
        return headers + [(name.encode(), value.encode()) for name, value in self._headers.items()]


def _headers_of(request: Request) -> Mapping[str, str]:
    connection = request.connection
    account = {
        "OpenAI-Organization": connection.organization,
        "OpenAI-Project": connection.project,
    }
    return {**{name: text for name, text in account.items() if text}, **connection.headers}


def _complete_body(content: bytes, own: Mapping[str, Any], extra: Mapping[str, Any]) -> bytes:
    """Return a JSON body completed with `own`, and with `extra` merged into it.

    Where both hold a mapping, `extra` is merged; anything else in it replaces.
    """
    if not content or not (own or extra):
        return content
    body = json.loads(content)
    if not isinstance(body, dict):
        return content
    completed = merge_extra(complete_body(body, own), thaw(extra))
    return json.dumps(completed, ensure_ascii=False).encode()
