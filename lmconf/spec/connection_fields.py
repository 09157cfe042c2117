"""How the server of an LM is reached: its address, the account, the credential."""

from __future__ import annotations

from typing import Annotated, ClassVar

from lmconf.schema import Flag, MapOf, Referable, Secret, Text
from lmconf.schema.declaration import connection, identity, secret
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Reference
from lmconf.spec.generation_fields import GenerationFields

__all__ = ["REGION", "REGION_PATTERN", "ConnectionFields"]

Address = str | Reference

_ADDRESS = Referable(Text(what="an http(s) address", pattern=r"^https?://[^\s/]\S*$"))
_TEXT = Text()
REGION_PATTERN = r"^[A-Za-z0-9-]+$"
"""What a region may be: it becomes a part of a host's name."""

REGION = Referable(Text(what="a region such as `us-east-1`", pattern=REGION_PATTERN))


class ConnectionFields(GenerationFields, frozen=True, kw_only=True):
    """Where requests go, and in whose name; the fields of the model come first."""

    __part__: ClassVar[bool] = True

    api_key: Annotated[
        str | Reference | None,
        secret(
            Secret(),
            'The credential. Left out, the provider\'s usual variable; `""` sends none.',
            examples=({"$env": "OPENAI_API_KEY"},),
            untrusted=True,
        ),
    ] = None
    api_base: Annotated[
        Address | None,
        connection(
            _ADDRESS,
            "The server's address, in place of the provider's own.",
            examples=("http://localhost:11434",),
            locates=True,
            bound_to="server",
            risk="choose where prompts are sent",
        ),
    ] = None
    api_version: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "The API's version.",
            examples=("2024-10-21",),
            cloud="place",
            tells_apart=True,
            risk="choose which API is asked",
        ),
    ] = None
    api_type: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "`azure_ad`: Azure's `api_key` is a token.",
            cloud="place",
            risk="choose how the credential is sent",
        ),
    ] = None
    organization: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "The account's organization.",
            tells_apart=True,
            risk="choose which account pays",
        ),
    ] = None
    project: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "The account's project.",
            tells_apart=True,
            risk="choose which account pays",
        ),
    ] = None
    headers: Annotated[
        FrozenMap[str, Address],
        connection(
            MapOf(Referable(Text(empty=True)), secrets=True),
            "HTTP headers sent with every request.",
            examples=({"X-Team": {"$env": "TEAM_TOKEN", "format": "team {}"}},),
            per_call=True,
            bound_to="server",
            holds_secrets=True,
            on_fallback="drop",
            risk="add to what is said to the server",
        ),
    ] = FrozenMap()
    endpoint: Annotated[
        str | None,
        identity(
            _TEXT,
            "Names where answers come from, in place of the address, in cache keys.",
            in_pool=None,
            in_dspy=False,
            risk="answer for other addresses",
        ),
    ] = None
    allow_http: Annotated[
        bool,
        connection(
            Flag(),
            "Whether plain http may leave this machine.",
            in_dspy=False,
            risk="allow unencrypted connections",
        ),
    ] = False
    aws_region_name: Annotated[
        Address | None,
        connection(
            REGION,
            "AWS region.",
            cloud="place",
            tells_apart=True,
            risk="choose where prompts are sent",
        ),
    ] = None
    aws_profile_name: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "Profile of the AWS configuration files.",
            cloud="credential",
            bound_to="account",
            risk="choose an account of this machine",
        ),
    ] = None
    aws_access_key_id: Annotated[
        str | Reference | None,
        secret(Secret(), "AWS access key id.", cloud="credential", untrusted=True),
    ] = None
    aws_secret_access_key: Annotated[
        str | Reference | None,
        secret(Secret(), "AWS secret access key.", cloud="account", untrusted=True),
    ] = None
    aws_session_token: Annotated[
        str | Reference | None,
        secret(Secret(), "AWS session token.", cloud="account", untrusted=True),
    ] = None
    azure_ad_token: Annotated[
        str | Reference | None,
        secret(Secret(), "Azure Active Directory token.", cloud="account", untrusted=True),
    ] = None
    vertex_project: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "Google Cloud project.",
            cloud="account",
            tells_apart=True,
            risk="choose which account pays",
        ),
    ] = None
    vertex_location: Annotated[
        Address | None,
        connection(
            REGION,
            "Google Cloud region.",
            cloud="place",
            tells_apart=True,
            risk="choose where prompts are sent",
        ),
    ] = None
    vertex_credentials: Annotated[
        str | Reference | None,
        secret(
            Secret(),
            "Google Cloud credentials (a JSON key file).",
            cloud="credential",
            untrusted=True,
        ),
    ] = None
