"""The codes of diagnostics: what each means, a document that raises it, and how to fix it.

The records stand in `codes.toml`, beside this module.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

__all__ = ["SECTIONS", "Code", "all_codes"]

SECTIONS = {
    "reading": "Reading",
    "fields": "Form and fields",
    "models": "Models and credentials",
    "templates": "Dollar words, templates and variables",
    "inheritance": "Inheritance, trust and project",
    "commands": "Command line and lookup",
}
"""The tables of `codes.toml`, with the headings of their sections."""


class Code(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code of a diagnostic.

    `title` is one line without a period. `example` is a minimal document that raises the code;
    `when` says what raises it where the document alone does not. `fix` says what to change.
    """

    name: str
    title: str
    explanation: str
    fix: str
    example: str = ""
    when: str = ""


@functools.cache
def all_codes() -> dict[str, tuple[Code, ...]]:
    """Return the codes of each section, in the order of the documentation."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    text = Path(__file__).with_name("codes.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, tuple[Code, ...]])
