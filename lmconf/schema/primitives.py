"""The kinds of values that hold no others: text, choices, numbers, quantities, references."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeGuard

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.schema.fault import Fault, Path
from lmconf.schema.fault_messages import name_value, shorten
from lmconf.schema.patterns import matches
from lmconf.schema.quantities import (
    DURATION_PATTERN,
    LEAST,
    MOST,
    SIZE_PATTERN,
    parse_duration,
    parse_size,
    write_duration,
    write_size,
)
from lmconf.schema.value import Shape
from lmconf.secrets.references import REFERENCES

if TYPE_CHECKING:
    from lmconf.schema.json_schema import Schema, SchemaWriter

__all__ = [
    "Choice",
    "Duration",
    "Flag",
    "Integer",
    "Null",
    "Number",
    "Referable",
    "Secret",
    "Size",
    "Text",
]

_PATH_PATTERN = r"^[^\u0000]+$"
"""What no operating system's path goes beyond."""
_WORD_PATTERN = r"^[^\u0000]*$"
"""The same, where the text may also be empty."""


class Text(Shape, frozen=True):
    """A string; `what` names it in messages ("an LM's name"), `sample` is one.

    A `path` that is relative belongs to the file that states it; with `dotted`, only text that
    begins with a dot is a path, and other text is a name.
    """

    code_types = ("str",)
    pattern: str | None = None
    what: str = "text"
    empty: bool = False
    path: Literal["", "path", "dotted"] = ""
    sample: str = "text"

    def fits(self, value: object) -> bool:
        return isinstance(value, str)

    def quick_check(self, data: object) -> bool:
        if not isinstance(data, str) or (self.path and "\0" in data):
            return False
        return matches(self.pattern, data) if self.pattern else self.empty or data != ""

    def json_schema(self, writer: SchemaWriter) -> Schema:
        pattern = self.pattern
        if pattern is None and self.path:
            pattern = _WORD_PATTERN if self.empty else _PATH_PATTERN
        if pattern is not None:
            return {"type": "string", "pattern": writer.pattern(pattern)}
        return {"type": "string"} if self.empty else {"type": "string", "minLength": 1}

    def is_escapable(self) -> bool:
        return True

    def phrases(self) -> list[str]:
        return [self.what]

    def plural(self) -> str:
        return {"text": "texts", "a word": "words"}.get(self.what) or super().plural()

    def example(self) -> str:
        return self.sample


class Choice(Shape, frozen=True):
    """One of a few strings."""

    values: tuple[str, ...]

    def fits(self, value: object) -> bool:
        return isinstance(value, str)

    def quick_check(self, data: object) -> bool:
        return isinstance(data, str) and data in self.values

    def json_schema(self, writer: SchemaWriter) -> Schema:
        return {"enum": list(self.values)}

    def fault(self, value: object, path: Path, among: Shape, *, hidden: bool) -> Fault:
        if hidden or not isinstance(value, str):
            return super().fault(value, path, among, hidden=hidden)
        near = did_you_mean(value, self.values)
        return Fault(
            "unknown-value",
            path,
            f"{name_value(path)} cannot be `{shorten(value)}`",
            label=f"did you mean `{near}`?" if near else "",
            help=f"expected {among.describe()}",
        )

    def phrases(self) -> list[str]:
        return [f"`{value}`" for value in self.values]

    def annotations(self) -> list[str]:
        quoted = (f'"{value}"' for value in self.values)
        return [f"Literal[{', '.join(quoted)}]"]

    def example(self) -> str:
        return self.values[0]


class Flag(Shape, frozen=True):
    """True or false."""

    code_types = ("bool",)

    def quick_check(self, data: object) -> bool:
        return isinstance(data, bool)

    def json_schema(self, writer: SchemaWriter) -> Schema:
        return {"type": "boolean"}

    def phrases(self) -> list[str]:
        return ["`true`", "`false`"]

    def example(self) -> bool:
        return True


class Null(Shape, frozen=True):
    """Null, which a field admits only where it has a meaning of its own."""

    code_types = ("None",)

    def quick_check(self, data: object) -> bool:
        return data is None

    def json_schema(self, writer: SchemaWriter) -> Schema:
        return {"type": "null"}

    def phrases(self) -> list[str]:
        return ["null"]

    def example(self) -> None:
        return None


class Number(Shape, frozen=True):
    """A finite number within bounds, a float in the spec."""

    code_types = ("float",)
    noun: ClassVar[str] = "a number"
    json_type: ClassVar[str] = "number"
    low: float | None = None
    high: float | None = None

    def fits(self, value: object) -> bool:
        return _is_number(value)

    def quick_check(self, data: object) -> bool:
        return (
            _is_number(data)
            and self.fits(data)
            and math.isfinite(data)
            and (self.low is None or data >= self.low)
            and (self.high is None or data <= self.high)
        )

    def json_schema(self, writer: SchemaWriter) -> Schema:
        return self._schema(self.low, self.high)

    def _schema(self, low: float | None, high: float | None) -> Schema:
        bounds = {"minimum": low, "maximum": high}
        stated = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"type": self.json_type, **stated}

    def fault_code(self, value: object) -> str:
        return "out-of-range" if _is_number(value) else "wrong-type"

    def build(self, data: object) -> float:
        return float(_finite(data))

    def phrases(self) -> list[str]:
        low, high = self.low, self.high
        if low is not None and high is not None:
            return [f"{low:g}" if low == high else f"{self.noun} from {low:g} to {high:g}"]
        if low is not None:
            return [f"{self.noun} of at least {low:g}"]
        return [self.noun if high is None else f"{self.noun} of at most {high:g}"]

    def example(self) -> float:
        return next((bound for bound in (self.low, self.high) if bound is not None), 1)


