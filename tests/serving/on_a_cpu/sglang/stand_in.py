"""Makes modules that can be imported, have every name, and compute nothing."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

__all__ = ["take_the_place_of"]


class Submodules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module below one package."""

    def __init__(self, package: str) -> None:
        self.below = f"{package}."

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a module's spec if it is below the package."""
        if not fullname.startswith(self.below):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return a module that has every name."""
        made: Any = MagicMock(name=spec.name)
        made.__path__, made.__name__, made.__spec__ = [], spec.name, spec
        found: ModuleType = made
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is."""


def take_the_place_of(package: str) -> None:
    """Have every module below `package` found."""
    sys.meta_path.append(Submodules(package))


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return MagicMock(name=name)
