"""Where one LM's data names something that is defined elsewhere: a store, a callback, an LM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

__all__ = ["Mention", "mentions"]


class Mention(Struct, frozen=True):
    """A name at `path`, which must be among the profile's `block`."""

    path: tuple[str | int, ...]
    block: Literal["stores", "callbacks", "lms"]
    name: str


def mentions(data: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[Mention]:
    """Yield every name in the data of one LM, and in that of fallbacks written in place."""
    for field in ("cache", "budget"):
        block = data.get(field)
        if isinstance(block, Mapping) and isinstance(block.get("store"), str):
            yield Mention((*path, field, "store"), "stores", block["store"])
    for index, callback in enumerate(_items(data.get("callbacks"))):
        if isinstance(callback, str):
            yield Mention((*path, "callbacks", index), "callbacks", callback)
    for field in ("fallbacks", "pool"):
        for index, item in enumerate(_items(data.get(field))):
            here = (*path, field, index)
            if isinstance(item, str):
                yield Mention(here, "lms", item)
            elif isinstance(item, Mapping):
                yield from mentions(item, here)


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
