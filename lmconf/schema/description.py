"""What a shape expects, in words: for messages and for the reference documentation."""

from __future__ import annotations

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


def describe(shape: Shape) -> str:
    """Return what `shape` admits as a short noun phrase."""
    return _or(_alternatives(shape))


def _alternatives(shape: Shape) -> list[str]:
    match shape:
        case Text(what=what):
            return [what]
        case Choice(values=values):
            return [f"`{value}`" for value in values]
        case Flag():
            return ["`true`", "`false`"]
        case Null():
            return ["null"]
        case Integer() | Number():
            return [_number(shape)]
        case Duration():
            return ["a duration such as `500ms`, `20s` or `2h`"]
        case Size():
            return ["a size such as `512KiB` or `2GiB`"]
        case ListOf(item=item):
            return [f"a list of {_plural(item)}"]
        case MapOf() | Record() | Kinds() | Json():
            return _mapping(shape)
        case Referable(text=text):
            return [text.what, "`{$env: NAME}`", "`{$file: path}`"]
        case Secret():
            return ["`{$env: NAME}`", "`{$file: path}`", '`""` for none']
        case Either(options=options):
            return [part for option in options for part in _alternatives(option)]


def _number(shape: Integer | Number) -> str:
    if shape.low is not None and shape.low == shape.high:
        return f"{shape.low:g}"
    what = "a whole number" if isinstance(shape, Integer) else "a number"
    return what + _bounds(shape.low, shape.high)


def _mapping(shape: MapOf | Record | Kinds | Json) -> list[str]:
    match shape:
        case Record(short=short) if short is not None:
            return [*_alternatives(short), "a mapping"]
        case Kinds(tag=tag):
            return [f"a mapping with `{tag}`"]
        case Json(mapping=False):
            return ["any value"]
        case _:
            return ["a mapping"]


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of at least {low:g}"
    return f" of at most {high:g}" if high is not None else ""


def _or(parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    # A part with a comma of its own must not run into the next.
    last = ", or" if any("," in part or " of " in part for part in parts) else " or"
    return f"{', '.join(parts[:-1])}{last} {parts[-1]}"


def _plural(item: Shape) -> str:
    if isinstance(item, Text) and item.what == "text":
        return "texts"
    if isinstance(item, Text) and item.what == "a word":
        return "words"
    if isinstance(item, MapOf | Record | Json):
        return "mappings"
    return f"items, each {describe(item)}"
