"""What checking finds: one fault, at a path of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from lmconf.system.registry import UnknownKind

__all__ = ["Fault", "Path", "unknown_kind"]

Path: TypeAlias = tuple[str | int, ...]


class Fault(Struct, frozen=True):
    """One thing that is wrong with plain data; `at_key` places it at the key, not the value."""

    code: str
    path: Path
    message: str
    label: str = ""
    help: str = ""
    at_key: bool = False


def unknown_kind(unknown: UnknownKind, path: Path) -> Fault:
    """Return the fault of a kind at `path` that nothing provides."""
    return Fault("unknown-kind", path, unknown.message, label=unknown.label, help=unknown.help)
