"""Amazon Bedrock and SageMaker: signed by AWS's Signature Version 4, after the body is complete."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from msgspec.structs import replace

from lmconf.errors import AuthenticationFailed, BadRequest
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.masks import MASK
from lmconf.transports.clouds.credentials import CloudRoute, CredentialCache, Sign, missing, refusal
from lmconf.transports.http.http_request import PLACEHOLDER
from lmconf.transports.transport import Request

if TYPE_CHECKING:
    from botocore.credentials import Credentials

__all__ = ["find_route"]

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+\Z")
_REGION_VARIABLES = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
_HOSTS = {"bedrock": "bedrock-runtime", "sagemaker": "runtime.sagemaker"}
# The partitions of AWS, by how their regions begin.
_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("", "amazonaws.com"),
)
# Of what a profile may add, AWS signs what begins like this.
_SIGNED = re.compile(r"(content-type|x-amzn?-.*)\Z", re.IGNORECASE)

_HELP = (
    "state `aws_profile_name`, or `aws_access_key_id` with `aws_secret_access_key`, or set up the"
    " machine's own credentials (`aws configure`)"
)
_KEPT_FOR = 60.0
"""How long the machine's credentials are kept, in seconds; those that expire renew themselves."""


def find_route(request: Request, *, streaming: bool) -> CloudRoute:
    """Return the way to the endpoint of `request` in its region.

    Raises:
        CallError: the region or a credential cannot be had.
    """
    connection = request.connection
    service = "bedrock" if request.provider == "bedrock" else "sagemaker"
    keyless = connection.key is not None
    if keyless and connection.key and service == "sagemaker":
        raise BadRequest("SageMaker does not accept `api_key`: its requests are signed", help=_HELP)
    region = _region(request, needed=not (keyless and connection.base))
    base = connection.base or f"https://{_HOSTS[service]}.{region}.{_suffix(region)}"
    sign: Sign | None = None
    secrets: tuple[str, ...] = ()
    if not keyless:
        credentials = _credentials(connection.other, connection.base is not None)
        sign = _signing(credentials, service, region)
        secrets = tuple(text for text in credentials if text)
    return CloudRoute(
        request=_as_one_text(replace(request, connection=replace(connection, base=base))),
        told=FrozenMap(_litellm_arguments(request, base, region, streaming)),
        shape=_strip_litellm_arguments,
        sign=sign,
        secrets=secrets,
    )


def _litellm_arguments(request: Request, base: str, region: str, streaming: bool) -> dict[str, Any]:
    """Return what keeps litellm from looking for an address, a region or a credential itself."""
    told: dict[str, Any] = {"aws_region_name": region}
    if request.provider == "bedrock":
        return {**told, "aws_bedrock_runtime_endpoint": base}
    for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"):
        told[name] = PLACEHOLDER
    action = "invocations-response-stream" if streaming else "invocations"
    endpoint = f"{base}/endpoints/{quote(request.model, safe='')}/{action}"
    told["sagemaker_base_url"] = endpoint
    if request.provider == "sagemaker":
        # Otherwise litellm asks a hub for the chat template of a model called like the endpoint.
        told["roles"] = {"user": {"pre_message": "", "post_message": ""}}
    return told


_TOLD = (
    "aws_region_name aws_access_key_id aws_secret_access_key aws_session_token"
    " aws_bedrock_runtime_endpoint sagemaker_base_url roles".split()
)


def _strip_litellm_arguments(url: httpx.URL, content: bytes) -> tuple[httpx.URL, bytes]:
    """Take from the body what only litellm was to know: it leaves some of that there."""
    body = json.loads(content)
    for part in (body, body.get("parameters")):
        for name in _TOLD if isinstance(part, dict) else ():
            part.pop(name, None)
    return url, json.dumps(body, ensure_ascii=False).encode()


def _as_one_text(request: Request) -> Request:
    """Return a request of `sagemaker/` with its messages as one text: its API knows no others.

    Raises:
        BadRequest: a message holds something else than text.
    """
    if request.provider != "sagemaker" or request.route == "text":
        return request
    texts = []
    for message in request.messages:
        content = message.get("content")
        parts = [{"text": content}] if isinstance(content, str) else content
        found = [part.get("text") for part in parts or () if isinstance(part, Mapping)]
        if not found or not all(isinstance(text, str) for text in found):
            raise BadRequest(
                "sagemaker/ takes texts alone", help="an endpoint for chats is `sagemaker_chat/`"
            )
        texts.append("".join(map(str, found)))
    return replace(request, messages=({"role": "user", "content": "\n\n".join(texts)},))


def _suffix(region: str) -> str:
    return next(suffix for prefix, suffix in _SUFFIXES if region.startswith(prefix))


