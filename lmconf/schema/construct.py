"""From checked plain data to frozen specs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lmconf.schema.declaration import fields
from lmconf.schema.frozen import FrozenMap, freeze
from lmconf.schema.lookup import REFERENCES, choose, kind_of
from lmconf.schema.quantities import parse_size
from lmconf.schema.shapes import (
    Duration,
    Either,
    Integer,
    Json,
    Kinds,
    ListOf,
    MapOf,
    Number,
    Record,
    Shape,
    Size,
)
from lmconf.system.durations import parse_duration


def build(shape: Shape, data: object) -> Any:
    """Return the value of a spec that `data` spells.

    `data` is plain JSON data in which references stand as `Env`, `File`, `Given` and `Public`
    objects. It must have passed `check`; a spec value in the place of its data is kept as it is.

    Raises:
        TypeError, ValueError: `data` did not pass `check`.
    """
    match shape:
        case Number():
            return float(_finite(data))
        case Integer():
            return int(_finite(data))
        case Duration():
            return parse_duration(data)  # type: ignore[arg-type]
        case Size():
            return parse_size(data)  # type: ignore[arg-type]
        case ListOf(item=item):
            return tuple(build(item, entry) for entry in _list(data))
        case MapOf(value=inner):
            return FrozenMap((key, build(inner, value)) for key, value in _map(data).items())
        case Record(type=type_):
            return data if isinstance(data, type_) else build_record(type_, _map(data))
        case Kinds(table=table):
            if isinstance(data, tuple(table.values())):
                return data
            kind = kind_of(shape, _map(data))
            if kind is None:
                raise ValueError(f"unknown {shape.tag}")
            return build_record(kind, {**_tagged_fields(shape), **_map(data)})
        case Json():
            return freeze(data)
        case Either():
            chosen = choose(shape, data)
            if isinstance(chosen, Either):
                raise TypeError(f"{type(data).__name__} fits none of the alternatives")
            return build(chosen, data)
        case _:
            if data is None or isinstance(data, (str, bool, *REFERENCES)):
                return data
            raise TypeError(f"{type(data).__name__} is not expected here")


def build_record(type_: type[Struct], data: Mapping[str, object]) -> Struct:
    """Return a `type_` whose fields are built from `data`; fields left out take their defaults."""
    declared = fields(type_)
    return type_(**{name: build(declared[name].shape, value) for name, value in data.items()})


def _tagged_fields(shape: Kinds) -> dict[str, object]:
    return {} if shape.default is None else {shape.tag: shape.default}


def _finite(data: object) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
        raise TypeError("a finite number is expected here")
    return data


def _list(data: object) -> list[object] | tuple[object, ...]:
    if not isinstance(data, list | tuple):
        raise TypeError("a list is expected here")
    return data


def _map(data: object) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise TypeError("a mapping is expected here")
    return data
