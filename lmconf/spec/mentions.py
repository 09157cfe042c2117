"""What an LM refers to by name: stores, callbacks, and other LMs of its profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from lmconf.schema import Record
from lmconf.schema.declaration import DeclaredField, fields
from lmconf.schema.frozen import FrozenMap
from lmconf.spec.lm import LMSpec

__all__ = ["NAMING", "Mention", "find_mentions"]

Block: TypeAlias = Literal["stores", "callbacks", "lms"]


class Mention(Struct, frozen=True):
    """A name at `path`, which must be among the profile's `block`."""

    path: tuple[str | int, ...]
    block: Block
    name: str


def _named_block(field: DeclaredField) -> Block | None:
    """Return the block that a field of an LM names something of, by itself or in its own block."""
    if field.names is None and isinstance(field.shape, Record):
        return next(
            (inner.names for inner in fields(field.shape.type).values() if inner.names), None
        )
    return field.names


NAMING: Mapping[str, Block] = FrozenMap(
    {name: block for name, field in fields(LMSpec).items() if (block := _named_block(field))}
)
"""The fields of an LM that name something, and what."""


def find_mentions(data: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[Mention]:
    """Yield every name in the data of one LM, and in that of LMs written in place.

    Args:
        data: plain data that need not be right.
        path: where the LM stands.
    """
    for field, block in NAMING.items():
        value, here = data.get(field), (*path, field)
        shape = fields(LMSpec)[field].shape
        if isinstance(value, Mapping) and isinstance(shape, Record):
            for key, inner in fields(shape.type).items():
                if inner.names == block and isinstance(value.get(key), str):
                    yield Mention((*here, key), block, value[key])
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, str):
                yield Mention((*here, index), block, item)
            elif isinstance(item, Mapping) and block == "lms":
                yield from find_mentions(item, (*here, index))
