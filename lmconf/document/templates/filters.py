"""The filters and tests of templates: functions over plain data whose results stay small.

They bear Jinja's names and take its arguments. Where Jinja would guess, they refuse: `'x' | int`
without a default is a mistake, not 0.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import Struct

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.nodes import Plain
from lmconf.document.yaml.scalars import LARGEST, SMALLEST

__all__ = [
    "FILTERS",
    "LONGEST_TEXT",
    "TESTS",
    "EvaluationError",
    "Undefined",
    "calculate",
    "check_length",
    "check_number",
    "describe_type",
    "format_value",
    "is_number",
]

LONGEST_TEXT = 65_536
"""How many characters a text made by a template may have."""

_WHOLE = re.compile(r"\s*[-+]?[0-9]{1,19}\s*\Z")
_LONGEST_NUMBER = 100
_MOST_ITEMS = 10_000
_LARGEST_EXPONENT = 64
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


class EvaluationError(Exception):
    """An expression has no value: what is wrong, how to mend it, and which part of it is meant.

    `quoting` says that the message repeats some of the expression's text. An empty `code` says
    that the cause was reported already.
    """

    def __init__(
        self, code: str, message: str, help: str = "", part: str = "", *, quoting: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help
        self.part = part
        self.quoting = quoting


class Undefined(Struct, frozen=True):
    """A variable, or a part of one, that is not there: `path` as written, `known` beside it."""

    path: str
    owner: str
    name: str
    known: tuple[str, ...]

    def failed(self) -> EvaluationError:
        """Return the mistake of using this as a value."""
        near = did_you_mean(self.name, self.known)
        if near is not None:
            help = f"did you mean `{self.owner}.{near}`?"
        elif self.owner != "vars":
            help = f"`{self.owner}` has: {', '.join(self.known) or 'nothing'}"
        else:
            help = f"templates can read `vars` only; declare `{self.name}` under `vars`"
        return EvaluationError(
            "template-undefined", f"`{self.path}` is not defined", help, self.path
        )


Value: TypeAlias = "Plain | Undefined"


def describe_type(value: Plain) -> str:
    """Return what kind of value this is, in words; never the value itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a map"


def is_number(value: Plain) -> bool:
    """Say whether `value` is an integer or a float, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def format_value(value: Plain) -> str:
    """Return `value` as it stands in text: as YAML spells it, text as itself."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    raise EvaluationError(
        "template-shape",
        f"{describe_type(value)} cannot be part of a text",
        "take one of its items, or join a list: `vars.names | join(', ')`",
    )


def check_length(length: int) -> None:
    """Refuse to make a text of `length` characters when that is too long."""
    if length > LONGEST_TEXT:
        raise EvaluationError(
            "template-work",
            f"a template may make {LONGEST_TEXT} characters of text at most",
            "write long texts directly in their fields",
        )


def check_number(value: complex) -> float:
    """Return `value` if a document can hold it."""
    if isinstance(value, int) and SMALLEST <= value <= LARGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise EvaluationError("template-number", "this number is out of range")


def calculate(symbol: str, left: Plain, right: Plain) -> Plain:
    """Return `left` and `right` calculated with, in the sense of `symbol`; `+` joins, too."""
    if symbol == "+" and isinstance(left, str) and isinstance(right, str):
        check_length(len(left) + len(right))
        return left + right
    if symbol == "+" and isinstance(left, list) and isinstance(right, list):
        if len(left) + len(right) > _MOST_ITEMS:
            raise EvaluationError(
                "template-work", f"a list made here has {_MOST_ITEMS} items at most"
            )
        return left + right
    if (
        not isinstance(left, int | float)
        or not isinstance(right, int | float)
        or not (is_number(left) and is_number(right))
    ):
        raise EvaluationError(
            "template-type",
            f"cannot calculate `{symbol}` with {describe_type(left)} and {describe_type(right)}",
            "convert with `| int` or `| float`; join text with `~`",
        )
    if symbol == "**" and abs(right) > _LARGEST_EXPONENT:
        raise EvaluationError("template-number", f"exponents go up to {_LARGEST_EXPONENT}")
    try:
        return check_number(_ARITHMETIC[symbol](left, right))
    except ZeroDivisionError:
        raise EvaluationError("template-number", "this divides by zero") from None
    except OverflowError:
        raise EvaluationError("template-number", "this number is out of range") from None


def _text(value: Plain) -> str:
    text = format_value(value)
    check_length(len(text))
    return text


def _default(value: Value, default_value: Plain = "", boolean: Plain = False) -> Plain:
    if isinstance(value, Undefined) or (boolean and not value):
        return default_value
    return value


def _lower(value: Plain) -> Plain:
    return _text(value).lower()


def _upper(value: Plain) -> Plain:
    return _text(value).upper()


def _replace(value: Plain, old: Plain, new: Plain, count: Plain = None) -> Plain:
    text, before, after = _text(value), _text(old), _text(new)
    most = -1 if count is None else _whole(count, "count")
    times = text.count(before)
    if most >= 0:
        times = min(times, most)
    check_length(len(text) + times * (len(after) - len(before)))
    return text.replace(before, after, most)


def _int(value: Plain, default: Plain = None) -> Plain:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return check_number(int(value))
    if isinstance(value, str) and _WHOLE.match(value):
        return check_number(int(value))
    return _or_default(value, default, "a whole number")


def _float(value: Plain, default: Plain = None) -> Plain:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    return _or_default(value, default, "a number")


def _or_default(value: Plain, default: Plain, expected: str) -> Plain:
    if default is not None:
        return default
    said = "this text" if isinstance(value, str) else describe_type(value)
    raise EvaluationError(
        "template-type", f"{said} is not {expected}", "give a default: `| int(0)`"
    )


def _join(value: Plain, d: Plain = "") -> Plain:
    if not isinstance(value, list):
        raise EvaluationError(
            "template-type", f"only a list can be joined, not {describe_type(value)}"
        )
    parts, between = [format_value(item) for item in value], _text(d)
    check_length(sum(map(len, parts)) + len(between) * max(len(parts) - 1, 0))
    return between.join(parts)


def _round(value: Plain, precision: Plain = 0) -> Plain:
    digits = _whole(precision, "precision")
    if not is_number(value) or not isinstance(value, int | float):
        raise EvaluationError(
            "template-type", f"only a number can be rounded, not {describe_type(value)}"
        )
    if abs(digits) > 20:
        raise EvaluationError("template-number", "numbers are rounded to 20 digits at most")
    return check_number(round(float(value), digits))


def _whole(value: Plain, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise EvaluationError(
        "template-type", f"`{name}` must be a whole number, not {describe_type(value)}"
    )


FILTERS: Mapping[str, Callable[..., Plain]] = {
    "default": _default,
    "float": _float,
    "int": _int,
    "join": _join,
    "lower": _lower,
    "replace": _replace,
    "round": _round,
    "upper": _upper,
}
"""The filters of templates: `{{ vars.name | upper }}`."""

TESTS = ("defined", "none", "undefined")
"""The tests of templates: `{{ 1 if vars.size is none else vars.size }}`."""
