"""What a value in a spec may be: small frozen descriptions that every other part reads.

A field's shape is stated once, beside its type. Its JSON Schema, its check, its building and
writing, its documentation and the strategy that generates it for property tests are all read
from the shape, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "PATH_PATTERN",
    "WORD_PATTERN",
    "Choice",
    "Duration",
    "Either",
    "Flag",
    "Integer",
    "Json",
    "Kinds",
    "ListOf",
    "MapOf",
    "Null",
    "Number",
    "Record",
    "Referable",
    "Secret",
    "Shape",
    "Size",
    "Text",
    "nullable",
]


PATH_PATTERN = r"^[^\u0000]+$"
"""What no operating system's path goes beyond."""
WORD_PATTERN = r"^[^\u0000]*$"
"""The same, where the text may also be empty."""


class Text(Struct, frozen=True):
    """A string; `what` names it in messages ("an LM's name").

    A `path` that is relative belongs to the file that states it; with `dotted`, only text that
    begins with a dot is a path, and other text is a name. `suggestions` are values that an editor
    offers; others are valid, too.
    """

    pattern: str | None = None
    what: str = "text"
    empty: bool = False
    path: Literal["", "path", "dotted"] = ""
    suggestions: tuple[str, ...] = ()


class Choice(Struct, frozen=True):
    """One of a few strings."""

    values: tuple[str, ...]


class Flag(Struct, frozen=True):
    """True or false."""


class Null(Struct, frozen=True):
    """Null, which a field admits only where it has a meaning of its own."""


class Integer(Struct, frozen=True):
    """A whole number within bounds."""

    low: int | None = None
    high: int | None = None


class Number(Struct, frozen=True):
    """A finite number within bounds, a float in the spec."""

    low: float | None = None
    high: float | None = None


class Duration(Struct, frozen=True):
    """A time: `500ms 20s 10min 2h 7d`, or a number of seconds; float seconds in the spec."""

    low: float = 0.0


class Size(Struct, frozen=True):
    """An amount of data: `2GiB`, `512KiB`, or a number of bytes; int bytes in the spec."""


class ListOf(Struct, frozen=True):
    """A list, a tuple in the spec; with `single`, one item may stand for a list of one."""

    item: Shape
    low: int = 0
    high: int | None = None
    single: bool = False


class MapOf(Struct, frozen=True):
    """A mapping from free names to values of one shape; a `FrozenMap` in the spec.

    With `secrets`, a value whose name says "secret" must be a reference.
    """

    value: Shape
    names: str | None = None
    secrets: bool = False


class Record(Struct, frozen=True):
    """A block with fixed keys: a Struct of `type` in the spec.

    `shorthand` turns the atoms that may stand for the block into the block (`true` into
    `{mode: read_write}`), and answers None for those that may not; `short` is the shape of those.
    """

    type: type[Struct]
    shorthand: Callable[[object], dict[str, object] | None] | None = None
    short: Shape | None = None


class Kinds(Struct, frozen=True, eq=False):
    """A block whose `tag` key says which of several records it is.

    `table` maps each kind's name to its Struct type; each type carries the tag as its first
    field. `default` is the kind meant when the tag is left out. A kind outside the table has the
    type under the key "*", where there is one.
    """

    tag: str
    table: Mapping[str, type[Struct]]
    default: str | None = None


class Json(Struct, frozen=True):
    """Any JSON value, deeply frozen; under secret names only references are accepted."""

    mapping: bool = False


class Referable(Struct, frozen=True):
    """Text that may also come from outside: `{$env: …}` or `{$file: …}`."""

    text: Text


class Secret(Struct, frozen=True):
    """A reference, `""` for "none is sent", or `{$public: …}`; never a literal."""


class Either(Struct, frozen=True):
    """Any of several shapes that different JSON types tell apart."""

    options: tuple[Shape, ...]


Shape: TypeAlias = (
    "Text | Choice | Flag | Null | Integer | Number | Duration | Size | ListOf | MapOf | Record"
    " | Kinds | Json | Referable | Secret | Either"
)


def nullable(shape: Shape) -> Either:
    """Return a shape that admits null beside what `shape` admits."""
    return Either((shape, Null()))
