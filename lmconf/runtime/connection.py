"""From the references of a spec to the connection of one request, as they are now."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lmconf.diagnostics.model import Mark
from lmconf.errors import AuthenticationFailed, CallError, ConnectionFailed
from lmconf.providers.catalogue import PROVIDERS, is_loopback, provider_of
from lmconf.schema.declaration import field_names
from lmconf.schema.patterns import matches
from lmconf.secrets.references import (
    REFERENCES,
    Env,
    File,
    Given,
    HiddenValues,
    MissingReference,
    Public,
    convert_text,
    resolve_parts,
)
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.connection_fields import REGION, REGION_PATTERN
from lmconf.spec.lm import LMSpec
from lmconf.system.tracebacks import hide_frames
from lmconf.transports import Connection

__all__ = [
    "PLACES",
    "Path",
    "base_address",
    "is_left_to_sdk",
    "make_connection",
    "resolve_arguments",
    "resolve_field",
    "resolve_references",
    "stated_fields",
]

Path = tuple[str | int, ...]

_REGIONS = field_names(LMSpec, lambda field: field.shape == REGION)
_OTHERS = field_names(LMSpec, lambda field: field.cloud)
PLACES = frozenset(field_names(LMSpec, lambda field: field.cloud == "place"))
"""Fields of clouds whose values messages may repeat: hosts are made of them."""

# A reference in one of these that leads nowhere is a credential that is missing.
_CREDENTIALS = frozenset(
    field_names(LMSpec, lambda field: field.role == "secret" or field.holds_secrets)
)


def stated_fields(spec: LMSpec) -> tuple[str, ...]:
    """Return the fields beside a connection's own ones of which `spec` says something."""
    return tuple(name for name in _OTHERS if getattr(spec, name) is not None)


def make_connection(
    spec: LMSpec, compiled: CompiledLM, base: str | None, stated: tuple[str, ...], met: list[str]
) -> Connection:
    """Return how the server of `spec` at `base` is reached, with every reference resolved.

    `stated` are the fields that `stated_fields` names. `met` holds what references of the request's
    body led to: no message may repeat that either.

    Raises:
        AuthenticationFailed: a credential or a header leads nowhere.
        ConnectionFailed: an address or a name leads nowhere, or is none.
    """
    met = list(met)
    other = {name: resolve_field(getattr(spec, name), compiled, (name,), met) for name in stated}
    for name in _REGIONS:
        region = other.get(name)
        if region is not None and not matches(REGION_PATTERN, region):
            place = compiled.place(name)
            raise _unusable_reference(
                f"`{name}` leads to something that is no region", compiled, place
            )
    by_sdk = is_left_to_sdk(spec)
    key = None if by_sdk else resolve_field(spec.api_key, compiled, ("api_key",), met)
    if not by_sdk and key is None and spec.api_key is not None:
        key = ""  # `{$public: null}`: nothing of the environment takes its place
    if key is None:
        # Azure takes a token in the place of a key, and the transport only ever sends one.
        key = other.get("azure_ad_token")
    headers = {
        name: resolve_field(value, compiled, ("headers", name), met) or ""
        for name, value in spec.headers.items()
    }
    return Connection(
        base=base,
        key=key,
        headers=HiddenValues(headers),
        organization=resolve_field(spec.organization, compiled, ("organization",), met),
        project=resolve_field(spec.project, compiled, ("project",), met),
        other=HiddenValues({name: text for name, text in other.items() if text is not None}),
        places=PLACES,
        hidden=tuple(met),
    )


@hide_frames
def base_address(spec: LMSpec, compiled: CompiledLM) -> str | None:
    """Return the address of the server: the one stated, else the provider's own; None: neither.

    Raises:
        ConnectionFailed: the address leads nowhere, is none, is plain http to another machine,
            or holds more than scheme, host, port and path.
    """
    if is_left_to_sdk(spec):
        return None
    if spec.api_base is None:
        provider = PROVIDERS.get(provider_of(spec.model)[0])
        return provider.base if provider is not None else None
    base = resolve_field(spec.api_base, compiled, ("api_base",))
    assert base is not None
    wrong = _check_base(base, spec.transport.use == "litellm", spec.allow_http)
    if wrong is not None:
        message, help_ = wrong
        raise _unusable_reference(message, compiled, compiled.place("api_base"), help=help_)
    return base.rstrip("/")


