"""LiteLLM's table of models, read as data: what each takes, how much, and for what price.

The table is read without importing LiteLLM, once, when something is first looked up in it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["model_row"]

_FILE = "model_prices_and_context_window_backup.json"


@functools.lru_cache(maxsize=256)
def model_row(*names: str) -> Mapping[str, Any] | None:
    """Return what the table says of the first of `names` that it lists, None for nothing."""
    table = _table()
    for name in names:
        if name in table:
            found: Mapping[str, Any] = msgspec.json.decode(table[name])
            return found
    return None


@functools.cache
def _table() -> Mapping[str, msgspec.Raw]:
    found = find_spec("litellm")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        path = Path(folder) / _FILE
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    return {}
