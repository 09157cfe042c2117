"""Which calls have the same answer: the identity of an LM, and the key of a call.

Everything that steers an answer or says where it comes from is part of it; secrets, timeouts,
retries and tracing never are. References count by what they lead to, so that two servers, tenants
or values never share an answer; those to secrets count by their name, so that a new key does not
make kept answers unreachable. A name says which they are: the variable's, or that of its place.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from msgspec import Struct

from lmconf.caches import spec_digest
from lmconf.document.operators import OPTIONS
from lmconf.launchers.specs import LaunchSpec
from lmconf.providers.catalogue import origin, provider_of
from lmconf.runtime.connection import (
    Path,
    base_address,
    is_left_to_sdk,
    resolve_field,
    resolve_references,
)
from lmconf.schema.declaration import field_names
from lmconf.secrets.references import REFERENCES, Env, File
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.system.paths import with_home
from lmconf.system.tracebacks import hide_frames, is_interrupt

__all__ = [
    "TRACING_HEADERS",
    "IdentityFacts",
    "References",
    "describe_identity",
    "describe_pool",
    "digest_references",
    "file_digest",
    "identity_digest",
    "identity_facts",
    "identity_settings",
    "may_change",
    "pool_digest",
    "steering_references",
]

TRACING_HEADERS = frozenset(
    "traceparent tracestate baggage x-request-id x-correlation-id x-trace-id x-session-id"
    " x-amzn-trace-id x-cloud-trace-context x-b3-traceid x-b3-spanid x-b3-parentspanid"
    " x-b3-sampled b3 sentry-trace helicone-session-id user-agent".split()
)
"""Headers that tell calls apart for people and steer no answer: they are no part of a key."""

_IDENTITY = field_names(LMSpec, lambda field: field.role == "identity")
# The two others say where an answer comes from, and have rules of their own.
_STEERING = tuple(name for name in _IDENTITY if name not in ("model", "endpoint"))
_SERVER = tuple(
    name
    for name in field_names(LaunchSpec, lambda field: field.role == "identity")
    if name not in ("use", "weights")
)
_PLACES = field_names(LMSpec, lambda field: field.tells_apart)


ReferenceDigests: TypeAlias = Mapping[Path, str]
"""Digests of what references lead to, by their paths: the values themselves are not kept."""
References: TypeAlias = tuple[tuple[Path, Env | File], ...]


class IdentityFacts(Struct, frozen=True):
    """What of an LM's identity may change while the LM lives.

    `base` is the address of its server, None where that has none of its own; `places` are the
    values of the connection's fields that tell answers apart; `weights` is what a server loads.
    """

    base: str | None
    places: tuple[str | None, ...]
    references: ReferenceDigests
    weights: str | None


@hide_frames
def identity_facts(
    spec: LMSpec, compiled: CompiledLM, references: References | None = None
) -> IdentityFacts:
    """Return what of an LM's identity may change while the LM lives: addresses, values, a file.

    `references` are the `steering_references` of `spec`, where they are known.

    Raises:
        CallError: a reference leads nowhere.
    """
    base = None if spec.launch_kwargs else base_address(spec, compiled)
    if base is None and is_left_to_sdk(spec):
        base = _workspace()
    places = tuple(resolve_field(getattr(spec, name), compiled, (name,)) for name in _PLACES)
    if references is None:
        references = steering_references(spec)
    digests = digest_references(references, compiled)
    return IdentityFacts(base, places, digests, _weights_digest(spec))


@hide_frames
def digest_references(references: References, compiled: CompiledLM) -> ReferenceDigests:
    """Return the digests of what `references` lead to now.

    Raises:
        CallError: one leads nowhere.
    """
    return {
        path: hashlib.sha256(
            json.dumps(resolve_references(reference, compiled, path, [])).encode()
        ).hexdigest()
        for path, reference in references
    }


def may_change(spec: LMSpec) -> bool:
    """Say whether an LM's identity can change while it lives: by a reference, or by a file."""
    places = (spec.api_base, *(getattr(spec, name) for name in _PLACES))
    return bool(
        spec.launch_kwargs
        or spec.pool
        or any(isinstance(place, REFERENCES) for place in places)
        or steering_references(spec)
    )


