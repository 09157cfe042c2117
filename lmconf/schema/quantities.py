"""Durations and sizes: how they are written in a document, and what they are in a spec."""

from __future__ import annotations

import re

DURATION_PATTERN = r"^\s*([0-9]{1,15}(\.[0-9]{1,15})?)\s*(ms|s|sec|min|h|d)?\s*$"
SIZE_PATTERN = r"^\s*([0-9]{1,15}(\.[0-9]{1,15})?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*$"

LEAST, MOST = -(2**63), 2**63 - 1
"""The whole numbers that a document can hold: those of 64 bits."""

_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400}
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


def parse_duration(written: str | int | float) -> float:
    """Return the seconds that `500ms`, `20s`, `10min`, `2h`, `7d` or a bare number mean.

    Raises:
        ValueError: the text is no duration.
    """
    if isinstance(written, int | float):
        return float(written)
    match = re.match(DURATION_PATTERN, written)
    if match is None:
        raise ValueError("not a duration")
    number, unit = float(match[1]), match[3] or "s"
    # Dividing keeps 500ms exactly 0.5, where multiplying by 0.001 would not.
    return number / 1000 if unit == "ms" else number * _SECONDS[unit]


def write_duration(seconds: float) -> str | float:
    """Return the shortest spelling that `parse_duration` reads back to exactly `seconds`."""
    for unit in ("d", "h", "min", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count) and count < 10**15:
            return f"{int(count)}{unit}"
    milliseconds = seconds * 1000
    if 1 <= milliseconds < 1000 and milliseconds == int(milliseconds):
        text = f"{int(milliseconds)}ms"
        if parse_duration(text) == seconds:
            return text
    return seconds


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
