"""Telling in microseconds that plain data is surely right, so that most of it needs no more.

`surely_fits` and the JSON Schema of a shape are two readings of one declaration: whatever fits
here is accepted there (a property test holds them together). What does not is left to the schema,
which says what is wrong.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

from msgspec import Struct

from lmconf.schema.declaration import fields
from lmconf.schema.lookup import REFERENCES, UnreadableValue, choose, fits, kind_of
from lmconf.schema.patterns import matches
from lmconf.schema.quantities import SIZE_PATTERN
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
from lmconf.system.durations import DURATION_PATTERN

__all__ = ["surely_fits"]


def surely_fits(shape: Shape, data: object, *, partial: bool = False) -> bool:
    """Say whether `data` is surely a right value of `shape`, all the way down.

    With `partial`, a record may lack keys at its root. `Unread()` fits everywhere.
    """
    if isinstance(data, UnreadableValue):
        return True
    if partial and isinstance(shape, Record):
        return isinstance(data, dict) and _record_fits(shape.type, data, partial=True)
    match shape:
        case Text(pattern=pattern, empty=empty, path=path):
            if not isinstance(data, str) or (path and "\0" in data):
                return False
            return matches(pattern, data) if pattern else empty or data != ""
        case Integer(low=low, high=high):
            return _is_whole(data) and _within(data, low, high)
        case Number(low=low, high=high):
            return _is_number(data) and _within(data, low, high)
        case Choice(values=values):
            return isinstance(data, str) and data in values
        case Flag():
            return isinstance(data, bool)
        case Null():
            return data is None
        case Referable(text=text):
            return isinstance(data, REFERENCES) or surely_fits(text, data)
        case Secret():
            return isinstance(data, REFERENCES) or data == ""
        case Duration() | Size():
            return _quantity_fits(shape, data)
        case _:
            return _block_fits(shape, data)


def _quantity_fits(shape: Duration | Size, data: object) -> bool:
    if isinstance(shape, Duration):
        if isinstance(data, str):
            return matches(DURATION_PATTERN, data)
        return _is_number(data) and _within(data, shape.low, None)
    if isinstance(data, str):
        return matches(SIZE_PATTERN, data)
    return _is_whole(data) and _within(data, 0, None)


def _block_fits(shape: Shape, data: object) -> bool:
    match shape:
        case Either():
            chosen = choose(shape, data)
            return not isinstance(chosen, Either) and surely_fits(chosen, data)
        case ListOf(item=item, low=low, high=high):
            if not isinstance(data, list) or len(data) < low or (high and len(data) > high):
                return False
            return all(surely_fits(item, entry) for entry in data)
        case MapOf(value=value, names=names):
            return isinstance(data, dict) and all(
                surely_fits(value, entry) and (names is None or matches(names, key))
                for key, entry in data.items()
            )
        case Record(type=type_):
            return isinstance(data, dict) and _record_fits(type_, data)
        case Kinds():
            kind = kind_of(shape, data) if isinstance(data, dict) else None
            return kind is not None and isinstance(data, dict) and _record_fits(kind, data)
        case Json(mapping=mapping):
            return (isinstance(data, dict) or not mapping) and _is_json(data)
        case _:
            return False


def _record_fits(type_: type[Struct], data: Mapping[str, object], *, partial: bool = False) -> bool:
    declared = fields(type_)
    for key, value in data.items():
        field = declared.get(key)
        if field is None or not surely_fits(field.shape, value):
            return False
    return partial or all(name in data for name in _required_fields(type_))


@functools.cache
def _required_fields(type_: type[Struct]) -> tuple[str, ...]:
    return tuple(name for name, field in fields(type_).items() if field.required)


def _is_number(data: object) -> bool:
    return isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data)


def _is_whole(data: object) -> bool:
    return _is_number(data) and fits(Integer(), data)


def _within(data: object, low: float | None, high: float | None) -> bool:
    assert isinstance(data, int | float)
    return (low is None or data >= low) and (high is None or data <= high)


def _is_json(data: object) -> bool:
    """Say whether `data` is JSON, references aside; what is already broken is not."""
    if isinstance(data, dict):
        return all(_is_json(value) for value in data.values())
    if isinstance(data, list):
        return all(_is_json(value) for value in data)
    return data is None or isinstance(data, (str, int, float, *REFERENCES))
