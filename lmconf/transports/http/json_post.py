"""A body and an address as the request that is sent: JSON, and the headers of our own client."""

from __future__ import annotations

import json

import httpx

from lmconf.errors import BadRequest
from lmconf.system.tracebacks import is_interrupt
from lmconf.transports.http.attempt import PLACEHOLDER, HttpRequest
from lmconf.transports.transport import Json, Request

__all__ = ["json_post"]

_AZURE = frozenset(("azure", "azure_ai", "azure_text"))
# The values of `api_type` with which `api_key` is a token, as in the OpenAI SDK before 1.0.
_AZURE_AD_TYPES = ("azure_ad", "azuread")


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
    other = request.connection.other
    token = "azure_ad_token" in other or other.get("api_type") in _AZURE_AD_TYPES
    if request.provider in _AZURE and not token:
        return (b"api-key", PLACEHOLDER.encode())
    return (b"Authorization", b"Bearer " + PLACEHOLDER.encode())
