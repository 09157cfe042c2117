"""What is wrong with one value, in words: what it is, and how it is mended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lmconf.secrets.references import REFERENCES, Env

if TYPE_CHECKING:
    from lmconf.schema.value import Shape

__all__ = ["describe_kind", "name_value", "shorten", "show_value", "suggest_fix"]

_TRUE = frozenset("true yes on y 1".split())
_FALSE = frozenset("false no off n 0".split())
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
    atoms = _atoms(shape)
    if isinstance(value, Env) and path and isinstance(path[-1], str):
        written = f"{{{', '.join(f'{key}: {item}' for key, item in value.written().items())}}}"
        return (
            f"take it through `vars`: `vars: {{{path[-1]}: {written}}}` and"
            f' `{path[-1]}: "{{{{ vars.{path[-1]} }}}}"`'
        )
    if isinstance(value, REFERENCES):
        return "write the value itself: references stand in addresses, headers and secrets"
    if value is None and path and isinstance(path[-1], str):
        return f"leave `{path[-1]}` out to keep its default"
    if any(atom.fits(True) for atom in atoms) and isinstance(value, str | int | float):
        word = str(value).strip().lower()
        if word in _TRUE | _FALSE:
            unquoted = ", without quotes" if word in ("true", "false") else ""
            return f"write `{'true' if word in _TRUE else 'false'}`{unquoted}"
    if isinstance(value, str):
        return _of_text(shape, value)
    if isinstance(value, bool | int | float) and "text" in shape.describe():
        return f'put it in quotes: "{str(value).lower()}"'
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str):
        return "write it without brackets" if shape.fits(value[0]) else ""
    return ""


def _of_text(shape: Shape, text: str) -> str:
    options = shape.alternatives
    units = next((atom.units for atom in _atoms(shape) if atom.units), "")
    if units and text.strip()[:1].isdigit():
        return f"units are {units}"
    try:
        float(text)
    except ValueError:
        pass
    else:
        return f"write it without quotes: {text.strip()}"
    link = re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?(/\S*)?", text)
    if link and "http" in options[0].describe():
        return f"write `https://{text}`"
    words = text.split()
    if len(words) > 1 and any(o.form == "array" and o.short_form is None for o in options):
        return f"write it as a list: `[{', '.join(words)}]`"
    key = next((key for option in options for key in option.keys_for(text)), None)
    return "" if key is None else f"write `{{{key}: {text}}}`"


def _atoms(shape: Shape) -> list[Shape]:
    """Return the alternatives of `shape`, blocks by what may stand for them."""
    short = (o.short_form if o.form == "object" else None for o in shape.alternatives)
    return [atom or option for atom, option in zip(short, shape.alternatives, strict=True)]
