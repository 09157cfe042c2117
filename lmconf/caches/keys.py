"""The names under which answers are kept: SHA-256 over one canonical JSON text of the request.

The canonical form is that of RFC 8785 (JSON Canonicalization Scheme) with four differences, each
of which only ever tells more requests apart:

- the order of keys counts inside `tools`, `response_format` and `extra`: it steers the answer;
- keys are sorted by code point, not by UTF-16 unit;
- an integer keeps all its digits (RFC 8785 reads every number as a double), so that two numbers
  are spelled alike exactly when their JSON decimals denote the same number;
- lone surrogates, which RFC 8785 refuses, are written as the three bytes that UTF-8 would give.
"""

from __future__ import annotations

import hashlib
import json.encoder
import math
from collections.abc import Mapping
from typing import Any

from msgspec.json import Encoder

from lmconf.errors import UsageError

__all__ = ["FORMAT", "ORDERED", "cache_key", "canonical", "request_key", "spec_digest"]

FORMAT = 1
"""The version of the canonical form; it is part of every key, so a new one starts afresh."""

ORDERED = frozenset({"tools", "response_format", "extra"})
"""Inside these the given order of keys is kept."""

_REQUEST = b"lmconf %d request\n" % FORMAT
_quoted = json.encoder.encode_basestring
# The same text as `_write` makes for plain data, thirty times as fast.
_encode = Encoder(order="deterministic").encode


def cache_key(parts: Mapping[str, object]) -> str:
    """Return the key of a request described by `parts`: 64 hexadecimal digits.

    Equal parts give equal keys in every process, on every platform and Python version; tuples
    count as lists, and `0`, `0.0` and `-0.0` are one number.

    Raises:
        UsageError: the parts hold what JSON cannot say (bytes, NaN, a set, a key that is no text,
            a structure that contains itself); the message names the place, never the value.
    """
    return hashlib.sha256(_prefix(b"parts") + canonical(parts)).hexdigest()


def spec_digest(parts: Mapping[str, object]) -> bytes:
    """Return the digest (32 bytes) of what an LM's calls have in common, for `request_key`.

    Raises:
        UsageError: as `cache_key`.
    """
    return hashlib.sha256(_prefix(b"spec") + canonical(parts)).digest()


def request_key(digest: bytes, messages: object, call_parts: Mapping[str, object]) -> str:
    """Return the key of one call: 64 hexadecimal digits.

    `digest` comes from `spec_digest`; `messages` is the list of messages (or the prompt), and
    `call_parts` whatever else this call alone says that steers its answer.

    Raises:
        UsageError: as `cache_key`.
    """
    said = canonical(call_parts) if call_parts else b"{}"
    # A JSON text holds no raw newline, so the three parts cannot run into each other.
    text = b"\n".join((_REQUEST + digest, canonical(messages), said))
    return hashlib.sha256(text).hexdigest()


def canonical(value: object) -> bytes:
    """Return the canonical JSON text of `value`.

    Raises:
        UsageError: as `cache_key`.
    """
    try:
        if _is_plain(value):
            try:
                return _encode(value)
            except UnicodeEncodeError:  # a lone surrogate
                pass
        pieces: list[str] = []
        _write(value, False, pieces)
    except _Unsayable as fault:
        raise UsageError(
            f"{fault.place or 'the request'} holds {fault.what}, which JSON cannot represent"
        ) from None
    except RecursionError:
        raise UsageError("the request is nested too deeply, or contains itself") from None
    return "".join(pieces).encode("utf-8", "surrogatepass")


def _prefix(purpose: bytes) -> bytes:
    return b"lmconf %d %b\n" % (FORMAT, purpose)


def _is_plain(value: Any) -> bool:
    """Say whether the fast encoder's text is the canonical one: no floats, no kept order."""
    kind = type(value)
    if kind is str:
        return True
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or key in ORDERED:
                return False
            if type(item) is not str and not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    if kind is int:
        inside: bool = -(2**53) <= value <= 2**53
        return inside
    return value is None or kind is bool


class _Unsayable(Exception):
    """JSON cannot say this; the place is put together while the walk unwinds."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.place = ""

    def inside(self, step: object) -> None:
        here = f"[{step}]" if isinstance(step, int) else str(step)
        dot = "." if self.place and not self.place.startswith("[") else ""
        self.place = f"{here}{dot}{self.place}"


def _write(value: object, ordered: bool, pieces: list[str]) -> None:
    if isinstance(value, str):
        pieces.append(_quoted(value))
    elif value is None:
        pieces.append("null")
    elif isinstance(value, bool):
        pieces.append("true" if value else "false")
    elif isinstance(value, int):
        pieces.append(_integer(value))
    elif isinstance(value, float):
        pieces.append(_float(value))
    elif isinstance(value, Mapping):
        _write_mapping(value, ordered, pieces)
    elif isinstance(value, list | tuple):
        _write_list(value, ordered, pieces)
    else:
        raise _Unsayable(f"a value of type {type(value).__name__}")


def _write_mapping(value: Mapping[object, object], ordered: bool, pieces: list[str]) -> None:
    texts: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _Unsayable(f"a key of type {type(key).__name__}")
        texts[key] = item
    opening = "{"
    for text in texts if ordered else sorted(texts):
        pieces.append(f"{opening}{_quoted(text)}:")
        opening = ","
        try:
            _write(texts[text], ordered or text in ORDERED, pieces)
        except _Unsayable as fault:
            fault.inside(text)
            raise
    pieces.append("}" if texts else "{}")


def _write_list(value: list[object] | tuple[object, ...], ordered: bool, pieces: list[str]) -> None:
    opening = "["
    for index, item in enumerate(value):
        pieces.append(opening)
        opening = ","
        try:
            _write(item, ordered, pieces)
        except _Unsayable as fault:
            fault.inside(index)
            raise
    pieces.append("]" if value else "[]")


def _integer(value: int) -> str:
    if -(10**21) < value < 10**21:
        return int.__repr__(value)
    try:
        digits = int.__repr__(abs(value))
    except ValueError:  # Python 3.11 and later refuse to write more than 4300 digits
        raise _Unsayable("an integer of too many digits") from None
    return _exponential("-" if value < 0 else "", digits.rstrip("0"), len(digits) - 1)


def _float(value: float) -> str:
    """Return ECMAScript's Number::toString, which RFC 8785 section 3.2.2.3 prescribes."""
    if not math.isfinite(value):
        raise _Unsayable(f"the number {float.__repr__(value)}")
    if value == 0:
        return "0"
    # Python finds the same shortest digits and differs only in where it begins to use exponents.
    written = float.__repr__(abs(value))
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = written.partition("e")
    if not exponent:
        return sign + mantissa.removesuffix(".0")
    digits = mantissa.replace(".", "")
    power = int(exponent)
    if 0 <= power < 21:
        return sign + digits.ljust(power + 1, "0")
    if -7 < power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return _exponential(sign, digits, power)


def _exponential(sign: str, digits: str, power: int) -> str:
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'+' if power > 0 else '-'}{abs(power)}"
