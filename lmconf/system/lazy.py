"""Names that are imported when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy_attributes", "load_name"]


def lazy_attributes(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a `__getattr__` for the module `package` (PEP 562).

    Args:
        package: the package's `__name__`.
        homes: for each name that the package exports, the module below it that defines it.
    """

    def get(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{home}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get


def load_name(path: str) -> object:
    """Return what `path` (`package.module:name`) names, from a module that is imported now."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
