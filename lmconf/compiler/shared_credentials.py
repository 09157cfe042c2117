"""A credential that several LMs share by inheritance must belong to one destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Note
from lmconf.document.nodes import Map, Node, Path, Reference, Scalar, Verbatim
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.destinations import (
    Destination,
    addressing_fields,
    credentials_in,
    destination_of,
    may_be_sent,
    place_of,
)
from lmconf.spec.merge_rules import CREDENTIALS
from lmconf.spec.plain_data import to_data
from lmconf.spec.rules.pools import is_pool

__all__ = ["find_shared_credentials"]

_Place: TypeAlias = "tuple[str, int, int]"


class _Use(Struct, frozen=True):
    """An LM and where it sends what it shares."""

    name: str
    lm: Map
    to: Destination


def find_shared_credentials(
    entries: Mapping[str, Node], data: Mapping[str, object]
) -> list[Diagnostic]:
    """Return a diagnostic for each credential that would go to several providers or addresses.

    Values are told apart by where they stand: one place that reaches several LMs is inherited, or
    copied by `<<`. A YAML alias under a key of its own states its value there, and may repeat it
    for other addresses of one provider.

    Args:
        entries: the LMs of a profile by name, rendered.
        data: the plain data of each, completed.
    """
    first: dict[tuple[str, _Place], _Use] = {}
    reported: set[_Place] = set()
    diagnostics = []
    for name, node in entries.items():
        use = _use(name, node, data.get(name))
        if use is None:
            continue
        for path, value, (kind, place) in _shared_places(use.lm):
            earlier = first.setdefault((kind, place), use)
            theirs, mine = earlier.to, use.to
            if kind == "provider":
                same = theirs.provider == mine.provider
            else:
                same = may_be_sent(path, theirs, mine)
            if not same and not reported & {place, value.mark.key}:
                reported |= {place, value.mark.key}
                diagnostics.append(_shared_diagnostic(path, value.mark, earlier, use))
    return diagnostics


def _use(name: str, node: Node, data: object) -> _Use | None:
    if not isinstance(node, Map) or not isinstance(data, Mapping) or is_pool(data):
        return None
    address = to_data(addressing_fields(node))
    to = destination_of(address) if isinstance(address, dict) and "model" in address else None
    return None if to is None or not isinstance(data.get("model"), str) else _Use(name, node, to)


def _shared_places(lm: Map) -> Iterator[tuple[Path, Node, tuple[str, _Place]]]:
    """Yield each value that must have one destination, and the place that says whether it does."""
    for path, value in _for_one_provider(lm):
        yield path, value, ("provider", _place(value.mark, value))
    for path, value in credentials_in(lm):
        yield path, value, ("address", _place(lm.keys.get(str(path[0]), lm.mark), value))


def _place(mark: Mark, value: Node) -> _Place:
    # A value made in code has no place of its own, and is one object where it is inherited.
    return mark.key if mark.line else ("", 0, id(value))


def _for_one_provider(lm: Map) -> Iterator[tuple[Path, Node]]:
    """Yield path and node of each value that must not reach another provider."""
    for key in sorted(CREDENTIALS):
        value = lm.get(key)
        if isinstance(value, Map):
            for header, inner in value:
                if isinstance(inner, Reference) or is_secret_name(header):
                    yield (key, header), inner
        elif isinstance(value, Reference) or (isinstance(value, Scalar | Verbatim) and value.value):
            yield (key,), value


def _shared_diagnostic(path: Path, mark: Mark, first: _Use, second: _Use) -> Diagnostic:
    name = ".".join(map(str, path))
    if first.to.provider != second.to.provider:
        one, other, shared = first.to.provider, second.to.provider, "provider"
        note = Note(f"`{second.name}` is served by {other}", second.lm.entries["model"].mark)
    else:
        one, other, shared = str(first.to), str(second.to), "address"
        note = Note(f"`{second.name}` leads to {other}", place_of(second.lm))
    return Diagnostic(
        code="credential-crosses",
        message=f"`{name}` would be sent to {one} (by `{first.name}`) and to {other}"
        f" (by `{second.name}`)",
        mark=mark,
        path=("lms", second.name, *path),
        help=f"state `{name}` in each LM, or in a parent that LMs of one {shared} extend",
        notes=(note,),
    )
