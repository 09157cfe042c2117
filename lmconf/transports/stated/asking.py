"""The body, the address and the headers of a request that is sent as it was stated."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx

from lmconf.errors import BadRequest
from lmconf.transports.contract import Json, Request
from lmconf.transports.exchange import PLACEHOLDER, merged

__all__ = ["DEFAULT_AZURE_VERSION", "asked", "credential_of", "is_azure"]

DEFAULT_AZURE_VERSION = "2024-10-21"
"""Azure's generally available version of the API, used where a profile names none."""

_PATHS = {"chat": "chat/completions", "text": "completions"}
_AZURE = frozenset(("azure", "azure_ai", "azure_text"))
_AZURE_AD_TYPES = ("azure_ad", "azuread")
# The values of `api_type` with which `api_key` is a token, as in the OpenAI SDK before 1.0.


def asked(request: Request, *, stream: bool) -> httpx.Request:
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
        body = merged(body, request.extra)
    try:
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        unwritable = str(error)
    else:
        headers = {
            "Content-Type": "application/json",
            # Of streams, too: OpenAI's own client says nothing else.
            "Accept": "application/json",
            "User-Agent": "lmconf",
            **credential_of(request),
        }
        return httpx.Request("POST", url, headers=headers, content=content)
    raise BadRequest(f"the request cannot be written as JSON: {unwritable}")


def is_azure(request: Request) -> bool:
    """Say whether Azure is asked, which has addresses and headers of its own."""
    return request.provider in _AZURE


def credential_of(request: Request) -> dict[str, str]:
    """Return the header in which the credential is sent, with a placeholder for it."""
    other = request.connection.other
    token = "azure_ad_token" in other or other.get("api_type") in _AZURE_AD_TYPES
    if is_azure(request) and not token:
        return {"api-key": PLACEHOLDER}
    return {"Authorization": f"Bearer {PLACEHOLDER}"}


def _address(request: Request) -> str:
    base = request.connection.base
    if not base:
        raise BadRequest(f"{request.provider}/ has no address of its own", help="state `api_base`")
    path = _PATHS[request.route]
    if request.provider not in ("azure", "azure_text"):
        return f"{base.rstrip('/')}/{path}"
    root = base.partition("/openai")[0].rstrip("/")
    version = request.connection.other.get("api_version") or DEFAULT_AZURE_VERSION
    if version == "v1":
        return f"{root}/openai/v1/{path}"
    deployment = quote(request.model, safe="")
    return f"{root}/openai/deployments/{deployment}/{path}?api-version={quote(version, safe='')}"
