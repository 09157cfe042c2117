"""Which shape a value has: choosing among alternatives, and following a path into a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from msgspec import Struct

from lmconf.schema.declaration import fields
from lmconf.schema.quantities import LEAST, MOST
from lmconf.schema.shapes import (
    Choice,
    Duration,
    Either,
    Flag,
    Integer,
    Json,
    Kinds,
    ListOf,
    MapOf,
    Null,
    Number,
    Record,
    Referable,
    Secret,
    Shape,
    Size,
    Text,
)
from lmconf.secrets.references import Env, File, Given, Public

REFERENCES = (Env, File, Given, Public)


class UnreadableValue(Struct, frozen=True):
    """Stands in plain data where a mistake was already reported; no fault is found in it."""


def fits(shape: Shape, value: object) -> bool:
    """Say whether `value` has the JSON type that `shape` is written in, without looking inside."""
    match shape:
        case Text() | Choice():
            return isinstance(value, str)
        case Referable() | Secret():
            return isinstance(value, (str, *REFERENCES))
        case Flag():
            return isinstance(value, bool)
        case Null():
            return value is None
        case Integer():
            # `1e19` is whole, and no whole number that could be written.
            return _is_number(value) and _is_whole(value)
        case Number():
            return _is_number(value)
        case Duration() | Size():
            return isinstance(value, int | float | str) and not isinstance(value, bool)
        case ListOf():
            return isinstance(value, list | tuple)
        case MapOf():
            return isinstance(value, Mapping)
        case Record(type=type_):
            return isinstance(value, (Mapping, type_))
        case Kinds(table=table):
            return isinstance(value, (Mapping, *table.values()))
        case Json(mapping=mapping):
            return isinstance(value, Mapping) or not mapping
        case Either(options=options):
            return any(fits(option, value) for option in options)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: int | float) -> bool:
    return LEAST <= value <= MOST and float(value).is_integer()


def choose(shape: Shape, value: object) -> Shape:
    """Return the alternative of `shape` that `value` is written as, or `shape` if none fits."""
    if not isinstance(shape, Either):
        return shape
    for option in shape.options:
        if fits(option, value):
            return choose(option, value)
    return shape


def kind_of(shape: Kinds, value: Mapping[str, object]) -> type[Struct] | None:
    """Return the Struct type that the tag in `value` names, or None for an unknown tag."""
    tag = value.get(shape.tag, shape.default)
    if not isinstance(tag, str):
        return None
    return shape.table.get(tag, shape.table.get("*"))


def child(shape: Shape, value: object, step: str | int) -> Shape | None:
    """Return the shape of what stands under `step` in `value`, or None if nothing may."""
    match choose(shape, value):
        case ListOf(item=item) if isinstance(step, int):
            return item
        case MapOf(value=inner):
            return inner
        case Record(type=type_):
            declared = fields(type_).get(str(step))
            return declared.shape if declared else None
        case Kinds() as kinds if isinstance(value, Mapping):
            type_of_kind = kind_of(kinds, value)
            if type_of_kind is None:
                return Choice(tuple(kinds.table)) if step == kinds.tag else None
            declared = fields(type_of_kind).get(str(step))
            return declared.shape if declared else None
        case Json():
            return Json()
        case _:
            return None


def shape_at(shape: Shape, value: object, path: tuple[str | int, ...]) -> Shape | None:
    """Return the shape of the value at `path` below `value`, or None if nothing may stand there."""
    found: Shape | None = shape
    for step in path:
        if found is None:
            return None
        found = child(found, value, step)
        value = step_into(value, step)
    return found


def step_into(value: object, step: str | int) -> object:
    """Return what stands under `step` in `value`, or None."""
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def takes_block(shape: Shape) -> bool:
    """Say whether a field of `shape` may hold a block, or a block that stands for a list of one."""
    match shape:
        case Either(options=options):
            return any(map(takes_block, options))
        case ListOf(item=item, single=True):
            return takes_block(item)
        case Json(mapping=mapping):
            return mapping
        case _:
            return isinstance(shape, Record | Kinds | MapOf)
