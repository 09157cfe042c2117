"""From frozen specs back to the plain data that a document spells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lmconf.schema.declaration import fields
from lmconf.schema.lookup import REFERENCES, choose
from lmconf.schema.quantities import write_size
from lmconf.schema.shapes import Duration, Either, Json, Kinds, ListOf, MapOf, Record, Shape, Size
from lmconf.system.durations import write_duration

Everything = None
"""As `stated`: write every value that has an effect."""


def write(shape: Shape, value: object, stated: object = Everything) -> Any:
    """Return the plain data that builds `value` again.

    With `stated`, the data that was once said, only the fields named in it are written;
    otherwise every field is, except those whose default means "not there" (null, or empty).
    Text with `{{` and mappings that look like dollar words are wrapped in `$value`.
    """
    match shape:
        case Duration() if isinstance(value, float):
            return write_duration(value)
        case Size() if isinstance(value, int):
            return write_size(value)
        case ListOf(item=item) if isinstance(value, tuple):
            said = stated if isinstance(stated, list | tuple) else ()
            aligned = said if len(said) == len(value) else (Everything,) * len(value)
            return [write(item, entry, s) for entry, s in zip(value, aligned, strict=True)]
        case MapOf(value=inner) if isinstance(value, Mapping):
            if _needs_escape(value):
                return {"$value": _bare(value)}
            words = stated if isinstance(stated, Mapping) else {}
            return {key: write(inner, entry, words.get(key)) for key, entry in value.items()}
        case Record() | Kinds() if isinstance(value, Struct):
            return _write_record(value, stated)
        case Either():
            return write(choose(shape, value), value, stated)
        case Json():
            return _write_json(value)
        case _:
            return _write_atom(value)


def _write_record(value: Struct, stated: object) -> dict[str, object]:
    written = {}
    if isinstance(stated, Mapping) and "$value" in stated:
        stated = stated["$value"]
    for name, declared in fields(type(value)).items():
        held = getattr(value, name)
        if isinstance(stated, Mapping):
            if name not in stated:
                continue
            written[name] = write(declared.shape, held, stated[name])
        elif declared.required or held != declared.default or not _absent(held):
            written[name] = write(declared.shape, held)
    return written


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, tuple | Mapping) and not value)


def _write_atom(value: object) -> object:
    if isinstance(value, REFERENCES):
        return dict(value.written())
    if isinstance(value, str) and "{{" in value:
        return {"$value": value}
    return value


def _write_json(value: object) -> object:
    if isinstance(value, Mapping):
        if _needs_escape(value):
            return {"$value": _bare(value)}
        return {key: _write_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_write_json(item) for item in value]
    return _write_atom(value)


def _needs_escape(value: Mapping[str, object]) -> bool:
    """Say whether a reader could take a key of `value` for a dollar word or a template."""
    # A mapping that holds references was read without `$value`: its keys are no dollar words.
    return any(key.startswith("$") or "{{" in key for key in value) and not _holds_reference(value)


def _holds_reference(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_reference(item) for item in value.values())
    if isinstance(value, tuple):
        return any(_holds_reference(item) for item in value)
    return isinstance(value, REFERENCES)


def _bare(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    return [_bare(item) for item in value] if isinstance(value, tuple) else value
