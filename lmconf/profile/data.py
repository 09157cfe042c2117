"""From nodes to the plain data that checking and building read, and from faults back to places."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path as FilePath

from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Path,
    Public,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    at,
    nearest_mark,
)
from lmconf.errors import Diagnostic, Mark
from lmconf.secrets import Public as PublicValue
from lmconf.spec.checking import Fault
from lmconf.spec.navigating import Unread, child, choose
from lmconf.spec.shapes import Shape, Text

__all__ = ["places", "to_data", "to_diagnostics", "with_absolute_paths"]


def to_data(node: Node) -> object:
    """Return `node` as plain data: references as objects, `Unread()` where something is broken."""
    match node:
        case Scalar(value=value):
            return value
        case Seq(items=items):
            return [to_data(item) for item in items]
        case Map(entries=entries):
            return {key: to_data(value) for key, value in entries.items()}
        case Verbatim(value=value):
            return value
        case Public(value=value):
            return PublicValue(value)
        case Reference(to=reference):
            return reference
        case Broken() | Change():
            return Unread()


def with_absolute_paths(node: Node, shape: Shape | None) -> Node:
    """Return `node` with relative paths made absolute against the file that states each.

    `shape` says which texts are paths; a value made in code keeps its relative path.
    """
    if shape is None:
        return node
    match node:
        case Scalar(value=str() as value, mark=mark):
            absolute = _absolute(value, shape, mark)
            return node if absolute is value else Scalar(absolute, mark, quoted=True)
        case Seq(items=items, mark=mark):
            inner = child(choose(shape, []), [], 0)
            return Seq(tuple(with_absolute_paths(item, inner) for item in items), mark)
        case Map(keys=keys, mark=mark):
            # Only the tag, a scalar, decides which kind's fields stand here.
            tags = {key: value.value for key, value in node if isinstance(value, Scalar)}
            chosen = choose(shape, tags)
            changed = {
                key: with_absolute_paths(value, child(chosen, tags, key)) for key, value in node
            }
            return Map(changed, keys, mark)
        case _:
            return node


def _absolute(value: str, shape: Shape, mark: Mark) -> str:
    chosen = choose(shape, value)
    if not isinstance(chosen, Text) or not chosen.path or mark.source.path is None:
        return value
    if value.startswith(("~", "/")):
        return value
    if chosen.path == "dotted" and not re.match(r"\.\.?([/\\]|$)", value):
        return value
    return str((FilePath(mark.source.path).parent / value).resolve())


def places(node: Map) -> dict[Path, Mark]:
    """Return where an LM and each of its fields stand."""
    return {(): node.mark, **{(key,): value.mark for key, value in node}}


def to_diagnostics(
    faults: Iterable[Fault], node: Node, prefix: Path = (), *, shown: Path | None = None
) -> list[Diagnostic]:
    """Return `faults`, whose paths begin at `node`, as diagnostics at their places.

    `prefix` is the path of `node` in the document; `shown` takes its place where people know the
    document by other paths.
    """
    return [_to_diagnostic(fault, node, prefix if shown is None else shown) for fault in faults]


def _to_diagnostic(fault: Fault, node: Node, prefix: Path) -> Diagnostic:
    mark = nearest_mark(node, fault.path)
    parent = at(node, fault.path[:-1]) if fault.path else None
    if fault.at_key and isinstance(parent, Map):
        mark = parent.keys.get(str(fault.path[-1]), mark)
    return Diagnostic(
        code=fault.code,
        message=fault.message,
        mark=mark,
        path=(*prefix, *fault.path),
        label=fault.label,
        help=fault.help,
    )
