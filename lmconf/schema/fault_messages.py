"""What is wrong with one value, in words: what it is, and how it is mended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lmconf.schema.declaration import fields
from lmconf.schema.description import describe
from lmconf.schema.lookup import REFERENCES, choose, fits
from lmconf.schema.shapes import Choice, Duration, Either, Flag, ListOf, Record, Shape, Size
from lmconf.secrets.references import Env

__all__ = ["describe_kind", "name_value", "shorten", "show_value", "suggest_fix"]

_TRUE = frozenset("true yes on y 1".split())
_FALSE = frozenset("false no off n 0".split())
_DURATION_UNITS = "`ms`, `s`, `min`, `h` and `d`"
_SIZE_UNITS = "`B`, `KiB`, `MiB`, `GiB` and `TiB`, or `kB`, `MB`, `GB` and `TB` for powers of 1000"
_LONGEST_SHOWN = 40


def name_value(path: tuple[str | int, ...]) -> str:
    """Return what a message calls the value at `path`: its key, or an item of it."""
    key = next((step for step in reversed(path) if isinstance(step, str)), None)
    if key is None:
        return "the document"
    return f"an item of `{key}`" if isinstance(path[-1], int) else f"`{key}`"


def shorten(text: str) -> str:
    """Return `text`, its end left out where it is long."""
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def show_value(value: object) -> str:
    """Return `value` as a message shows it; never to be asked of a secret."""
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"`{value}`"
        case "":
            return "an empty text"
        case str():
            return f'the text "{shorten(value)}"'
        case _:
            return describe_kind(value)


def describe_kind(value: object) -> str:
    """Return what kind of thing `value` is, without showing it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return "a reference" if isinstance(value, REFERENCES) else f"a {type(value).__name__}"


def suggest_fix(shape: Shape, value: object, path: tuple[str | int, ...]) -> str:
    """Return how `value`, which `shape` does not admit at `path`, becomes what was meant."""
    options = shape.options if isinstance(shape, Either) else (shape,)
    if isinstance(value, Env) and path and isinstance(path[-1], str):
        written = f"{{{', '.join(f'{key}: {item}' for key, item in value.written().items())}}}"
        return (
            f"read it through `vars`: `vars: {{{path[-1]}: {written}}}` and"
            f' `{path[-1]}: "{{{{ vars.{path[-1]} }}}}"`'
        )
    if isinstance(value, REFERENCES):
        return "write the value itself: references are allowed in addresses, headers and secrets"
    if value is None and path and isinstance(path[-1], str):
        return f"leave `{path[-1]}` out to keep its default"
    if any(map(_is_flag, options)) and isinstance(value, str | int | float):
        word = str(value).strip().lower()
        if word in _TRUE | _FALSE:
            unquoted = ", without quotes" if word in ("true", "false") else ""
            return f"write `{'true' if word in _TRUE else 'false'}`{unquoted}"
    if isinstance(value, str):
        return _of_text(options, value)
    if isinstance(value, bool | int | float) and "text" in describe(shape):
        return f'put it in quotes: "{str(value).lower()}"'
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str):
        return "write it without brackets" if fits(shape, value[0]) else ""
    return ""


def _of_text(options: tuple[Shape, ...], text: str) -> str:
    shorts = [o.short if isinstance(o, Record) and o.short is not None else o for o in options]
    if text.strip()[:1].isdigit() and any(isinstance(o, Duration | Size) for o in shorts):
        return f"units are {_DURATION_UNITS if Duration() in shorts else _SIZE_UNITS}"
    try:
        float(text)
    except ValueError:
        pass
    else:
        return f"write it without quotes: {text.strip()}"
    if re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?(/\S*)?", text) and "http" in describe(options[0]):
        return f"write `https://{text}`"
    words = text.split()
    if len(words) > 1 and any(isinstance(o, ListOf) and not o.single for o in options):
        return f"write it as a list: `[{', '.join(words)}]`"
    for block in options:
        for name in _choices_with(block, text):
            return f"write `{{{name}: {text}}}`"
    return ""


def _choices_with(block: Shape, word: str) -> Iterator[str]:
    """Yield the fields of a block that may have the value `word`."""
    if isinstance(block, Record):
        for name, field in fields(block.type).items():
            chosen = choose(field.shape, word)
            if isinstance(chosen, Choice) and word in chosen.values:
                yield name


def _is_flag(shape: Shape) -> bool:
    return isinstance(shape, Flag) or (isinstance(shape, Record) and isinstance(shape.short, Flag))
