"""Which packages are there, beside those that lmconf depends on."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["is_there"]


def is_there(module: str) -> bool:
    """Say whether `module` can be imported; at most the packages around it are imported for that."""
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False
