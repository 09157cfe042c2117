"""From nodes to the plain data that checking and building read, and from faults back to places."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable
from pathlib import PurePath

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.render import line_starts
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
from lmconf.schema import Shape, Text
from lmconf.schema.check import Fault
from lmconf.schema.fault import UnreadableValue
from lmconf.schema.fault_messages import name_value
from lmconf.secrets.redaction import mask_key_shapes
from lmconf.secrets.references import File
from lmconf.secrets.references import Public as PublicValue

__all__ = ["field_marks", "to_data", "to_diagnostics", "with_absolute_paths"]


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
            return UnreadableValue()


def with_absolute_paths(node: Node, shape: Shape | None, folder: str) -> Node:
    """Return a node with relative paths made absolute against the file that states each.

    Args:
        node: what may hold paths.
        shape: says which texts are paths.
        folder: where paths start that no file states.
    """
    if shape is None:
        return node
    match node:
        case Scalar(value=str() as value, mark=mark):
            absolute = _absolute_path(value, shape, mark, folder)
            return node if absolute is value else Scalar(absolute, mark, quoted=True)
        case Reference(to=File(path=path, format=format), mark=mark):
            absolute = _join_folder(path, mark, folder)
            return node if absolute == path else Reference(File(path=absolute, format=format), mark)
        case Seq(items=items, mark=mark):
            inner = shape.child([], 0)
            absolute_items = tuple(with_absolute_paths(item, inner, folder) for item in items)
            same = all(old is new for old, new in zip(items, absolute_items, strict=True))
            return node if same else Seq(absolute_items, mark)
        case Map(keys=keys, mark=mark):
            # Only the tag, a scalar, decides which kind's fields stand here.
            tags = {key: value.value for key, value in node if isinstance(value, Scalar)}
            chosen = shape.choose(tags)
            absolute_entries = {
                key: with_absolute_paths(value, chosen.child(tags, key), folder)
                for key, value in node
            }
            return Map(absolute_entries, keys, mark)
        case _:
            return node


def _absolute_path(value: str, shape: Shape, mark: Mark, folder: str) -> str:
    chosen = shape.choose(value)
    if not isinstance(chosen, Text) or not chosen.path or not value:
        return value
    if chosen.path == "dotted" and not re.match(r"\.\.?([/\\]|$)", value):
        return value
    return _join_folder(value, mark, folder)


def _join_folder(value: str, mark: Mark, folder: str) -> str:
    if value.startswith("~") or PurePath(value).is_absolute():
        return value
    start = folder if mark.source.path is None else PurePath(mark.source.path).parent
    # By its text alone: compiling looks at no file.
    return os.path.normpath(PurePath(start, value))


def field_marks(node: Map) -> dict[Path, Mark]:
    """Return where an LM and each of its fields stand."""
    return {(): node.mark, **{(key,): value.mark for key, value in node}}


def to_diagnostics(
    faults: Iterable[Fault], node: Node, prefix: Path = (), *, shown: Path | None = None
) -> list[Diagnostic]:
    """Return faults as diagnostics at their places.

    Args:
        faults: their paths begin at `node`.
        node: the node of the data that has the faults.
        prefix: the path of `node` in the document.
        shown: takes the place of `prefix` where people know the document by other paths.
    """
    return [_to_diagnostic(fault, node, prefix if shown is None else shown) for fault in faults]


def _to_diagnostic(fault: Fault, node: Node, prefix: Path) -> Diagnostic:
    mark = nearest_mark(node, fault.path)
    parent = at(node, fault.path[:-1]) if fault.path else None
    if fault.at_key and isinstance(parent, Map):
        mark = parent.keys.get(str(fault.path[-1]), mark)
    path, message = _path_as_written(fault, node)
    label, help_ = fault.label, fault.help
    if not fault.at_key and _is_rendered(at(node, fault.path)):
        label = label or "what this template gives"
        help_ = "" if "quotes" in help_ else help_
    return Diagnostic(
        code=fault.code,
        # A key that was pasted into the field of something else is known by its looks alone.
        message=mask_key_shapes(message),
        mark=mark,
        path=(*prefix, *path),
        label=mask_key_shapes(label),
        help=mask_key_shapes(help_),
    )


def _is_rendered(node: Node | None) -> bool:
    """Say whether `node` is the value of a template, which its place in the source shows."""
    if not isinstance(node, Scalar) or not node.mark.line or not node.mark.source.text:
        return False
    text, mark = node.mark.source.text, node.mark
    start = line_starts(text)[mark.line - 1] + mark.column - 1
    return "{{" in text[start : start + mark.end - mark.column]


def _path_as_written(fault: Fault, node: Node) -> tuple[Path, str]:
    """Return path and message of `fault` as a person knows the value: `timeout`, not its `total`.

    What a shorthand stands for has the shorthand's own place.
    """
    path = fault.path
    while path and not fault.at_key:
        value, parent = at(node, path), at(node, path[:-1])
        if value is None or parent is None or value.mark is not parent.mark or not value.mark.line:
            break
        path = path[:-1]
    if path == fault.path or not path:
        return fault.path, fault.message
    return path, fault.message.replace(name_value(fault.path), name_value(path), 1)
