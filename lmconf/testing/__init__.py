"""Hypothesis strategies for settings, LMs, profiles and states, for tests of one's own.

They are read from the declared shapes of the spec types, so a field that is declared is drawn.
Hypothesis is not a dependency of lmconf: install `lmconf[testing]`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmconf.testing.atoms import json_values, references, texts
    from lmconf.testing.blocks import IMPORTS, NAMES, values
    from lmconf.testing.many_lms import documents, profiles, states
    from lmconf.testing.one_lm import compiled_lms, lm_data, lms, settings
    from lmconf.testing.spelling import spelled

_HOMES: dict[str, str] = {
    "IMPORTS": "blocks",
    "NAMES": "blocks",
    "compiled_lms": "one_lm",
    "documents": "many_lms",
    "json_values": "atoms",
    "lm_data": "one_lm",
    "lms": "one_lm",
    "profiles": "many_lms",
    "references": "atoms",
    "settings": "one_lm",
    "spelled": "spelling",
    "states": "many_lms",
    "texts": "atoms",
    "values": "blocks",
}

__all__ = [
    "IMPORTS",
    "NAMES",
    "compiled_lms",
    "documents",
    "json_values",
    "lm_data",
    "lms",
    "profiles",
    "references",
    "settings",
    "spelled",
    "states",
    "texts",
    "values",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lmconf.testing' has no attribute {name!r}")
    try:
        import_module("hypothesis")
    except ModuleNotFoundError:
        raise ImportError("lmconf.testing needs Hypothesis: install lmconf[testing]") from None
    value: object = getattr(import_module(f"lmconf.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
