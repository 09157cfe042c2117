"""Writes plain values as YAML that every reader takes for the same values, byte for byte alike.

Maps and lists stand in block style, in their own order; short lists of scalars and dollar words
(`{$env: OPENAI_API_KEY}`) stand on one line. Whatever YAML 1.1 or 1.2 could misread is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from lmconf.document.yaml.limits import DEPTH, LENGTH, NODES
from lmconf.document.yaml.scalars import INVISIBLE, LARGEST, SMALLEST, is_plain_safe, is_visible
from lmconf.errors import UsageError

if TYPE_CHECKING:
    from lmconf.document.nodes import Plain

__all__ = ["write"]

WIDTH = 100
"""The most columns of a line that holds a whole list or dollar word."""

# YAML allows 1,024 characters for a key on one line.
_LONGEST_KEY = 1000
_SHOWABLE = re.compile(r"[^\x00-\x1f\x7f]*")
# A literal block: no line begins or ends with white space, and the last one is not empty.
_LINE = r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?"
_BLOCK = re.compile(rf"{_LINE}(?:\n+{_LINE})*\n?")
_ESCAPED = r'["\\\x00-\x1f\x7f'
_COLLECTIONS = (Mapping, list, tuple)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def write(value: Plain) -> str:
    """Return `value` as a YAML document that ends with a newline.

    Equal values with equal order give the same bytes. Reading the text gives `value` again, types
    kept (`1`, `1.0` and `true` are told apart), with any YAML 1.1 or 1.2 reader.

    Raises:
        UsageError: `value` holds what a document cannot: a NaN, an infinity, an integer outside 64
            bits, half of a surrogate pair, a key that is no string, a type that JSON lacks, or
            more than reading accepts: 64 collections inside one another, 100,000 keys and
            values, 2 MiB of text.
    """
    if _count_nodes(value, 1) > NODES:
        raise UsageError(f"a document cannot hold more than {NODES:,} keys and values")
    text = "\n".join(_block(value, 0)) + "\n"
    if len(text) > LENGTH:
        raise UsageError(f"a document cannot be longer than {LENGTH:,} characters")
    return text


def _count_nodes(value: Plain, depth: int) -> int:
    """Return how many keys and values `value` holds, with itself."""
    if not isinstance(value, _COLLECTIONS):
        return 1
    if depth > DEPTH:
        raise UsageError(f"a document cannot nest more than {DEPTH} collections")
    if isinstance(value, Mapping):
        return 1 + sum(1 + _count_nodes(item, depth + 1) for item in value.values())
    return 1 + sum(_count_nodes(item, depth + 1) for item in value)


def _block(value: Plain, indent: int) -> Iterator[str]:
    """Yield the lines of `value`, all but the first indented by `indent` spaces."""
    flow = _flow(value, WIDTH - indent)
    if flow is not None:
        yield flow
    elif isinstance(value, Mapping):
        yield from _entries(value, indent)
    elif isinstance(value, list | tuple):
        yield from _items(value, indent)
    else:
        yield from _text_lines(value, indent)


def _entries(value: Mapping[str, Plain], indent: int) -> Iterator[str]:
    margin = ""
    for key, item in value.items():
        name = _key(key)
        opening = f"{margin}{name}:"
        if len(name) > _LONGEST_KEY:
            yield f"{margin}? {name}"
            margin = " " * indent
            opening = f"{margin}:"
        yield from _below(opening, item, indent)
        margin = " " * indent


def _below(opening: str, item: Plain, indent: int) -> Iterator[str]:
    """Yield `opening` (a key and its colon) and the lines of its value."""
    lines = _block(item, indent + 2)
    first = next(lines)
    if _stands_below(item, first):
        yield opening
        yield " " * (indent + 2) + first
    else:
        yield f"{opening} {first}"
    yield from lines


def _stands_below(item: Plain, first: str) -> bool:
    return isinstance(item, _COLLECTIONS) and not first.startswith(("{", "["))


def _items(value: Sequence[Plain], indent: int) -> Iterator[str]:
    margin = ""
    for item in value:
        lines = _block(item, indent + 2)
        yield f"{margin}- {next(lines)}"
        yield from lines
        margin = " " * indent


# --- on one line


def _flow(value: Plain, room: int) -> str | None:
    """Return `value` on one line, or None where it belongs on several."""
    if isinstance(value, Mapping):
        return _flow_map(value, room)
    if isinstance(value, list | tuple):
        return _flow_list(value, room)
    if isinstance(value, str) and "\n" in value and _BLOCK.fullmatch(value) and is_visible(value):
        return None
    return _scalar(value)


def _flow_list(value: Sequence[Plain], room: int) -> str | None:
    if not value:
        return "[]"
    parts: list[str] = []
    for item in value:
        # Two columns for each part: what is too long is noticed before it is all written.
        if isinstance(item, _COLLECTIONS) or len(parts) * 2 > room:
            return None
        parts.append(_scalar(item))
    text = f"[{', '.join(parts)}]"
    return text if len(text) <= room else None


def _flow_map(value: Mapping[str, Plain], room: int) -> str | None:
    if not value:
        return "{}"
    if not _key(next(iter(value))).startswith("$") or len(value) * 2 > room:
        return None
    parts: list[str] = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            return None
        text = _flow(item, room) if isinstance(item, _COLLECTIONS) else _scalar(item)
        if text is None:
            return None
        parts.append(f"{_key(key)}: {text}")
    text = f"{{{', '.join(parts)}}}"
    return text if len(text) <= room else None


# --- scalars


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise UsageError(f"a document's keys are strings, not {type(key).__name__}: {key!r}")
    return _string(key)


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        if not SMALLEST <= value <= LARGEST:
            raise UsageError("a document's integers go from -2^63 to 2^63 - 1")
        return str(int(value))
    if isinstance(value, float):
        return _float(float(value))
    raise UsageError(f"a document cannot hold a value of type {type(value).__name__}")


def _float(value: float) -> str:
    """Return the shortest text that every reader takes for the float `value`.

    YAML 1.1 as PyYAML reads it wants a point in the number and a sign in the exponent.
    """
    if not isfinite(value):
        raise UsageError("a document holds neither NaN nor infinities")
    digits, exponent, power = repr(value).partition("e")
    if not exponent:
        return digits
    point = "" if "." in digits else ".0"
    return f"{digits}{point}e{int(power):+d}"


def _string(text: str) -> str:
    if is_plain_safe(text):
        return text
    if ('"' in text or "\\" in text) and _SHOWABLE.fullmatch(text) and is_visible(text):
        return "'" + text.replace("'", "''") + "'"
    escaped = f"{_ESCAPED}]" if text.isascii() else f"{_ESCAPED}{INVISIBLE}]"
    return f'"{re.sub(escaped, _escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    letter = match[0]
    number = ord(letter)
    if 0xD800 <= number <= 0xDFFF:
        raise UsageError(f"a text holds half of a surrogate pair (U+{number:04X})")
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _text_lines(value: Plain, indent: int) -> Iterator[str]:
    """Yield the lines of a literal block."""
    assert isinstance(value, str)
    yield "|" if value.endswith("\n") else "|-"
    margin = " " * max(indent, 2)
    yield from (margin + line if line else "" for line in value.removesuffix("\n").split("\n"))
