"""Import paths that data may name: honoured only where an allowlist of the application says so."""

from __future__ import annotations

import re

__all__ = ["is_allowed", "is_import_path"]

_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_import_path(path: str) -> bool:
    """Say whether `path` is written `module:attribute`, such as `acme.hooks:CostMeter`."""
    return _PATH.fullmatch(path) is not None


def is_allowed(path: str, allowed: frozenset[str]) -> bool:
    """Say whether the import path `module:attribute` is among `allowed`.

    An entry allows itself, a whole module (`acme.hooks`), or a package with all that is below it
    (`acme.*`). What is no import path is never allowed.
    """
    if not is_import_path(path):
        return False
    module = path.partition(":")[0]
    steps = module.split(".")
    packages = {f"{'.'.join(steps[:end])}.*" for end in range(1, len(steps) + 1)}
    return not allowed.isdisjoint({path, module} | packages)
