"""Where the requests of an LM go, and which of its values may go there.

A credential belongs to the destination of the block that states it: the address that stands beside
it or that the block inherits, else the provider's own. An LM that takes the credential over and
sends its requests elsewhere must restate it. Destinations are alike where provider and origin
(scheme, host and port) are; a referenced address is like the same reference alone; the servers that
lmconf launches are alike; regions, projects and versions are the provider's own to place.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Note
from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Path,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    nearest_mark,
)
from lmconf.providers.catalogue import NOWHERE, PROVIDERS, origin, provider_of
from lmconf.schema.declaration import field_names
from lmconf.schema.fault import UnreadableValue
from lmconf.secrets.references import Env, File, Given, Public
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.lm import LMSpec, SoleLMSpec
from lmconf.spec.merge_rules import CREDENTIALS
from lmconf.spec.plain_data import to_data
from lmconf.spec.rules.fields import launches, text_of

__all__ = [
    "CARRIED",
    "Destination",
    "StatedValue",
    "Statement",
    "addressing_fields",
    "credentials_in",
    "destination_of",
    "find_crossed",
    "leaves_of",
    "may_be_sent",
    "node_identities",
    "place_of",
    "without_credentials",
]

_SECRETS = frozenset(field_names(LMSpec, lambda field: field.role == "secret"))
_ACCOUNTS = frozenset(field_names(LMSpec, lambda field: field.bound_to == "account"))
_BODY = (
    frozenset(field_names(SoleLMSpec, lambda field: field.holds_secrets and field.per_call))
    - CREDENTIALS
)

CARRIED = tuple(sorted(CREDENTIALS | _BODY | _ACCOUNTS))
"""Fields of which something belongs to a destination."""

_WHERE = field_names(LMSpec, lambda field: field.locates)

_LAUNCHED: Literal["launched"] = "launched"
_UNKNOWN: Literal["unknown"] = "unknown"
_PORTS = {"http": 80, "https": 443}

Server: TypeAlias = "str | Env | File | Given"


class Destination(Struct, frozen=True):
    """A provider, and a server: its origin, the reference to its address, or `launched`.

    `server` is empty where the provider has an address of its own that is not known here.
    """

    provider: str
    server: Server

    def __str__(self) -> str:
        provider = PROVIDERS.get(self.provider)
        match self.server:
            case Env(name=name) if provider is None or name != provider.base_env:
                return f"the address in {name}"
            case File(path=path):
                return f"the address in {path}"
            case Given():
                return "the address that code gives"
            case "launched":
                return "a server that is launched"
            case "unknown":
                return "an address that is not known"
            case str(server) if server and (provider is None or server != _own(provider.base)):
                return server
            case _:
                return f"{self.provider or 'its provider'}'s own address"


class Statement(Struct, frozen=True):
    """A value of an LM, where it stands in it, and the block that states it.

    `beside` is what that block says or inherits of where requests go, in the document that states
    the value.
    """

    path: Path
    node: Node
    beside: Map


class StatedValue(Struct, frozen=True):
    """What an LM has that may belong to a destination; `unset` is where its address was unset."""

    values: tuple[Statement, ...] = ()
    unset: Mark | None = None


def destination_of(data: Mapping[str, Any], provider: str = "") -> Destination | None:
    """Return where an LM sends its requests, None where it sends none or that is not known.

    Args:
        data: the plain data of the LM, or of a block of one.
        provider: its provider, for a block that has no model.
    """
    if any(isinstance(data.get(name), UnreadableValue) for name in _WHERE):
        return None
    model = text_of(data, "model")
    name = provider if model is None else provider_of(model)[0]
    if launches(data):
        return Destination(name, _LAUNCHED)
    base = data.get("api_base")
    if isinstance(base, Public):
        base = base.value
    if base == NOWHERE:
        return None
    if isinstance(base, Env | File | Given):
        return Destination(name, base)
    if isinstance(base, str):
        return Destination(name, _own(base) or base)
    known = PROVIDERS.get(name)
    if known is None:
        return Destination(name, "")
    return Destination(name, Env(known.base_env) if known.base_env else _own(known.base))


def may_be_sent(path: Path, one: Destination, other: Destination) -> bool:
    """Say whether a value of an LM may be sent to another destination than its own.

    A profile of AWS's configuration files is an account's, whichever of its services is asked.

    Args:
        path: the path of the value in the LM.
        one: the destination that the value belongs to.
        other: where it would be sent.
    """
    return one == other or (path[0] in _ACCOUNTS and one.server == other.server)


@functools.lru_cache(maxsize=256)
def _own(address: str | None) -> str:
    """Return the origin of `address` without the port that its scheme has anyway."""
    address_origin = origin(address or "")
    if not address_origin:
        return ""
    parts = urlsplit(address_origin)
    return address_origin.removesuffix(f":{_PORTS.get(parts.scheme)}")


def leaves_of(lm: Map) -> Iterator[tuple[Path, Node]]:
    """Yield path and node of each value that belongs to a provider or to an address."""
    for key in CARRIED:
        value = lm.get(key)
        for path, node in () if value is None else _leaves(value, (key,)):
            if key in CREDENTIALS or _is_credential(path, node):
                yield path, node


def _leaves(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    match node:
        case Map():
            for key, value in node:
                yield from _leaves(value, (*path, key))
        case Seq(items=items):
            for index, item in enumerate(items):
                yield from _leaves(item, (*path, index))
        case Broken():
            pass
        case _:
            yield path, node


def credentials_in(lm: Map) -> Iterator[tuple[Path, Node]]:
    """Yield path and node of each value of `lm` that only its destination may be told."""
    provider = PROVIDERS.get(provider_of(text_of(_plain(lm), "model") or "")[0])
    for path, node in leaves_of(lm):
        # One that no SDK of a cloud reads is sent nowhere.
        idle = path[0] in _ACCOUNTS and not (provider and provider.credentials == "cloud")
        if not idle and _is_credential(path, node):
            yield path, node


def _is_credential(path: Path, node: Node) -> bool:
    field = path[0]
    if field == "api_base":
        return False
    match node:
        case Reference(to=Env(type=kind)) if field in _BODY and kind != "str":
            return False
        case Reference():
            return True
        case Scalar(value=value) | Verbatim(value=value):
            secret = field in _SECRETS | _ACCOUNTS
            return bool(value) and (
                secret or any(isinstance(step, str) and is_secret_name(step) for step in path[1:])
            )
        case _:
            return False


def without_credentials(lm: Map) -> Map:
    """Return `lm` without what belongs to its provider and address; lists go as wholes."""
    dropped_paths = {path[: _up_to_list(path)] for path, _ in credentials_in(lm)}
    dropped_paths |= {(key,) for key in CREDENTIALS}

    def without_dropped(node: Node, path: Path) -> Node:
        if not isinstance(node, Map):
            return node
        entries = {
            k: without_dropped(v, (*path, k)) for k, v in node if (*path, k) not in dropped_paths
        }
        return Map(entries, node.keys, node.mark)

    remaining = without_dropped(lm, ())
    assert isinstance(remaining, Map)
    return remaining


def _up_to_list(path: Path) -> int:
    return next((end for end, step in enumerate(path) if isinstance(step, int)), len(path))


def addressing_fields(lm: Map) -> Map:
    """Return what of `lm` decides where its requests go."""
    return Map({key: lm.entries[key] for key in _WHERE if key in lm}, lm.keys, lm.mark)


def node_identities(node: Node | None, identities: set[int] | None = None) -> set[int]:
    """Return the identity of every node that `node` is or has in it, operators of lists included.

    Folding keeps what it takes over: by its identity a value is found again where it was stated.
    """
    identities = set() if identities is None else identities
    if node is None:
        return identities
    identities.add(id(node))
    match node:
        case Map(entries=entries):
            for value in entries.values():
                node_identities(value, identities)
        case Seq(items=items):
            for item in items:
                node_identities(item, identities)
        case Change(base=base, prepend=prepend, append=append):
            for part in (base, *prepend, *append):
                node_identities(part, identities)
        case _:
            pass
    return identities


def find_crossed(stated: StatedValue, lm: Map, path: Path = ()) -> list[Diagnostic]:
    """Return a diagnostic for each value that would be sent elsewhere than where it belongs.

    Args:
        stated: what the LM has, with the block that states each value; templates are rendered.
        lm: the LM as it is in the end.
        path: where it stands in its document.
    """
    now = destination_of(_plain(lm))
    if now is None or "model" not in lm or not stated.values:
        return []
    credentials = dict(credentials_in(lm))
    homes: dict[int, Destination] = {}
    diagnostics = []
    for statement in stated.values:
        if id(statement.beside) not in homes:
            homes[id(statement.beside)] = _home(statement.beside, now)
        was = homes[id(statement.beside)]
        if may_be_sent(statement.path, was, now):
            continue
        if was.provider != now.provider and statement.path[0] not in _ACCOUNTS:
            if statement.path[0] in CREDENTIALS or statement.path in credentials:
                diagnostics.append(_to_another_provider(statement, was, now, lm, path))
        elif statement.path in credentials:
            place = place_of(lm, stated.unset)
            diagnostics.append(_to_another_address(statement, was, now, place, path))
    return diagnostics


def _home(beside: Map, now: Destination) -> Destination:
    """Return where the block `beside` leads; no LM is like one of which that cannot be read."""
    data = _plain(beside)
    model = text_of(data, "model")
    provider = now.provider if model is None else provider_of(model)[0]
    return destination_of(data, provider) or Destination(provider, _UNKNOWN)


def _plain(lm: Map) -> dict[str, Any]:
    data = to_data(addressing_fields(lm))
    assert isinstance(data, dict)
    return data


def _to_another_provider(
    statement: Statement, was: Destination, now: Destination, lm: Map, path: Path
) -> Diagnostic:
    name = ".".join(map(str, statement.path))
    return Diagnostic(
        code="credential-crosses",
        message=f"`{name}` belongs to {was.provider} and would be sent to {now.provider}",
        mark=statement.node.mark,
        path=(*path, *statement.path),
        label=f"stated for {was.provider}",
        help=f"state `{name}` beside the new model",
        notes=(Note(f"this model is served by {now.provider}", lm.entries["model"].mark),),
    )


def _to_another_address(
    statement: Statement, was: Destination, now: Destination, place: Mark, path: Path
) -> Diagnostic:
    name = ".".join(map(str, statement.path))
    none = '`""`' if statement.path == ("api_key",) else "`{$unset: true}`"
    # Code has no word that takes a key out of data.
    can_be_unset = place.line or statement.path[0] not in _BODY
    return Diagnostic(
        code="credential-crosses",
        message=f"`{name}` belongs to {was} and would be sent to {now}",
        mark=statement.node.mark,
        path=(*path, *statement.path),
        label=f"stated for {was}",
        help=f"state `{name}` beside the new address"
        + (f", or {none} there to send none" if can_be_unset else ""),
        notes=(Note(f"this leads to {now}", place),),
    )


def place_of(lm: Map, unset: Mark | None = None) -> Mark:
    """Return the place that decides the address of an LM.

    Args:
        lm: the LM; it has a model.
        unset: where an inherited address was taken away from it.
    """
    decides = next(key for key in reversed(_WHERE) if key in lm)
    return (decides == "model" and unset) or nearest_mark(lm, (decides,))
