"""Rules of how the server of an LM is reached: its provider, its address, and the credential."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.providers.catalogue import (
    PROVIDERS,
    Provider,
    is_address,
    is_loopback,
    origin,
    provider_of,
)
from lmconf.providers.routes import NAMES_IN_PATHS, is_foreign
from lmconf.schema.check import Fault
from lmconf.schema.declaration import field_names
from lmconf.schema.fault import UnreadableValue
from lmconf.secrets.references import Env
from lmconf.spec.lm import LMSpec
from lmconf.spec.rules.fields import launches, text_of, transport_of

__all__ = ["check_access", "name_usual_variable", "usual_credential"]

Data = Mapping[str, Any]


def check_access(data: Data) -> Iterator[Fault]:
    """Yield what is wrong with the provider, the address, the headers and the credential of an LM."""
    yield from _check_provider(data)
    yield from _check_name_in_path(data)
    yield from _check_credential(data)
    yield from _check_azure_credential(data)
    yield from _check_address(data)
    yield from _check_control_characters(data)


def name_usual_variable(faults: list[Fault], data: Data) -> list[Fault]:
    """Return faults that name the provider's usual variable where a key must be a reference.

    Args:
        faults: what the check of an LM found.
        data: the plain data of the LM.
    """
    model = text_of(data, "model")
    provider = PROVIDERS.get(provider_of(model)[0]) if model is not None else None
    if provider is None or provider.key_env is None or "api_base" in data:
        return faults
    return [
        replace(fault, help=fault.help.replace("$env: API_KEY", f"$env: {provider.key_env}"))
        if fault.code == "literal-secret" and fault.path == ("api_key",)
        else fault
        for fault in faults
    ]


def usual_credential(data: Data, provider: Provider) -> Env | str | None:
    """Return the credential that is sent where none is stated, None where there is no usual one.

    Args:
        data: the plain data of an LM.
        provider: its provider: the variable is sent to the provider's own address alone, and `""`
            sends none.
    """
    base = data.get("api_base")
    if provider.credentials == "optional":
        return ""
    if provider.key_env is None or data.get("azure_ad_token") is not None:
        return None
    if base is None or base == Env(name=provider.base_env or ""):
        return Env(name=provider.key_env)
    if isinstance(base, str) and provider.base and origin(base) == origin(provider.base):
        return Env(name=provider.key_env)
    return None


def _check_provider(data: Data) -> Iterator[Fault]:
    model = text_of(data, "model")
    if model is None or transport_of(data) != "litellm":
        return
    provider, name = provider_of(model)
    if "://" in name:
        yield Fault(
            "no-model",
            ("model",),
            "`model` holds an address and no model",
            help="state the address as `api_base`, with the `api_key` to send there",
        )
    elif not provider:
        near = "openai" if re.match(r"(gpt|o\d|text-)", model) else None
        near = "anthropic" if model.startswith("claude") else near
        yield Fault(
            "no-provider",
            ("model",),
            f"`{model}` does not say which provider serves it",
            label=f"did you mean `{near}/{model}`?" if near else "",
            help="a model is written `provider/name`, such as `openai/gpt-4o-mini`",
        )
    elif provider not in PROVIDERS:
        near = did_you_mean(provider, PROVIDERS)
        yield Fault(
            "unknown-provider",
            ("model",),
            f"unknown provider `{provider}`",
            label=f"did you mean `{near}/{name}`?" if near else "",
            help="a server that speaks the OpenAI API is `openai/<model>` with its `api_base`",
        )
    elif not name:
        yield Fault("no-model", ("model",), f"`{model}` names a provider and no model")


_CLOUD_CREDENTIALS = field_names(LMSpec, lambda field: field.cloud == "credential")


# What would end a path, or lead out of it (RFC 3986, 3.3 and 5.2.4).
_OUT_OF_PATH = re.compile(r"[\x00-\x20\x7f?#%\\]|(^|/)\.{0,2}(/|$)")


def _check_name_in_path(data: Data) -> Iterator[Fault]:
    """Yield a fault for a name that would change where a request goes, or what it asks for."""
    model = text_of(data, "model")
    if model is None or launches(data) or transport_of(data) != "litellm":
        return
    provider, name = provider_of(model)
    route = text_of(data, "model_type") or "chat"
    if provider not in PROVIDERS or "://" in name or not name:
        return
    if provider not in NAMES_IN_PATHS and not is_foreign(provider, route):
        return
    match = _OUT_OF_PATH.search(name)
    if match is not None:
        yield Fault(
            "no-model",
            ("model",),
            f"`{match[0] or '/'}` cannot stand in the name of a model of {provider}/: it would change"
            " the address that is asked",
            help="write the model's name alone",
        )


def _check_credential(data: Data) -> Iterator[Fault]:
    model = text_of(data, "model")
    if model is None or "api_key" in data or launches(data) or transport_of(data) != "litellm":
        return
    provider = PROVIDERS.get(provider_of(model)[0])
    if provider is None or isinstance(data.get("api_base"), UnreadableValue):
        return
    if provider.credentials == "cloud" and "api_base" in data:
        if not any(data.get(name) is not None for name in _CLOUD_CREDENTIALS):
            yield Fault(
                "no-credential",
                ("api_base",),
                "this address is the profile's own, and which account's credentials to send there"
                " is not said",
                help="add `aws_profile_name`, `aws_access_key_id` and `aws_secret_access_key`, or"
                " `vertex_credentials`: those of this machine go to the provider's own address"
                " only",
            )
    elif provider.credentials == "unknown":
        yield Fault(
            "no-credential",
            ("model",),
            f"which key to send to `{provider.name}` is not said",
            help='add `api_key: {$env: NAME}`, or `api_key: ""` to send none',
            at_key=True,
        )
    elif provider.credentials == "key" and usual_credential(data, provider) is None:
        if data.get("azure_ad_token") is not None:
            return
        usual = provider.key_env or "NAME"
        yield Fault(
            "no-credential",
            ("api_base",),
            "this address is the profile's own, and which key to send there is not said",
            help=f"add `api_key: {{$env: NAME}}` (`{usual}` is sent to {provider.name}'s own address"
            ' only), or `api_key: ""` to send none',
        )


_API_TYPES = ("azure", "azure_ad", "azuread", "open_ai", "openai")


def _check_azure_credential(data: Data) -> Iterator[Fault]:
    """Azure is sent a key or a token of its directory, never both (Azure OpenAI REST API)."""
    if data.get("api_key") is not None and data.get("azure_ad_token") is not None:
        yield Fault(
            "contradiction",
            ("azure_ad_token",),
            "`azure_ad_token` and `api_key` are both stated, and only one of them is sent",
            help="leave one of them out",
            at_key=True,
        )
    stated, model = text_of(data, "api_type"), text_of(data, "model")
    if stated is None or model is None or transport_of(data) != "litellm":
        return
    azure = provider_of(model)[0].startswith("azure")
    if stated not in _API_TYPES or stated.startswith("azure") is not azure:
        yield Fault(
            "unknown-value",
            ("api_type",),
            f"`api_type` cannot be `{stated}` for `{model}`",
            help="leave it out; `azure_ad` says that an `azure/` LM's `api_key` is a token",
        )


def _check_address(data: Data) -> Iterator[Fault]:
    base = text_of(data, "api_base")
    if base is None:
        return
    if not is_address(base):
        yield Fault(
            "bad-address",
            ("api_base",),
            "`api_base` does not name a host and a port",
            help="an address is written `https://host` or `https://host:port/path`",
        )
        return
    parts = urlsplit(base)
    if transport_of(data) == "litellm" and (parts.query or parts.fragment):
        yield Fault(
            "bad-address",
            ("api_base",),
            "`api_base` holds more than an address: what follows `?` or `#` is not sent",
            help="end it with its path; `api_version` and `headers` have fields of their own",
        )
    if parts.scheme == "http" and not is_loopback(base) and data.get("allow_http") is not True:
        yield Fault(
            "plain-http",
            ("api_base",),
            f"plain http to {parts.hostname} sends prompts and keys unencrypted",
            help="write `https://…`, or add `allow_http: true` if the network is trusted",
        )


_CONNECTION = field_names(LMSpec, lambda field: field.role == "connection")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# They say where a message ends and whom it is for (RFC 9110, 7.2 and 7.6): the client's alone.
_FRAMING = frozenset(
    "connection content-length expect host keep-alive proxy-authorization proxy-connection te"
    " trailer transfer-encoding upgrade".split()
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def _check_control_characters(data: Data) -> Iterator[Fault]:
    """Control characters in an address or header would let a value add headers (RFC 9110, 5.5)."""
    for name in _CONNECTION:
        value = data.get(name)
        for path, text in (
            [((name, key), item) for key, item in value.items()]
            if isinstance(value, Mapping)
            else [((name,), value)]
        ):
            if isinstance(text, str) and _CONTROL.search(text):
                yield Fault("control-character", path, f"`{path[-1]}` holds control characters")
    headers = data.get("headers")
    for key in headers if isinstance(headers, Mapping) else ():
        if key.lower() in _FRAMING:
            yield Fault(
                "bad-name",
                ("headers", key),
                f"the header `{key}` is not a profile's to set",
                help="leave it out: it says whom a message is for or where it ends",
                at_key=True,
            )
        if not _HEADER_NAME.match(key):
            yield Fault(
                "bad-name",
                ("headers", key),
                "this is not the name of a header",
                help="names are letters, digits and `-`, such as `X-Team`",
                at_key=True,
            )
