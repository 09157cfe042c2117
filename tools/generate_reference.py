"""The reference of the format in Markdown: every block and field, read from the spec types."""

from __future__ import annotations

import json
from collections.abc import Collection

from msgspec import Struct

from lmconf.schema import Shape
from lmconf.schema.declaration import DeclaredField, fields
from lmconf.spec.profile import MANY_LMS, ONE_LM

__all__ = ["blocks", "reference", "untrusted_fields"]


def reference() -> str:
    """Return a section for each block of a document, with a table of its fields."""
    return "# Reference\n\n" + "\n".join(map(_section, blocks()))


def untrusted_fields() -> str:
    """Return the table of the fields that a document may state which is loaded untrusted.

    A star marks those that it may not raise above their defaults.
    """
    rows = []
    for type_ in blocks():
        names = [
            f"`{field.name}`" + ("\\*" if field.untrusted == "lower" else "")
            for field in _own_fields(type_)
            if field.untrusted
        ]
        if names:
            rows.append(f"| {(type_.__doc__ or '').splitlines()[0]} | {', '.join(names)} |")
    return "\n".join(["| Block | Fields |", "| --- | --- |", *rows])


def blocks() -> Collection[type[Struct]]:
    """Return the types of all blocks that a document may have."""
    types: dict[str, type[Struct]] = {}
    for root in (MANY_LMS, ONE_LM):
        _collect(root, types)
    return types.values()


def _collect(shape: Shape, types: dict[str, type[Struct]]) -> None:
    for type_ in shape.blocks():
        if type_.__name__ not in types:
            types[type_.__name__] = type_
            for field in fields(type_).values():
                _collect(field.shape, types)


def _section(type_: type[Struct]) -> str:
    lines = [f"## {type_.__name__}", "", _prose(type_.__doc__ or ""), ""]
    base = _base(type_)
    if base is not None:
        lines += [f"Every field of [{base.__name__}](#{base.__name__.lower()}), and:", ""]
    lines += [
        "| field | takes | default | class | meaning |",
        "|---|---|---|---|---|",
        *map(_row, _own_fields(type_)),
        "",
    ]
    return "\n".join(lines)


def _base(type_: type[Struct]) -> type[Struct] | None:
    """Return the type that `type_` has fields from, if it has."""
    bases = (each for each in type_.__mro__[1:] if issubclass(each, Struct))
    blocks = (each for each in bases if not vars(each).get("__part__"))
    return next((each for each in blocks if each.__struct_fields__), None)


def _own_fields(type_: type[Struct]) -> list[DeclaredField]:
    base = _base(type_)
    inherited = fields(base) if base is not None else {}
    return [field for name, field in fields(type_).items() if name not in inherited]


def _prose(doc: str) -> str:
    return "\n".join(line.strip() for line in doc.strip().splitlines())


def _row(field: DeclaredField) -> str:
    takes = field.shape.describe()
    blocks = list(field.shape.blocks())
    if blocks:
        links = ", ".join(f"[{type_.__name__}](#{type_.__name__.lower()})" for type_ in blocks)
        takes = f"{takes}: {links}"
    default = "required"
    if not field.required:
        written = None if field.default is None else field.shape.write(field.default)
        default = "left out" if written is None else f"`{_yaml(written)}`"
    meaning = field.doc
    if field.examples:
        meaning += f" For example {' or '.join(f'`{_yaml(each)}`' for each in field.examples)}."
    if field.bound_to == "model":
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