@functools.lru_cache(maxsize=256)
def _check_base(base: str, sent_by_litellm: bool, allow_http: bool) -> tuple[str, str] | None:
    """Return why nothing can be sent to `base`, and how to mend it; None where it can."""
    if not re.match(r"https?://[^\s/]+", base):
        return "`api_base` leads to something that is no http(s) address", ""
    parts = urlsplit(base)
    if sent_by_litellm and (parts.username or parts.query or parts.fragment):
        return (
            "`api_base` leads to an address with a user, `?` or `#` in it, which is not sent",
            "an address ends with its path; credentials belong under `api_key` or `headers`",
        )
    if base.startswith("http://") and not allow_http and not is_loopback(base):
        return (
            "`api_base` leads to plain http on another machine",
            "use https, or say `allow_http: true`",
        )
    return None


def is_left_to_sdk(spec: LMSpec) -> bool:
    """Say whether the provider's SDK finds address and credential, as this machine is set up.

    It does where both are left to the provider's usual variables, and neither is set.
    """
    if not isinstance(spec.api_base, Env):
        return False
    provider = PROVIDERS.get(provider_of(spec.model)[0])
    if provider is None or not provider.sdk:
        return False
    usual = (provider.base_env or "", provider.key_env or "")
    return (spec.api_base, spec.api_key) == tuple(map(Env, usual)) and not any(
        os.environ.get(name) for name in usual
    )


def resolve_field(
    value: object, compiled: CompiledLM, path: Path, met: list[str] | None = None
) -> str | None:
    """Return the text that the field at `path` stands for now; None for a field left out.

    What a reference led to, before it was formatted, is added to `met`.

    Raises:
        AuthenticationFailed: a credential, a header or anything given in code leads nowhere.
        ConnectionFailed: something else leads nowhere.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Public):
        return None if value.value is None else str(value.value)
    missing = ""
    if isinstance(value, Given):
        name = value.name if value.name in compiled.given else ".".join(map(str, path))
        text = compiled.given.get(name)
        if text is not None and not re.search(r"[\x00-\x1f\x7f]", text):
            if met is not None:
                met.append(text)
            return text
        missing = f"`{name}` was given in code and no state holds it"
        if text is not None:
            missing = f"what was given in code as `{name}` holds control characters"
        help_ = f"pass it again: lm.copy({path[0]}=…)"
    else:
        assert isinstance(value, Env | File)
        help_ = ""
        try:
            whole, text = resolve_parts(value)
        except MissingReference as error:
            missing = str(error)
        else:
            if met is not None:
                met.append(text)
            return whole
    shown = ".".join(map(str, path))
    kind: type[CallError] = AuthenticationFailed if path[0] in _CREDENTIALS else ConnectionFailed
    named = f"set {value.name}, or name another variable" if isinstance(value, Env) else ""
    raise kind(
        f"`{shown}` cannot be had: {missing}",
        lm=compiled.name,
        place=compiled.place(*path),
        retryable=False,
        help=help_ or named or f"check what `{shown}` names",
    )


def resolve_references(value: Any, compiled: CompiledLM, path: Path, met: list[str]) -> Any:
    """Return the plain data `value` with each reference in it resolved.

    What a reference led to, before it was formatted, is added to `met`.

    Raises:
        AuthenticationFailed: one of them leads nowhere.
    """
    if isinstance(value, Public):
        return value.value
    if isinstance(value, Env) and value.type != "str":
        return _resolve_typed(value, compiled, path, met)
    if isinstance(value, REFERENCES):
        return resolve_field(value, compiled, path, met)
    if isinstance(value, Mapping):
        return {
            key: resolve_references(item, compiled, (*path, key), met)
            for key, item in value.items()
        }
    if isinstance(value, tuple):
        return [resolve_references(item, compiled, (*path, i), met) for i, item in enumerate(value)]
    return value


def _resolve_typed(
    reference: Env, compiled: CompiledLM, path: Path, met: list[str]
) -> int | float | bool:
    # `true` is nothing to be masked.
    text = resolve_field(reference, compiled, path, None if reference.type == "bool" else met)
    value = convert_text(text or "", reference.type)
    if value is None or isinstance(value, str):
        raise AuthenticationFailed(
            f"`{'.'.join(map(str, path))}` cannot be had: environment variable {reference.name}"
            f" is not of the type `{reference.type}`",
            lm=compiled.name,
            place=compiled.place(*path),
            retryable=False,
            help=f"mend {reference.name}, or name another variable",
        )
    return value


def resolve_arguments(
    compiled: CompiledLM, path: Path, arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the `arguments` that stand at `path` with their references resolved.

    Raises:
        AuthenticationFailed: one of them leads nowhere.
    """
    found: dict[str, Any] = resolve_references(arguments, compiled, path, [])
    return found


def _unusable_reference(
    message: str, compiled: CompiledLM, place: Mark | None, help: str = ""
) -> ConnectionFailed:
    return ConnectionFailed(message, lm=compiled.name, place=place, retryable=False, help=help)