def steering_references(spec: LMSpec) -> References:
    """Return each reference to no secret among what steers an answer, with its path."""
    server = spec.launch_kwargs
    pairs: list[tuple[Path, object]] = [((name,), getattr(spec, name)) for name in _STEERING]
    for name, value in spec.headers.items():
        if name.lower() not in TRACING_HEADERS:
            pairs.append((("headers", name), value))
    if server is not None and spec.endpoint is None:
        pairs += [(("launch_kwargs", name), getattr(server, name)) for name in _SERVER]
    pairs.append((("transport", "args"), spec.transport.args))
    return tuple(each for path, value in pairs for each in _references(value, path))


def _references(value: object, path: Path) -> Iterator[tuple[Path, Env | File]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _references(item, (*path, key))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _references(item, (*path, index))
    elif isinstance(value, Env | File) and not _is_secret(value, path):
        yield path, value


def _is_secret(reference: Env | File, path: Path) -> bool:
    named = reference.name if isinstance(reference, Env) else FilePath(reference.path).name
    return is_secret_name(named) or any(
        isinstance(step, str) and is_secret_name(step) for step in path
    )


def _workspace() -> str:
    """Return what names the workspace that Databricks' SDK asks: its address, else a profile."""
    host = os.environ.get("DATABRICKS_HOST")
    if host:
        return host if "://" in host else f"https://{host}"
    profile = os.environ.get("DATABRICKS_CONFIG_PROFILE") or "default"
    return f"databricks-profile://{quote(profile, safe='')}"


def identity_digest(spec: LMSpec, facts: IdentityFacts) -> bytes:
    """Return the digest of everything that all calls with `spec` have in common.

    `facts` are its `identity_facts`.
    """
    return spec_digest(
        {"from": _answer_source(spec, facts), "settings": _settings(spec, facts.references)}
    )


def pool_digest(
    spec: LMSpec, digests: ReferenceDigests, members: Iterable[tuple[LMSpec, IdentityFacts]]
) -> bytes:
    """Return the digest of what all calls to a pool with `spec` have in common.

    Args:
        spec: the pool's.
        digests: those of what the pool's own references lead to.
        members: where answers come from, in any order, unless the pool names its `endpoint`.
    """
    where: Any = {"endpoint": spec.endpoint}
    if spec.endpoint is None:
        sources = (_answer_source(member, facts) for member, facts in members)
        where = {"pool": sorted(sources, key=lambda part: json.dumps(part, sort_keys=True))}
    if spec.cache.namespace is not None:
        where["namespace"] = spec.cache.namespace
    return spec_digest({"from": where, "settings": _settings(spec, digests)})


_SHOWN = frozenset((*_IDENTITY, "address", "transport"))
"""Texts of an identity that people know an LM by, and that are no account's."""


def describe_identity(spec: LMSpec, facts: IdentityFacts) -> dict[str, Any]:
    """Return what an LM's identity is made of, by name, to say what makes two LMs' answers differ.

    Short values are as they are and others digests; none is a secret. `facts` are the
    `identity_facts` of `spec`.
    """
    where = _answer_source(spec, facts)
    del where["provider"]
    if isinstance(spec.api_base, REFERENCES) and "address" in where:
        where["address"] = _digest(where["address"])
    return _shorten({**where, "model": spec.model, **_settings(spec, facts.references)})


def describe_pool(spec: LMSpec, digests: ReferenceDigests, digest: bytes) -> dict[str, Any]:
    """Return what a pool's identity is made of, as `describe_identity` does.

    Args:
        spec: the pool's.
        digests: those of what the pool's own references lead to.
        digest: that of the whole pool.
    """
    whole = {**_settings(spec, digests), "model": spec.model, "pool": f"sha256:{digest.hex()}"}
    return _shorten(whole)


def _shorten(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        if isinstance(value, bool | int | float)
        or (isinstance(value, str) and (name in _SHOWN or value.startswith("sha256:")))
        else _digest(value)
        for name, value in whole.items()
        if value is not None
    }


def _digest(value: object) -> str:
    return f"sha256:{spec_digest({'value': value}).hex()[:32]}"


def identity_settings(spec: LMSpec) -> dict[str, Any]:
    """Return the fields that steer an answer as plain data; what is left out is not in it.

    References stay references, spelled as a document spells them.
    """
    return {name: _write_value(value) for name, value in _steering(spec)}


def _settings(spec: LMSpec, digests: ReferenceDigests) -> dict[str, Any]:
    """Return the fields that steer an answer as they count in a digest."""
    return {name: _digest_value(value, (name,), digests) for name, value in _steering(spec)}


def _steering(spec: LMSpec) -> Iterator[tuple[str, Any]]:
    for name in _STEERING:
        value = getattr(spec, name)
        if value is not None and value != {}:
            yield name, value


def _answer_source(spec: LMSpec, facts: IdentityFacts) -> dict[str, Any]:
    provider, model = provider_of(spec.model)
    outer = facts.references
    where: dict[str, Any] = {"provider": provider, "model": model}
    server = spec.launch_kwargs
    if spec.endpoint is not None:
        where["endpoint"] = spec.endpoint
    elif server is not None:
        where["server"] = {"kind": server.use, "weights": facts.weights}
        for name in _SERVER:
            if (stated := getattr(server, name)) or name == "args":
                where["server"][name] = _digest_value(stated, ("launch_kwargs", name), outer)
    elif facts.base is not None:
        where["address"] = origin(facts.base) + urlsplit(facts.base).path
    places = zip(_PLACES, facts.places, strict=True)
    where.update({name: text for name, text in places if text is not None})
    headers = {
        name.lower(): _digest_value(value, ("headers", name), outer)
        for name, value in spec.headers.items()
        if name.lower() not in TRACING_HEADERS
    }
    if headers:
        where["headers"] = headers
    if spec.cache.namespace is not None:
        where["namespace"] = spec.cache.namespace
    if spec.transport.use != "litellm":
        where["transport"] = {
            "use": spec.transport.use,
            "args": _digest_value(spec.transport.args, ("transport", "args"), outer),
        }
    return where


def _digest_value(value: Any, path: Path, digests: ReferenceDigests) -> Any:
    """Return a value of a spec as it counts in a digest."""
    if path in digests:
        return digests[path]
    if isinstance(value, REFERENCES):
        return dict(value.written())
    if isinstance(value, Mapping):
        items = {key: _digest_value(item, (*path, key), digests) for key, item in value.items()}
        # Else data that spells a reference would count as one.
        return items if value.keys().isdisjoint(OPTIONS) else {"$value": items}
    if isinstance(value, tuple):
        return [_digest_value(item, (*path, index), digests) for index, item in enumerate(value)]
    return value


def _write_value(value: Any) -> Any:
    """Return a value of a spec as plain data, references by what they name."""
    if isinstance(value, REFERENCES):
        return dict(value.written())
    if isinstance(value, Mapping):
        return {key: _write_value(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_write_value(item) for item in value]
    return value


def _weights_digest(spec: LMSpec) -> str | None:
    """Return what a launched server loads: the digest of a file, else a model's name."""
    server = spec.launch_kwargs
    if server is None:
        return None
    named = server.weights or provider_of(spec.model)[1]
    path = with_home(named)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        if is_interrupt(error):
            raise
        return named
    if not path.is_file():
        return named
    return file_digest(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def file_digest(path: str, modified: int, size: int) -> str:
    """Return the SHA-256 of a file; it is read again when its time or size changes."""
    digest = hashlib.sha256()
    with FilePath(path).open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
