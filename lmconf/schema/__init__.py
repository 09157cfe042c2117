"""How a spec type is declared, and everything that is read from its declaration.

| a kind of value | is |
|---|---|
| `Text`, `Choice`, `Flag`, `Null`, `Number`, `Integer`, `Duration`, `Size` | a primitive value |
| `Referable`, `Secret` | text or a reference; a reference alone |
| `ListOf`, `MapOf`, `Json` | a list, a mapping with free names, any data |
| `Record`, `Kinds` | a block with fields, a block of one of several kinds |
| `Either` | one of several of these, with `nullable` for "or null" |
"""

from __future__ import annotations

from lmconf.schema.block import Kinds, Record
from lmconf.schema.containers import Either, Json, ListOf, MapOf, nullable
from lmconf.schema.primitives import (
    Choice,
    Duration,
    Flag,
    Integer,
    Null,
    Number,
    Referable,
    Secret,
    Size,
    Text,
)
from lmconf.schema.value import Shape

__all__ = [
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
