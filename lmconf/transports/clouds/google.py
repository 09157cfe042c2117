"""Google Vertex AI: an access token of Google Cloud, and the address of each publisher's models."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from msgspec.structs import replace

from lmconf.errors import AuthenticationFailed, BadRequest, NotCarriedOut
from lmconf.system.fork import Mutex
from lmconf.transports.clouds.credentials import (
    CloudRoute,
    CredentialCache,
    Shape,
    Sign,
    missing,
    refusal,
)
from lmconf.transports.transport import Request

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

__all__ = ["find_route"]

DEFAULT_LOCATION = "us-central1"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_CLAUDE = "vertex-2023-10-16"
"""The version of Anthropic's API as Vertex AI names it."""

_HELP = (
    "state `vertex_credentials: {$file: key.json}`, or set up the machine's own credentials"
    " (`gcloud auth application-default login`)"
)


def find_route(request: Request) -> CloudRoute:
    """Return the way to the model of `request`, of whichever publisher it is.

    Raises:
        CallError: the project or a credential cannot be had, or the model is of no known kind.
    """
    if request.route != "chat":
        raise BadRequest(
            f"{request.provider}/ has no API for `model_type: {request.route}`",
            help="set `model_type: chat`",
        )
    connection = request.connection
    sign: Sign | None = None
    secrets: tuple[str, ...] = ()
    project = connection.other.get("vertex_project")
    if connection.key is None:
        token, owner = _token(connection.other, connection.base is not None)
        project, secrets = project or owner, (token,)
        sign = _bearer_sign(token)
    if not project:
        raise BadRequest("which Google Cloud project is not stated", help="state `vertex_project`")
    location = (connection.other.get("vertex_location") or DEFAULT_LOCATION).lower()
    root = connection.base or _host(location)
    root = root if re.search(r"/v\d\w*\Z", root) else f"{root}/v1"
    place = f"{root}/projects/{quote(project, safe=':')}/locations/{location}"
    provider, model, base, shape = _as_litellm_knows(request, place)
    return CloudRoute(
        request=replace(
            request, provider=provider, model=model, connection=replace(connection, base=base)
        ),
        shape=shape,
        sign=sign,
        secrets=secrets,
    )


def _host(location: str) -> str:
    """Return the address of a region, of a multi-region such as `eu`, or of `global`."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if "-" not in location:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _as_litellm_knows(request: Request, place: str) -> tuple[str, str, str, Shape | None]:
    """Return provider, model and base by which litellm shapes a request as its publisher wants.

    Each publisher's models speak their own API: Google's are Gemini's, Anthropic's the messages
    API, and those that Google hosts itself the OpenAI API.
    """
    model = request.model
    if model.startswith("claude"):
        at = f"{place}/publishers/anthropic/models/{model}"
        return "anthropic", model, place, _raw_predict(at, {"anthropic_version": _CLAUDE})
    if re.match(r"mistral|codestral|jamba", model):
        publisher = "ai21" if model.startswith("jamba") else "mistralai"
        at = f"{place}/publishers/{publisher}/models/{model}"
        return "custom_openai", model.partition("@")[0], place, _raw_predict(at, None)
    if "/" not in model:
        if model.isdigit():  # a tuned model's endpoint
            return "gemini", model, place, _rename_model("/models/", "/endpoints/")
        return "gemini", model, f"{place}/publishers/google", None
    if re.match(r"[a-z0-9-]+/[A-Za-z0-9._@-]+\Z", model) and not model.startswith(
        ("agent_engine/", "bge/", "gemma/", "gemini/", "openai/")
    ):
        return "custom_openai", model, f"{place}/endpoints/openapi", None
    if model.startswith("openai/gpt-oss"):
        return "custom_openai", model, f"{place}/endpoints/openapi", None
    raise NotCarriedOut(
        f"`vertex_ai/{model}` is a kind of endpoint that cannot be asked yet",
        help="Gemini's, Claude's, Mistral's, AI21's models and those of a `publisher/` can",
    )


def _raw_predict(at: str, added: Mapping[str, Any] | None) -> Shape:
    """Send to a publisher's model; with `added` the body names a version in the model's place."""

    def shape(url: httpx.URL, content: bytes) -> tuple[httpx.URL, bytes]:
        body = json.loads(content)
        if added is not None:
            del body["model"]
            body = {**added, **body}
        verb = "streamRawPredict" if body.get("stream") else "rawPredict"
        return httpx.URL(f"{at}:{verb}"), json.dumps(body, ensure_ascii=False).encode()

    return shape


def _rename_model(old: str, new: str) -> Shape:
    def shape(url: httpx.URL, content: bytes) -> tuple[httpx.URL, bytes]:
        head, _, tail = url.raw_path.decode().rpartition(old)
        return url.copy_with(raw_path=f"{head}{new}{tail}".encode()), content

    return shape


# --- credentials --------------------------------------------------------------------------------


class _Account:
    """One account's credentials, whose token is renewed by one thread at a time."""

    def __init__(self, credentials: Credentials, project: str | None) -> None:
        self._credentials = credentials
        self._lock = Mutex()
        self.project = project

    def token(self) -> str:
        from google.auth.transport.requests import Request as Fetch

        with self._lock:
            if not self._credentials.valid:
                self._credentials.refresh(Fetch())  # type: ignore[no-untyped-call]
            return str(self._credentials.token)


