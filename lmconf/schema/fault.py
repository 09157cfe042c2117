"""What checking finds: one fault, at a path of the data."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

__all__ = ["Fault", "Path", "UnreadableValue"]

Path: TypeAlias = tuple[str | int, ...]


class Fault(Struct, frozen=True):
    """One thing that is wrong with plain data; `at_key` places it at the key, not the value."""

    code: str
    path: Path
    message: str
    label: str = ""
    help: str = ""
    at_key: bool = False


class UnreadableValue(Struct, frozen=True):
    """Stands in plain data where a mistake was already reported; no fault is found in it."""
