"""Sizes: how they are written in a document, and what they are in a spec."""

from __future__ import annotations

import re

SIZE_PATTERN = r"^\s*([0-9]{1,15}(\.[0-9]{1,15})?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*$"

LEAST, MOST = -(2**63), 2**63 - 1
"""The whole numbers that a document can hold: those of 64 bits."""

_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def parse_size(written: str | int | float) -> int:
    """Return the bytes that `2GiB`, `512KiB`, `1.5MB` or a bare number mean.

    Raises:
        ValueError: the text is no size.
    """
    if isinstance(written, int | float):
        return int(written)
    match = re.match(SIZE_PATTERN, written)
    if match is None:
        raise ValueError("not a size")
    return int(float(match[1]) * _BYTES[match[3] or "B"])


def write_size(count: int) -> str | int:
    """Return the shortest spelling that `parse_size` reads back to exactly `count`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        whole, rest = divmod(count, _BYTES[unit])
        # Longer texts are no sizes, and floats tell no larger counts apart.
        if whole and not rest and whole < 10**15 and parse_size(f"{whole}{unit}") == count:
            return f"{whole}{unit}"
    return count
