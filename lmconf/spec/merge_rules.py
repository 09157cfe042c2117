"""What composing is told about LMs: shorthands, kinds, and what belongs to a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Path,
    Plain,
    Scalar,
    Seq,
    Verbatim,
    from_plain,
    to_plain,
)
from lmconf.schema import Json, Kinds, ListOf, Record, Shape
from lmconf.schema.declaration import field_names, fields
from lmconf.spec.lm import LMSpec
from lmconf.spec.profile import MANY_LMS, ONE_LM

__all__ = ["CREDENTIALS", "LMRules"]

_BOUND = frozenset(field_names(LMSpec, lambda field: field.bound_to == "model"))

CREDENTIALS = frozenset(field_names(LMSpec, lambda field: field.bound_to == "server"))
"""Fields of which nothing travels to another provider by inheritance, override or copy."""

_MOST_KNOWN = 256
_KIND_FROM = {name: field.kind_from for name, field in fields(LMSpec).items() if field.kind_from}


class LMRules:
    """The rules of one document: a flat one is one LM, others hold LMs under `lms`."""

    def __init__(self, *, flat: bool) -> None:
        self.flat = flat
        self._root: Shape = ONE_LM if flat else MANY_LMS
        self._known: dict[Path, Shape | None] = {}

    def normalise(self, path: Path, node: Node) -> Node:
        """Return `node` with a shorthand written out, as its shape says."""
        shape = self._shape(path)
        if shape is None or isinstance(node, Broken | Change):
            return node
        return _expand_shorthand(shape, node)

    def is_block(self, path: Path) -> bool:
        """Say whether the field at `path` is a block, which counts as left out where it is empty.

        A name (`lms.gpt`, `stores.disk`) and a key of free data is no field: it is there although
        nothing is said of it. So is `lms`, which says that a document is a profile of several.
        """
        if path == ("lms",):
            return False
        above = self._shape(path[:-1])
        return above is not None and _has_block(_block(above), path[-1])

    def kind_key(self, path: Path) -> str | None:
        """Return the key that states the kind of the block at `path`."""
        shape = self._shape(path)
        for option in () if shape is None else shape.alternatives:
            if isinstance(option, Kinds):
                return option.tag
            if isinstance(option, Record) and "use" in fields(option.type):
                return "use"
        return None

    def usual(self, path: Path) -> Sequence[Plain]:
        """Return what the list at `path` holds where nobody states it."""
        shape = self._shape(path[:-1])
        block = None if shape is None else _block(shape)
        field = fields(block.type).get(str(path[-1])) if isinstance(block, Record) else None
        if field is None or not isinstance(field.default, tuple):
            return ()
        plain = field.shape.write(field.default)
        return cast("Sequence[Plain]", plain if isinstance(plain, list) else (plain,))

    def drop_bound_fields(self, path: Path, lower: Map, upper: Map) -> Map:
        """Return `lower` without what its model decides when `upper` states another model."""
        if not self._is_lm(path):
            return lower
        dropped = {
            name
            for name, decides in _KIND_FROM.items()
            if _restates(lower, upper, decides) and not _states_kind(lower.get(name))
        }
        if _restates(lower, upper, "model"):
            dropped |= _BOUND
        if not dropped & set(lower.entries):
            return lower
        entries = {key: value for key, value in lower.entries.items() if key not in dropped}
        return Map(entries, lower.keys, lower.mark)

    def _is_lm(self, path: Path) -> bool:
        if self.flat:
            return path == ()
        return path == ("defaults",) or (len(path) == 2 and path[0] == "lms")

    def _shape(self, path: Path) -> Shape | None:
        if not path:
            return self._root
        # The items of one list, and the keys of one block, ask one after the other.
        above, shapes = path[:-1], self._known
        if above in shapes:
            shape = shapes[above]
        else:
            shape = self._shape(above)
            if len(shapes) >= _MOST_KNOWN:
                shapes = self._known = {}
            shapes[above] = shape
        if shape is None or type(shape) is Json:
            return shape
        # Shapes are chosen without the values: only blocks and lists have anything below.
        return _block(shape).child({} if isinstance(path[-1], str) else [], path[-1])


def _block(shape: Shape) -> Shape:
    blocks = (each for each in shape.alternatives if each.form == "array" or each.block_types())
    return next(blocks, shape)


def _has_block(shape: Shape, name: str | int) -> bool:
    """Say whether `name` is a field of the block `shape` that takes a block."""
    # Which of its kinds a block is may be said in another layer.
    declared = [fields(type_).get(str(name)) for type_ in shape.block_types()]
    return any(field is not None and field.shape.takes_block() for field in declared)


def _expand_shorthand(shape: Shape, node: Node) -> Node:
    """Return `node` as its shape is written without shorthands."""
    for option in shape.alternatives:
        if isinstance(option, Record) and option.shorthand and isinstance(node, Scalar | Verbatim):
            block = option.shorthand(node.value)
            if block is not None:
                return from_plain(block, node.mark)
        if isinstance(option, ListOf) and option.single and not _is_list_or_null(node):
            return Seq((node,), node.mark)
    return node


def _is_list_or_null(node: Node) -> bool:
    if isinstance(node, Scalar | Verbatim):
        return node.value is None or isinstance(node.value, list)
    return isinstance(node, Seq)


def _restates(lower: Map, upper: Map, key: str) -> bool:
    mine, other = lower.get(key), upper.get(key)
    return mine is not None and other is not None and to_plain(mine) != to_plain(other)


def _states_kind(block: Node | None) -> bool:
    return isinstance(block, Map) and "use" in block
