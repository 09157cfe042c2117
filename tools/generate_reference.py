"""The reference of the format in Markdown: every block and field, read from the spec types."""

from __future__ import annotations

import json
from collections.abc import Iterator

from msgspec import Struct

from lmconf.schema.declaration import DeclaredField, fields
from lmconf.schema.description import describe
from lmconf.schema.serialize import write
from lmconf.schema.shapes import Either, Kinds, ListOf, MapOf, Record, Shape
from lmconf.spec.profile import MANY_LMS, ONE_LM

__all__ = ["reference"]


def reference() -> str:
    """Return a section for each block of a document, with a table of its fields."""
    types: dict[str, type[Struct]] = {}
    for root in (MANY_LMS, ONE_LM):
        _collect(root, types)
    sections = [_section(type_) for type_ in types.values()]
    return "# Reference\n\n" + "\n".join(sections)


def _collect(shape: Shape, types: dict[str, type[Struct]]) -> None:
    for type_ in _blocks(shape):
        if type_.__name__ not in types:
            types[type_.__name__] = type_
            for field in fields(type_).values():
                _collect(field.shape, types)


def _blocks(shape: Shape) -> Iterator[type[Struct]]:
    """Yield the types of the blocks that may stand where `shape` is, without what they hold."""
    match shape:
        case Record(type=type_):
            yield type_
        case Kinds(table=table):
            yield from table.values()
        case ListOf(item=inner) | MapOf(value=inner):
            yield from _blocks(inner)
        case Either(options=options):
            for option in options:
                yield from _blocks(option)
        case _:
            return


def _section(type_: type[Struct]) -> str:
    lines = [f"## {type_.__name__}", "", _prose(type_.__doc__ or ""), ""]
    base = next((each for each in type_.__mro__[1:] if _declares(each)), None)
    inherited = fields(base) if base is not None else {}
    if base is not None:
        lines += [f"Every field of [{base.__name__}](#{base.__name__.lower()}), and:", ""]
    own = [field for name, field in fields(type_).items() if name not in inherited]
    lines += [
        "| field | takes | default | class | meaning |",
        "|---|---|---|---|---|",
        *(_row(field) for field in own),
        "",
    ]
    return "\n".join(lines)


def _declares(type_: type) -> bool:
    return issubclass(type_, Struct) and bool(type_.__struct_fields__)


def _prose(doc: str) -> str:
    return "\n".join(line.strip() for line in doc.strip().splitlines())


def _row(field: DeclaredField) -> str:
    takes = describe(field.shape)
    blocks = list(_blocks(field.shape))
    if blocks:
        links = ", ".join(f"[{type_.__name__}](#{type_.__name__.lower()})" for type_ in blocks)
        takes = f"{takes}: {links}"
    default = "required"
    if not field.required:
        written = None if field.default is None else write(field.shape, field.default)
        default = "left out" if written is None else f"`{_yaml(written)}`"
    meaning = field.doc
    if field.examples:
        meaning += f" For example {' or '.join(f'`{_yaml(each)}`' for each in field.examples)}."
    if field.bound_to_model:
        meaning += " Another `model` resets it."
    cells = (f"`{field.name}`", takes, default, field.role, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _yaml(value: object) -> str:
    """Return `value` on one line, as YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str) and value and not set(value) & set('\n"{}[],#&*!|>%@`'):
        return value
    return json.dumps(value, ensure_ascii=False)
