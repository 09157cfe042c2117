"""Which calls have the same answer: the identity of an LM, and the key of a call.

Everything that steers an answer or says where it comes from is part of it; secrets, timeouts,
retries and tracing never are. References to addresses and accounts count by what they lead to, so
that two servers never share an answer; references in headers and in `extra` count by their name.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from lmconf.caches import spec_digest
from lmconf.frames import without_frames
from lmconf.profile.compiled import Compiled
from lmconf.profile.lm import LMSpec
from lmconf.profile.providers import origin, provider_of
from lmconf.runtime.connecting import base_of, is_left_to_sdk, resolved
from lmconf.spec.declaring import fields
from lmconf.spec.navigating import REFERENCES

__all__ = [
    "TRACING_HEADERS",
    "digest_of",
    "digest_of_file",
    "digest_of_pool",
    "facts",
    "settings_of",
]

TRACING_HEADERS = frozenset(
    "traceparent tracestate baggage x-request-id x-correlation-id x-trace-id x-session-id"
    " x-amzn-trace-id x-cloud-trace-context x-b3-traceid x-b3-spanid x-b3-parentspanid"
    " x-b3-sampled b3 sentry-trace helicone-session-id user-agent".split()
)
"""Headers that tell calls apart for people and steer no answer: they are no part of a key."""

# Identity fields that are written into the key by their own rules.
_APART = frozenset(("model", "endpoint", "cache", "launch_kwargs"))
_STEERING = tuple(
    name
    for name, field in fields(LMSpec).items()
    if field.role == "identity" and name not in _APART
)
_PLACES = (
    "organization",
    "project",
    "api_version",
    "aws_region_name",
    "vertex_project",
    "vertex_location",
)


@without_frames
def facts(spec: LMSpec, compiled: Compiled) -> tuple[object, ...]:
    """Return what of an LM's identity may change while the LM lives: addresses and a file.

    Raises:
        CallError: a reference leads nowhere.
    """
    base = None if spec.launch_kwargs else base_of(spec, compiled)
    if base is None and is_left_to_sdk(spec):
        base = _workspace()
    names = tuple(resolved(getattr(spec, name), compiled, (name,)) for name in _PLACES)
    return (base, *names, _weights(spec))


def _workspace() -> str:
    """Return what names the workspace that Databricks' SDK asks: its address, else a profile."""
    host = os.environ.get("DATABRICKS_HOST")
    if host:
        return host if "://" in host else f"https://{host}"
    profile = os.environ.get("DATABRICKS_CONFIG_PROFILE") or "default"
    return f"databricks-profile://{quote(profile, safe='')}"


def digest_of(spec: LMSpec, found: tuple[object, ...]) -> bytes:
    """Return the digest of everything that all calls with `spec` have in common.

    `found` are its `facts`.
    """
    return spec_digest({"from": _where(spec, found), "settings": settings_of(spec)})


def digest_of_pool(spec: LMSpec, members: Iterable[tuple[LMSpec, tuple[object, ...]]]) -> bytes:
    """Return the digest of what all calls to a pool with `spec` have in common.

    Where it names its `endpoint`, that says where its answers come from, whoever its `members`
    are; else it is where all of them do, in any order.
    """
    where: Any = {"endpoint": spec.endpoint}
    if spec.endpoint is None:
        written = (_where(member, found) for member, found in members)
        where = {"pool": sorted(written, key=lambda part: json.dumps(part, sort_keys=True))}
    if spec.cache.namespace is not None:
        where["namespace"] = spec.cache.namespace
    return spec_digest({"from": where, "settings": settings_of(spec)})


def settings_of(spec: LMSpec) -> dict[str, Any]:
    """Return the fields that steer an answer as plain data; what is left out is not in it."""
    settings: dict[str, Any] = {}
    for name in _STEERING:
        value = getattr(spec, name)
        if value is not None and value != {}:
            settings[name] = _written(value)
    return settings


def _where(spec: LMSpec, found: tuple[object, ...]) -> dict[str, Any]:
    provider, model = provider_of(spec.model)
    base, weights = found[0], found[-1]
    where: dict[str, Any] = {"provider": provider, "model": model}
    server = spec.launch_kwargs
    if spec.endpoint is not None:
        where["endpoint"] = spec.endpoint
    elif server is not None:
        where["server"] = {"kind": server.use, "weights": weights, "args": _written(server.args)}
        for name in ("raw_args", "adapters", "command"):
            if stated := getattr(server, name):
                where["server"][name] = _written(stated)
    elif isinstance(base, str):
        where["address"] = origin(base) + urlsplit(base).path
    where.update(
        {name: text for name, text in zip(_PLACES, found[1:-1], strict=True) if text is not None}
    )
    headers = {
        name.lower(): _written(value)
        for name, value in spec.headers.items()
        if name.lower() not in TRACING_HEADERS
    }
    if headers:
        where["headers"] = headers
    if spec.cache.namespace is not None:
        where["namespace"] = spec.cache.namespace
    if spec.transport.use != "litellm":
        where["transport"] = {"use": spec.transport.use, "args": _written(spec.transport.args)}
    return where


def _written(value: Any) -> Any:
    """Return a value of a spec as plain data, references by what they name."""
    if isinstance(value, REFERENCES):
        return dict(value.written())
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    return value


def _weights(spec: LMSpec) -> str | None:
    """Return what a launched server loads: the digest of a file, else a model's name."""
    server = spec.launch_kwargs
    if server is None:
        return None
    named = server.weights or provider_of(spec.model)[1]
    path = Path(named).expanduser()
    try:
        found = path.stat()
    except (OSError, ValueError):
        return named
    if not path.is_file():
        return named
    return digest_of_file(str(path), found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=64)
def digest_of_file(path: str, modified: int, size: int) -> str:
    """Return the SHA-256 of a file; it is read again when its time or size changes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
