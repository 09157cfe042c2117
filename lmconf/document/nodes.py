"""The tree that a document is between its text and its spec: values that remember their place.

Every node is frozen. `Scalar`, `Seq` and `Map` are what YAML and JSON can say; the others are the
dollar words (`{$env: …}`, `{$value: …}`, `{$append: […]}`), recognised once, right after reading,
so that no later stage looks for dollar signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import TypeAlias

from msgspec import Struct

from lmconf.diagnostics.model import Mark, Source
from lmconf.secrets.references import Env, File, Given

Atom: TypeAlias = "str | int | float | bool | None"
Plain: TypeAlias = "Atom | list[Plain] | dict[str, Plain]"
Path: TypeAlias = "tuple[str | int, ...]"


class Scalar(Struct, frozen=True):
    """A string, number, boolean or null.

    `quoted` is true when the text was quoted or a block: such a scalar is a string whatever it
    looks like.
    """

    value: Atom
    mark: Mark
    quoted: bool = False


class Seq(Struct, frozen=True):
    """A list."""

    items: tuple[Node, ...]
    mark: Mark


class Map(Struct, frozen=True):
    """A mapping with string keys, in the document's order; `keys` holds where each key stands."""

    entries: Mapping[str, Node]
    keys: Mapping[str, Mark]
    mark: Mark

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def get(self, key: str) -> Node | None:
        """Return the value under `key`, or None."""
        return self.entries.get(key)

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        return iter(self.entries.items())


class Verbatim(Struct, frozen=True):
    """`{$value: …}`: plain data in which nothing is a template, a reference or an operator."""

    value: Plain
    mark: Mark


class Public(Struct, frozen=True):
    """`{$public: …}`: a literal that is no secret although its name looks like one."""

    value: Atom
    mark: Mark


class Reference(Struct, frozen=True):
    """`{$env: …}`, `{$file: …}` or `{$given: …}`: a value that comes from outside."""

    to: Env | File | Given
    mark: Mark


class Change(Struct, frozen=True):
    """What `{$append: …}`, `{$prepend: …}` and `{$unset: true}` leave until all layers are folded.

    `base` is the value that the change starts from: None while no lower layer has been met.
    `reset` is true when lower layers must not show through (`$unset` was met), so that a map
    folded over it replaces instead of merging.
    """

    mark: Mark
    base: Node | None = None
    prepend: tuple[Node, ...] = ()
    append: tuple[Node, ...] = ()
    reset: bool = False


class Broken(Struct, frozen=True):
    """Stands where a mistake was already reported, so that later stages stay silent about it."""

    mark: Mark


Node: TypeAlias = "Scalar | Seq | Map | Verbatim | Public | Reference | Change | Broken"


class Document(Struct, frozen=True):
    """One read text: its root and where it came from.

    Of the documents that are folded with it, it extends those at the places `beneath`; None means
    every one that lies lower.
    """

    root: Map
    source: Source
    beneath: tuple[int, ...] | None = None


def to_plain(node: Node) -> Plain:
    """Return `node` as the JSON value that its text spells, dollar words written out."""
    match node:
        case Scalar(value=value):
            return value
        case Seq(items=items):
            return [to_plain(item) for item in items]
        case Map(entries=entries):
            return {key: to_plain(value) for key, value in entries.items()}
        case Verbatim(value=value):
            return {"$value": value}
        case Public(value=value):
            return {"$public": value}
        case Reference(to=reference):
            return dict(reference.written())
        case Change():
            return _change_to_plain(node)
        case Broken():
            return None


def _change_to_plain(change: Change) -> Plain:
    if change.reset and change.base is None:
        return {"$unset": True}
    plain: dict[str, Plain] = {}
    if change.base is not None:
        plain["$value"] = to_plain(change.base)
    if change.prepend:
        plain["$prepend"] = [to_plain(item) for item in change.prepend]
    if change.append:
        plain["$append"] = [to_plain(item) for item in change.append]
    return plain


def from_plain(value: object, mark: Mark) -> Node:
    """Return the nodes of a JSON value made in code; every node gets the same `mark`.

    `Env`, `File` and `Given` may stand for values in it.

    Raises:
        TypeError: `value` holds something that JSON cannot say (NaN and infinities among it), or
            a key that is no string.
    """
    if isinstance(value, Env | File | Given):
        return Reference(value, mark)
    if isinstance(value, float) and not isfinite(value):
        raise TypeError("NaN and infinities are not values that a profile can hold")
    if value is None or isinstance(value, str | int | float | bool):
        return Scalar(value, mark, quoted=isinstance(value, str))
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys must be strings, not {type(key).__name__}: {key!r}")
        entries = {key: from_plain(item, mark) for key, item in value.items()}
        return Map(entries, dict.fromkeys(entries, mark), mark)
    if isinstance(value, list | tuple):
        return Seq(tuple(from_plain(item, mark) for item in value), mark)
    raise TypeError(f"{type(value).__name__} is not a value that a profile can hold")


def size_of(node: Node, sizes: dict[int, int]) -> int:
    """Return how many keys and values `node` holds, itself among them.

    `sizes` remembers sizes by the identity of nodes, which must live as long as it does: what
    many nodes share is looked through once.
    """
    size = sizes.get(id(node))
    if size is None:
        match node:
            case Map(entries=entries):
                size = 1 + sum(1 + size_of(value, sizes) for value in entries.values())
            case Seq(items=items):
                size = 1 + sum(size_of(item, sizes) for item in items)
            case Change(base=base, prepend=prepend, append=append):
                parts = (*prepend, *append) if base is None else (base, *prepend, *append)
                size = 1 + sum(size_of(part, sizes) for part in parts)
            case Verbatim(value=value):
                size = _size_of_plain(value)
            case _:
                size = 1
        sizes[id(node)] = size
    return size


def _size_of_plain(value: Plain) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + _size_of_plain(item) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(map(_size_of_plain, value))
    return 1


def at(node: Node, path: Path) -> Node | None:
    """Return the node at `path` below `node`, or None where there is none."""
    current: Node | None = node
    for step in path:
        if isinstance(current, Map) and isinstance(step, str):
            current = current.get(step)
        elif isinstance(current, Seq) and isinstance(step, int) and 0 <= step < len(current.items):
            current = current.items[step]
        else:
            return None
    return current


def nearest_mark(node: Node, path: Path) -> Mark:
    """Return the mark of the value at `path`, or of its nearest existing ancestor."""
    for end in range(len(path), 0, -1):
        match = at(node, path[:end])
        if match is not None:
            return match.mark
    return node.mark


def map_scalars(node: Node, path: Path, change: Callable[[Path, Scalar], Node]) -> Node:
    """Return `node` with each scalar outside dollar words replaced by `change(path, scalar)`."""
    match node:
        case Scalar():
            return change(path, node)
        case Seq(items=items, mark=mark):
            return Seq(
                tuple(map_scalars(item, (*path, i), change) for i, item in enumerate(items)), mark
            )
        case Map(entries=entries, keys=keys, mark=mark):
            nodes = {k: map_scalars(v, (*path, k), change) for k, v in entries.items()}
            return Map(nodes, keys, mark)
        case _:
            return node
