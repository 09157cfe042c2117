"""Durations: how they are written in a document, and how people are told of them."""

from __future__ import annotations

import re

__all__ = ["DURATION_PATTERN", "format_duration", "parse_duration", "write_duration"]

DURATION_PATTERN = r"^\s*([0-9]{1,15}(\.[0-9]{1,15})?)\s*(ms|s|sec|min|h|d)?\s*$"

_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400}
_LONG = 1000
"""From so many seconds on, a duration is told in a larger unit."""


def parse_duration(duration: str | int | float) -> float:
    """Return the seconds that `500ms`, `20s`, `10min`, `2h`, `7d` or a bare number mean.

    Raises:
        ValueError: the text is no duration.
    """
    if isinstance(duration, int | float):
        return float(duration)
    match = re.match(DURATION_PATTERN, duration)
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


def format_duration(seconds: float, digits: int = 3) -> str:
    """Return `seconds` as people are told of them: `digits` digits and a unit, such as `12.5s`.

    From 1000 seconds on the unit is `min`, `h` or `d`. `parse_duration` reads it back.
    """
    unit = "s"
    if round(seconds) >= _LONG:
        unit = next((unit for unit in ("d", "h") if seconds >= 2 * _SECONDS[unit]), "min")
    count = max(seconds, 0.0) / _SECONDS[unit]
    return f"{count:.{digits}g}{unit}" if count < 10**digits else f"{count:.0f}{unit}"
