"""What an unquoted YAML scalar means: the one rule that reading and writing share.

Reading follows the core schema of YAML 1.2.2 (section 10.3.2): `off` is text, `1e-3` a float, `017`
is 17, `12:30` and dates are text. Writing asks `is_plain_safe` which texts YAML 1.1 readers, too,
take for the same text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmconf.document.nodes import Atom

__all__ = [
    "INVISIBLE",
    "LARGEST",
    "SMALLEST",
    "InvalidNumber",
    "is_plain_safe",
    "is_visible",
    "resolve",
]

LARGEST = 2**63 - 1
"""The largest integer that a document may hold."""
SMALLEST = -(2**63)
"""The smallest integer that a document may hold."""

# Longer than any number that means something, short enough that converting it costs nothing.
_LONGEST_NUMBER = 1000

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_NUMBER_STARTS = frozenset("+-.0123456789")
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class InvalidNumber(ValueError):
    """An unquoted scalar is a number that a document may not hold: `code` and the text say why."""

    def __init__(self, code: str, message: str, help: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help


def resolve(text: str) -> Atom:
    """Return the value that the unquoted scalar `text` has in YAML 1.2's core schema.

    Raises:
        InvalidNumber: the scalar is a NaN or an infinity (JSON has none), an integer outside
            `SMALLEST` to `LARGEST`, or a float too large for 64 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _DECIMAL.fullmatch(text):
        return _integer(text, 10)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _OCTAL.fullmatch(text):
        return _integer(text, 8)
    if _HEXADECIMAL.fullmatch(text):
        return _integer(text, 16)
    if _NO_NUMBER.fullmatch(text):
        raise InvalidNumber(
            "not-a-number",
            "NaN and infinities are not allowed in a document",
            "write a number; quote it to make it text",
        )
    return text


def _integer(text: str, base: int) -> int:
    # `int` refuses thousands of digits with an error of its own; the length says enough.
    value = int(text, base) if len(text) <= _LONGEST_NUMBER else LARGEST + 1
    if not SMALLEST <= value <= LARGEST:
        raise InvalidNumber(
            "number-out-of-range",
            "this number is out of range: integers go from -2^63 to 2^63 - 1",
            "quote it to make it text",
        )
    return value


def _float(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else float("inf")
    if value in (float("inf"), float("-inf")):
        raise InvalidNumber(
            "number-out-of-range",
            "this number is out of range: it does not fit a 64-bit float",
            "quote it to make it text",
        )
    return value


# Words that some YAML 1.1 reader takes for a boolean, a null, a merge or a default value.
_MISREAD_WORDS = frozenset("y n yes no on off true false null ~ << =".split())
# Everything that starts like a number, a time or a date in YAML 1.1: more than any reader takes
# for one, because quotes cost nothing.
_LIKE_A_NUMBER = re.compile(
    r"""[-+]?(?: \.?[0-9][0-9_.:+-]*(?:[eE][-+0-9_]*)?
               | 0[xXoObB][0-9a-fA-F_]*
               | \.[0-9_.]*(?:[eE][-+0-9_]*)?
               | \.(?:[iI][nN][fF]|[nN][aA][nN]) )
      | [0-9]{4}-[0-9]{1,2}-.*""",
    re.VERBOSE,
)
# Invisible characters beyond ASCII: control characters, spaces that look like others, marks that
# change a line's direction, line breaks of YAML 1.1, surrogates, noncharacters, private use.
INVISIBLE = (
    r"\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u3000\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\uffff\U0001fffe-\U0001ffff\U0002fffe-\U0002ffff\U0003fffe-\U0010ffff"
)
"""The body of a character class: what is never written as itself, but escaped in quotes."""

# Written as what is left out, all of it ASCII: such classes compile and match fast.
_FIRST = r"[^\x00-#%-\-:-@\[-\^`{-}\x7f]"  # first: letters, digits and _ / . ~ $
_LATER = r'[^\x00-\x20"#,:?\[-\]`{}\x7f]'  # later: almost everything but quotes and brackets
_PLAIN = re.compile(rf"{_FIRST}(?:{_LATER}|:(?=[A-Za-z0-9/])|\ +(?={_LATER}))*")


def is_visible(text: str) -> bool:
    """Say whether every character of `text` beyond ASCII shows as itself."""
    # Compiled on first use: the class is large, and most texts are ASCII.
    return text.isascii() or re.search(f"[{INVISIBLE}]", text) is None


def is_plain_safe(text: str) -> bool:
    """Say whether the string `text`, written bare, is read as itself by every YAML reader.

    That holds in block and in flow style, as a key and as a value, under YAML 1.1 (as PyYAML's
    `safe_load` reads it) and under YAML 1.2's core schema. Being asked too often costs a pair of
    quotes; the answer is no in doubt.
    """
    return (
        _PLAIN.fullmatch(text) is not None
        and is_visible(text)
        and text.lower() not in _MISREAD_WORDS
        and _LIKE_A_NUMBER.fullmatch(text) is None
        and not text.startswith("...")
    )
