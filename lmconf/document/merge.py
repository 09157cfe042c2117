"""Folding layers of a document into one, in a stated order, without knowing what they say.

`merge` is associative: a layer that was folded from others acts on what lies below it exactly as
those others would one after the other. `Change` nodes make that hold for lists that grow, for
removed keys and for values that were replaced and then merged into; `settle` ends them.
What blocks mean (which key states a kind, which fields are bound to which) comes in as `Rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from lmconf.diagnostics.model import Diagnostic, Mark, Note, Source
from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Path,
    Plain,
    Seq,
    Verbatim,
    to_plain,
)

__all__ = [
    "DefaultItems",
    "Rules",
    "fold",
    "merge",
    "no_default_items",
    "normalise",
    "settle",
    "settle_value",
]

DefaultItems: TypeAlias = Callable[[Path], Sequence[Plain]]
"""Says which items the list at a path has where nobody states it."""


def no_default_items(path: Path) -> Sequence[Plain]:
    """Return what a list at `path` has where that is nothing."""
    return ()


class Rules(Protocol):
    """What composing must be told about the blocks of a document; paths hold real keys."""

    def normalise(self, path: Path, node: Node) -> Node:
        """Return `node` with a shorthand written out; its children are normalised after it."""
        ...

    def is_block(self, path: Path) -> bool:
        """Say whether the field at `path` is a block: where it is empty, it counts as left out."""
        ...

    def kind_key(self, path: Path) -> str | None:
        """Return the key that states the kind of the block at `path`, if it has kinds."""
        ...

    def drop_bound_fields(self, path: Path, lower: Map, upper: Map) -> Map:
        """Return what of `lower` may survive under `upper`; both are the block at `path`."""
        ...


def normalise(root: Map, rules: Rules) -> Map:
    """Return `root` with every shorthand written out, so that merging sees one shape.

    An empty block is the block left out, and is not in the result; nor is one that holds nothing
    but such blocks.
    """
    node = _normalise_node(root, (), rules)
    if not isinstance(node, Map):
        raise TypeError("rules must keep a document's root a map")
    return node


def _normalise_node(node: Node, path: Path, rules: Rules) -> Node:
    full = rules.normalise(path, node)
    match full:
        case Map(entries=entries, keys=keys, mark=mark):
            below: dict[str, Node] = {}
            for key, value in entries.items():
                within = (*path, key)
                # Asked before a shorthand is written out, too: `callbacks: {}` is no list of one.
                if _is_empty(value) and rules.is_block(within):
                    continue
                inner = _normalise_node(value, within, rules)
                if not (_is_empty(inner) and rules.is_block(within)):
                    below[key] = inner
            if len(below) < len(entries):
                keys = {key: keys[key] for key in below}
            return Map(below, keys, mark)
        case Verbatim(value=dict() as value, mark=mark):
            return Verbatim(_without_empty_blocks(value, path, rules), mark)
        case Seq(items=items, mark=mark):
            return Seq(_normalise_items(items, path, rules), mark)
        case Change(base=base, prepend=prepend, append=append, reset=reset, mark=mark):
            start = None if base is None else _normalise_node(base, path, rules)
            return Change(
                mark,
                start,
                _normalise_items(prepend, path, rules),
                _normalise_items(append, path, rules),
                reset,
            )
        case _:
            return full


def _is_empty(node: Node) -> bool:
    match node:
        case Map(entries=entries):
            return not entries
        case Verbatim(value=value):
            return value == {}
        case _:
            return False


def _without_empty_blocks(value: dict[str, Plain], path: Path, rules: Rules) -> dict[str, Plain]:
    """Return the verbatim `value`, which stands at `path`, without the blocks that are empty."""
    result: dict[str, Plain] = {}
    for key, item in value.items():
        within = (*path, key)
        block = isinstance(item, dict) and rules.is_block(within)
        inner = _without_empty_blocks(item, within, rules) if isinstance(item, dict) else item
        if inner or not block:
            result[key] = inner
    return result


def _normalise_items(items: tuple[Node, ...], path: Path, rules: Rules) -> tuple[Node, ...]:
    return tuple(_normalise_node(item, (*path, index), rules) for index, item in enumerate(items))


def fold(layers: Sequence[Map], rules: Rules) -> Map:
    """Return `layers` folded from the lowest to the highest; no layers make an empty map.

    Operators that found nothing to act on are kept for layers still to come below: `settle`
    ends them.
    """
    result = layers[0] if layers else Map({}, {}, Mark(Source("no document")))
    for layer in layers[1:]:
        merged = merge(result, layer, (), rules)
        if isinstance(merged, Change) and isinstance(merged.base, Map):
            merged = merged.base
        assert isinstance(merged, Map)
        result = merged
    return result


def merge(lower: Node, upper: Node, path: Path, rules: Rules) -> Node:
    """Return what stands at `path` when `upper` is laid over `lower`.

    Maps merge deep; lists, scalars and references replace. What replaces a lower value of another
    shape or kind keeps doing so over still lower layers: the result is then a `Change` with
    `reset`.
    """
    match upper:
        case Change(base=None, reset=False, prepend=(), append=()):
            return lower
        case Change(base=None, reset=False):
            return _apply_change(lower, upper)
        case Map():
            return _overlay(lower, upper, path, rules)
        case _:
            return upper


def _apply_change(lower: Node, upper: Change) -> Node:
    """Return `lower` with the items of `upper` around it."""
    match lower:
        case Broken():
            return lower
        case Seq(items=items, mark=mark):
            return Seq((*upper.prepend, *items, *upper.append), mark)
        case Change(base=base, prepend=prepend, append=append, reset=reset, mark=mark):
            return Change(
                mark if prepend or append else upper.mark,
                base,
                (*upper.prepend, *prepend),
                (*append, *upper.append),
                reset,
            )
        case _:
            return Change(upper.mark, lower, upper.prepend, upper.append)


def _overlay(lower: Node, upper: Map, path: Path, rules: Rules) -> Node:
    match lower:
        case Map():
            return _merge_maps(lower, upper, path, rules)
        case Broken():
            return lower
        case Change(base=None, reset=False, prepend=(), append=()):
            return upper
        case Change(base=Map() as base, prepend=(), append=()):
            merged = _merge_maps(base, upper, path, rules)
            return merged if isinstance(merged, Change) else _as_replacement(merged)
        case _:
            return _as_replacement(upper)


def _as_replacement(node: Map) -> Change:
    """Return `node` as a value that lower layers do not show through."""
    return Change(node.mark, base=node, reset=True)


def _merge_maps(lower: Map, upper: Map, path: Path, rules: Rules) -> Map | Change:
    if not upper.entries:
        return lower
    if not lower.entries:
        return upper
    if _differ(lower, upper, rules.kind_key(path)):
        return _as_replacement(upper)
    base = rules.drop_bound_fields(path, lower, upper)
    entries: dict[str, Node] = {}
    for key, value in lower:
        # A shed field is unset rather than left out: still lower layers must not bring it back.
        entries[key] = base.entries.get(key, Change(value.mark, reset=True))
    for key, value in upper:
        entries[key] = merge(entries[key], value, (*path, key), rules) if key in lower else value
    return Map(entries, {**lower.keys, **upper.keys}, upper.mark)


def _differ(lower: Map, upper: Map, key: str | None) -> bool:
    """Say whether both maps state `key`, with different values."""
    if key is None:
        return False
    below, above = lower.get(key), upper.get(key)
    if below is None or above is None or isinstance(below, Broken) or isinstance(above, Broken):
        return False
    return to_plain(below) != to_plain(above)


def settle(
    root: Map,
    diagnostics: list[Diagnostic],
    path: Path = (),
    usual: DefaultItems = no_default_items,
) -> Map:
    """Return `root` without operators, after its last layer was folded.

    `$append` adds to what is `usual` where nobody stated a list, and is a diagnostic on anything
    but a list; `$unset` removes its key.
    """
    entries: dict[str, Node] = {}
    for key, value in root.entries.items():
        settled = settle_value(value, diagnostics, (*path, key), usual)
        if settled is not None:
            entries[key] = settled
    return Map(entries, {key: root.keys[key] for key in entries}, root.mark)


def settle_value(
    node: Node, diagnostics: list[Diagnostic], path: Path, usual: DefaultItems = no_default_items
) -> Node | None:
    """Return `node` without operators, or None where it was unset."""
    match node:
        case Map():
            return settle(node, diagnostics, path, usual)
        case Seq(items=items, mark=mark):
            settled = _settle_items(items, diagnostics, path, usual)
            same = all(old is new for old, new in zip(items, settled, strict=True))
            # The same node, so that it is known where it was stated.
            return node if same else Seq(settled, mark)
        case Change():
            return _settle_change(node, diagnostics, path, usual)
        case _:
            return node


def _settle_items(
    items: tuple[Node, ...], diagnostics: list[Diagnostic], path: Path, usual: DefaultItems
) -> tuple[Node, ...]:
    settled = []
    for index, item in enumerate(items):
        node = settle_value(item, diagnostics, (*path, index), usual)
        settled.append(Broken(item.mark) if node is None else node)
    return tuple(settled)


def _settle_change(
    change: Change, diagnostics: list[Diagnostic], path: Path, usual: DefaultItems
) -> Node | None:
    base = change.base
    if not change.prepend and not change.append:
        if base is None:
            return None if change.reset else Seq((), change.mark)
        return settle_value(base, diagnostics, path, usual)
    match base:
        case None:
            defaults = () if change.reset else usual(path)
            middle = tuple(Verbatim(value, change.mark) for value in defaults)
        case Verbatim(value=list() as values, mark=mark):
            middle = tuple(Verbatim(value, mark) for value in values)
        case Broken():
            return base
        case _:
            diagnostics.append(_no_list(change, base, path))
            return Broken(change.mark)
    items = (*change.prepend, *middle, *change.append)
    return Seq(_settle_items(items, diagnostics, path, usual), change.mark)


def _no_list(change: Change, base: Node, path: Path) -> Diagnostic:
    word = "$append" if change.append else "$prepend"
    shape = {"Map": "a map", "Reference": "a reference"}.get(type(base).__name__, "a single value")
    name = path[-1] if path else "the document"
    return Diagnostic(
        code="append-no-list",
        message=f"`{word}` needs a list to add to, but `{name}` is {shape}",
        mark=change.mark,
        path=path,
        label="added here",
        help="make the value below a list, or state the whole list here",
        notes=(Note(f"`{name}` is {shape} here", base.mark),),
    )