def _region(request: Request, *, needed: bool) -> str:
    stated = request.connection.other.get("aws_region_name")
    named = re.match(r"(?:[a-z_]+/)*([a-z]{2}(?:-[a-z]+)+-\d+)/", request.model)
    arn = re.search(r"arn:aws[a-z-]*:(?:bedrock|sagemaker):([a-z0-9-]+):", request.model)
    found = stated or (named and named[1]) or (arn and arn[1]) or _usual_region(request)
    if not found and not needed:
        return "us-east-1"  # where nothing is signed it leads nowhere
    if not found:
        raise BadRequest("the AWS region is not stated", help="state `aws_region_name: us-east-1`")
    if not _REGION.match(found):
        raise BadRequest(f"{found[:40]!r} is no AWS region", help="state `aws_region_name`")
    return str(found)


def _usual_region(request: Request) -> str | None:
    for name in _REGION_VARIABLES:
        if os.environ.get(name):
            return os.environ[name]
    try:
        from botocore.session import Session
    except ImportError:
        return None
    try:
        profile = request.connection.other.get("aws_profile_name")
        region: str | None = Session(profile=profile).get_config_variable("region")
    except Exception:  # noqa: BLE001 - a broken configuration is told where credentials are read
        return None
    return region


# --- credentials --------------------------------------------------------------------------------

_Frozen = tuple[str, str, str | None]


def _credentials(other: Mapping[str, str], elsewhere: bool) -> _Frozen:
    """Return the access key's id, the secret and the session token to sign with.

    `elsewhere` says that the address is the profile's own: this machine's credentials stay here.
    """
    key, secret = other.get("aws_access_key_id"), other.get("aws_secret_access_key")
    profile = other.get("aws_profile_name")
    if key and secret:
        return key, secret, other.get("aws_session_token")
    if key or secret:
        absent = "aws_secret_access_key" if key else "aws_access_key_id"
        raise AuthenticationFailed(f"`{absent}` is not stated", help=_HELP)
    if elsewhere and not profile:
        raise AuthenticationFailed(
            "the profile sets the address and does not state which account's credentials to send"
            " there",
            help=_HELP,
        )
    return _machine_credentials(profile)


@functools.cache
def _credentials_cache() -> CredentialCache[Credentials]:
    # The account is the machine's, and so is what is found of it.
    return CredentialCache()


def _machine_credentials(profile: str | None) -> _Frozen:
    """Return the credentials that AWS's own chain finds: variables, files, roles, containers."""
    said = sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    found = _credentials_cache().get((profile, said), lambda: _find_credentials(profile), _KEPT_FOR)
    failure: AuthenticationFailed
    try:
        frozen = found.get_frozen_credentials()  # renews them, once for all threads, if need be
    except Exception as error:  # noqa: BLE001 - botocore raises many kinds of errors
        failure = refusal(error, (), _HELP)
    else:
        return frozen.access_key, frozen.secret_key, frozen.token
    raise failure


def _find_credentials(profile: str | None) -> Credentials:
    try:
        from botocore.session import Session
    except ImportError:
        raise missing("bedrock", "botocore", "aws") from None
    failure: AuthenticationFailed
    try:
        found: Credentials | None = Session(profile=profile).get_credentials()
    except Exception as error:  # noqa: BLE001 - botocore raises many kinds of errors
        failure = refusal(error, (), _HELP)
    else:
        if found is not None:
            return found
        failure = AuthenticationFailed("no AWS credentials were found", help=_HELP)
    raise failure


# --- signature ----------------------------------------------------------------------------------


_TOKEN = re.compile(r"(x-amz-security-token:)\S+", re.IGNORECASE)


class _WithoutToken(logging.Filter):
    """Masks the token of a session, which botocore logs at DEBUG with what it signs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without the token."""
        text = record.getMessage()
        if _TOKEN.search(text):
            record.msg, record.args = _TOKEN.sub(rf"\1{MASK}", text), ()
        return True


@functools.cache
def _mask_tokens_in_logs() -> None:
    logging.getLogger("botocore.auth").addFilter(_WithoutToken())


def _signing(credentials: _Frozen, service: str, region: str) -> Sign:
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError:
        raise missing(service, "botocore", "aws") from None
    _mask_tokens_in_logs()

    def sign(request: httpx.Request) -> dict[str, str]:
        told = {k: v for k, v in request.headers.items() if _SIGNED.match(k)}
        made = AWSRequest(
            method=request.method, url=str(request.url), data=request.content, headers=told
        )
        SigV4Auth(Credentials(*credentials), service, region).add_auth(made)
        names = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")
        return {name: made.headers[name] for name in names if name in made.headers}

    return sign