@functools.cache
def _account_cache() -> CredentialCache[_Account]:
    # A token serves every LM of the process that asks by the same account.
    return CredentialCache()


def _token(other: Mapping[str, str], elsewhere: bool) -> tuple[str, str | None]:
    """Return an access token that is still good, and the project that its account belongs to.

    `elsewhere` says that the address is the profile's own: this machine's credentials stay here.
    """
    said = other.get("vertex_credentials")
    if said is None and elsewhere:
        raise AuthenticationFailed(
            "the profile sets the address and does not state which account's credentials to send"
            " there",
            help=_HELP,
        )
    failure: AuthenticationFailed
    try:
        found = _account_cache().get(
            said or _surroundings(), lambda: _Account(*_find_credentials(said))
        )
        return found.token(), found.project
    except ImportError:
        raise missing("vertex_ai", "google-auth[requests]", "google") from None
    except AuthenticationFailed as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - google-auth raises many kinds of errors
        failure = refusal(error, (said or "",), _HELP)
    raise failure.with_traceback(None)


def _surroundings() -> list[tuple[str, str]]:
    """Return what decides which credentials Google's chain finds."""
    names = ("GOOGLE_", "CLOUDSDK_", "GCE_", "GCLOUD_")
    return sorted((k, v) for k, v in os.environ.items() if k.startswith(names))


def _find_credentials(said: str | None) -> tuple[Credentials, str | None]:
    import google.auth

    if said is None:
        credentials, project = google.auth.default(scopes=_SCOPES)
        return credentials, project
    try:
        info = json.loads(said)
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise AuthenticationFailed(
            "`vertex_credentials` is no JSON object", help="name the file: {$file: key.json}"
        )
    return _of_type(info), info.get("project_id") or info.get("quota_project_id")


def _of_type(info: dict[str, Any]) -> Credentials:
    """Return the credentials that `info` describes.

    Raises:
        AuthenticationFailed: it is of no known type, or would run a program.
    """
    from google.auth import aws, identity_pool, impersonated_credentials
    from google.oauth2 import credentials, service_account

    kind, source = info.get("type"), info.get("credential_source")
    made: Any = None
    if kind == "service_account":
        made = service_account.Credentials.from_service_account_info
    elif kind == "authorized_user":
        made = credentials.Credentials.from_authorized_user_info
    elif kind == "impersonated_service_account":
        of = impersonated_credentials.Credentials
        made = of.from_impersonated_service_account_info
    elif kind == "external_account" and isinstance(source, dict) and "executable" not in source:
        ours = aws if "environment_id" in source else identity_pool
        made = ours.Credentials.from_info
    if made is None:
        raise AuthenticationFailed(
            f"`vertex_credentials` is of a type that is not taken: {str(kind)[:40]!r}",
            help="name the key file of a service account: {$file: key.json}",
        )
    found: Credentials = made(info, scopes=_SCOPES)
    return found


def _bearer_sign(token: str) -> Sign:
    def sign(request: httpx.Request) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    return sign