class Integer(Number, frozen=True):
    """A whole number within bounds."""

    code_types = ("int",)
    noun = "a whole number"
    json_type = "integer"
    low: int | None = None
    high: int | None = None

    def fits(self, value: object) -> bool:
        # `1e19` is whole, and no whole number that could be written.
        return _is_number(value) and LEAST <= value <= MOST and float(value).is_integer()

    def json_schema(self, writer: SchemaWriter) -> Schema:
        if writer.reading == "checked":
            return self._schema(LEAST if self.low is None else self.low, self.high or MOST)
        return super().json_schema(writer)

    def build(self, data: object) -> int:
        return int(_finite(data))


class _Quantity(Shape, frozen=True):
    """A number, or text of a number and a unit."""

    pattern: ClassVar[str]
    bare: ClassVar[Number]
    """What it is without a unit."""
    what: ClassVar[str]
    low: float = 0

    def fits(self, value: object) -> bool:
        return isinstance(value, str) or _is_number(value)

    def quick_check(self, data: object) -> bool:
        if isinstance(data, str):
            return matches(self.pattern, data)
        return _is_number(data) and data >= self.low and self.bare.quick_check(data)

    def json_schema(self, writer: SchemaWriter) -> Schema:
        # Keywords of the other type are silent: `pattern` judges strings, `minimum` numbers.
        return {
            "type": ["string", self.bare.json_type],
            "pattern": writer.pattern(self.pattern),
            "minimum": self.low,
        }

    def fault_code(self, value: object) -> str:
        return "bad-quantity"

    def phrases(self) -> list[str]:
        return [self.what]


class Duration(_Quantity, frozen=True):
    """A time: `500ms 20s 10min 2h 7d`, or a number of seconds; float seconds in the spec."""

    code_types = ("float", "str")
    units = "`ms`, `s`, `min`, `h` and `d`"
    pattern = DURATION_PATTERN
    bare = Number()
    what = "a duration such as `500ms`, `20s` or `2h`"
    low: float = 0.0

    def build(self, data: object) -> float:
        return parse_duration(data)  # type: ignore[arg-type]

    def write(self, value: object, stated: object = None) -> Any:
        return write_duration(value) if isinstance(value, float) else super().write(value)

    def example(self) -> str:
        return "20s"


class Size(_Quantity, frozen=True):
    """An amount of data: `2GiB`, `512KiB`, or a number of bytes; int bytes in the spec."""

    code_types = ("int", "str")
    units = "`B`, `KiB`, `MiB`, `GiB` and `TiB`, or `kB`, `MB`, `GB` and `TB` for powers of 1000"
    pattern = SIZE_PATTERN
    bare = Integer()
    what = "a size such as `512KiB` or `2GiB`"

    def build(self, data: object) -> int:
        return parse_size(data)  # type: ignore[arg-type]

    def write(self, value: object, stated: object = None) -> Any:
        return write_size(value) if isinstance(value, int) else super().write(value)

    def example(self) -> str:
        return "2GiB"


class Referable(Shape, frozen=True):
    """Text that may also come from outside: `{$env: …}` or `{$file: …}`."""

    code_types = ("str", "Reference", "Mapping[str, Any]")
    text: Text

    def fits(self, value: object) -> bool:
        return isinstance(value, (str, *REFERENCES))

    def quick_check(self, data: object) -> bool:
        return isinstance(data, REFERENCES) or self.text.quick_check(data)

    def json_schema(self, writer: SchemaWriter) -> Schema:
        return writer.or_reference(self.text.json_schema(writer))

    def is_escapable(self) -> bool:
        return True

    def phrases(self) -> list[str]:
        return [self.text.what, "`{$env: NAME}`", "`{$file: path}`"]

    def example(self) -> str:
        return self.text.example()


class Secret(Shape, frozen=True):
    """A reference, `""` for "none is sent", or `{$public: …}`; never a literal."""

    code_types = ("str", "Reference", "Mapping[str, Any]")
    is_secret = True

    def fits(self, value: object) -> bool:
        return isinstance(value, (str, *REFERENCES))

    def quick_check(self, data: object) -> bool:
        return isinstance(data, REFERENCES) or data == ""

    def json_schema(self, writer: SchemaWriter) -> Schema:
        return writer.or_reference({"const": ""})

    def phrases(self) -> list[str]:
        return ["`{$env: NAME}`", "`{$file: path}`", '`""` for none']

    def example(self) -> str:
        return ""


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(data: object) -> int | float:
    if not _is_number(data) or not math.isfinite(data):
        raise TypeError("a finite number is expected here")
    return data
