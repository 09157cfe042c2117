"""Patterns as JSON Schema writes them, matched as JSON Schema means them."""

from __future__ import annotations

import functools
import re

__all__ = ["matches", "python_pattern"]


def python_pattern(pattern: str) -> str:
    """Return `pattern` for Python, whose `$` also matches before a last line break."""
    return f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern


def matches(pattern: str, text: str) -> bool:
    """Say whether `text` matches `pattern` as ECMA-262 reads it."""
    return _compile_pattern(pattern).search(text) is not None


@functools.cache
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(python_pattern(pattern))
