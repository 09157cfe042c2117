"""A request over HTTP, and how a body of JSON becomes one."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import httpx

from lmconf.errors import BadRequest
from lmconf.providers.catalogue import record_of
from lmconf.secrets.references import Masked
from lmconf.system.tracebacks import is_interrupt
from lmconf.transports.transport import Json, Request

__all__ = [
    "PLACEHOLDER",
    "Headers",
    "HttpRequest",
    "json_post",
    "merge_extra",
    "origin_of",
    "url_of",
]

PLACEHOLDER = "lmconf-places-the-credential-here"
"""What stands in the place of a credential until the request leaves."""

Headers: TypeAlias = list[tuple[bytes, bytes]]


class HttpRequest(Masked):
    """A request over HTTP: less than what httpx makes of one, and much quicker to make."""

    __slots__ = ("content", "headers", "method", "url")

    def __init__(self, method: str, url: httpx.URL, headers: Headers, content: bytes) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.content = content

    def __repr__(self) -> str:
        """Name the host alone: everything else may hold a secret."""
        return f"HttpRequest({self.method} {self.url.host})"


# Addresses are few, and parsing one takes longer than most of what is done with a request.
url_of = functools.lru_cache(maxsize=256)(httpx.URL)


def origin_of(url: httpx.URL) -> str:
    """Return scheme, host and port of `url`."""
    port = url.port or {"https": 443, "http": 80}.get(url.scheme)
    return f"{url.scheme}://{url.host}:{port}"


def merge_extra(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with `extra` in it: mappings in both are merged, anything else replaces."""
    merged = dict(body)
    for key, value in extra.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_extra(before, value)
        else:
            merged[key] = value
    return merged


def json_post(request: Request, url: httpx.URL, body: Json, accept: str) -> HttpRequest:
    """Return the request that posts `body` to `url`, with a placeholder for the credential.

    Raises:
        BadRequest: the body cannot be written as JSON.
    """
    try:
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        if is_interrupt(error):
            raise
        unwritable = str(error)
    else:
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Accept", accept.encode()),
            (b"User-Agent", b"lmconf"),
            _credential(request),
        ]
        return HttpRequest("POST", url, headers, content)
    raise BadRequest(f"the request cannot be written as JSON: {unwritable}")


def _credential(request: Request) -> tuple[bytes, bytes]:
    """Return the header of the credential: Azure has one for keys, and takes tokens as all do."""
    if record_of(request.provider).azure and not request.connection.by_azure_token:
        return (b"api-key", PLACEHOLDER.encode())
    return (b"Authorization", b"Bearer " + PLACEHOLDER.encode())
