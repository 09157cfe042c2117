"""References to values that live outside a profile, and the rule by which a name is a secret.

A secret is never part of a spec: `Env`, `File` and `Given` stand in its place, are written back
by dumps, and are resolved when a call is sent.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from lmconf.system.paths import with_home

__all__ = [
    "MASK",
    "REFERENCES",
    "Env",
    "File",
    "Given",
    "HiddenValues",
    "Masked",
    "MissingReference",
    "Public",
    "Reference",
    "convert_text",
    "resolve",
    "resolve_parts",
]

MASK = "***"
"""What is shown in the place of a secret."""

EnvType = Literal["str", "int", "float", "bool"]


class Env(Struct, frozen=True):
    """`{$env: NAME}`: the environment variable `name`, read when a call is sent.

    `default` is used when the variable is unset; `type` converts the text; `format` holds one
    `{}` that the text replaces (`Bearer {}`).
    """

    name: str
    default: str | int | float | bool | None = None
    type: EnvType = "str"
    format: str | None = None

    def written(self) -> Mapping[str, str | int | float | bool]:
        """Return the reference as a document spells it."""
        text: dict[str, str | int | float | bool] = {"$env": self.name}
        if self.default is not None:
            text["default"] = self.default
        if self.type != "str":
            text["type"] = self.type
        if self.format is not None:
            text["format"] = self.format
        return text


class File(Struct, frozen=True):
    """`{$file: path}`: the text of a file, less one trailing newline."""

    path: str
    format: str | None = None

    def written(self) -> Mapping[str, str]:
        """Return the reference as a document spells it."""
        text = {"$file": self.path}
        if self.format is not None:
            text["format"] = self.format
        return text


class Given(Struct, frozen=True, kw_only=True):
    """`{$given: name}`: a value that code passed and that no document can hold."""

    name: str

    def written(self) -> Mapping[str, str]:
        """Return the reference as a document spells it."""
        return {"$given": self.name}


class Public(Struct, frozen=True):
    """`{$public: …}`: a literal that stands in a secret's place and is declared to be none."""

    value: str | int | float | bool | None

    def written(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the value as a document spells it."""
        return {"$public": self.value}


class Masked:
    """What tools show by its own `__repr__`, and never by what it holds.

    rich, and with it structlog, would show each field of a msgspec Struct, whatever its `__repr__`
    says; sentry shows what is in a tuple, whatever its class.
    """

    __slots__ = ()

    def __rich_repr__(self) -> Any:
        """Return nothing to show: rich asks `__repr__` then."""
        return None


class HiddenValues(Masked, Mapping[str, str]):
    """Secrets by name that are there to be asked for, one by one.

    No repr shows them, and pickling leaves them behind.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Unshown({sorted(self._values)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return (HiddenValues, ())


Reference: TypeAlias = Env | File | Given | Public
"""What may stand where a spec holds no value of its own."""
REFERENCES = (Env, File, Given, Public)


_WHOLE = re.compile(r"[-+]?[0-9]{1,18}\Z")
_TRUE = frozenset(("true", "1", "yes", "on"))
_FALSE = frozenset(("false", "0", "no", "off"))


def convert_text(text: str, kind: EnvType) -> str | int | float | bool | None:
    """Return what a variable's `text` says as a value of the type `kind`, None where it is none."""
    stripped = text.strip()
    if kind == "str":
        return text
    if kind == "int":
        return int(stripped) if _WHOLE.match(stripped) else None
    if kind == "float":
        return _float(stripped)
    said = stripped.lower()
    return said in _TRUE if said in _TRUE | _FALSE else None


def _float(text: str) -> float | None:
    if len(text) > 100 or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class MissingReference(Exception):
    """A reference leads nowhere; the text says which and why, never a value."""


def resolve(reference: Env | File, environment: Mapping[str, str] | None = None) -> str:
    """Return the text that `reference` leads to, as it is now.

    Raises:
        Missing: the variable is unset and has no default, the file cannot be read, or the text
            holds control characters (a header or URL made from it could be split).
    """
    return resolve_parts(reference, environment)[0]


def resolve_parts(
    reference: Env | File, environment: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Return the text that `reference` leads to, and the part of it that comes from outside.

    The two differ where the reference has a `format`.

    Raises:
        Missing: as `resolve`.
    """
    if isinstance(reference, Env):
        text = _from_environment(reference, os.environ if environment is None else environment)
        what = f"environment variable {reference.name}"
    else:
        text = _from_file(reference)
        what = f"file {reference.path}"
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise MissingReference(f"{what} holds control characters")
    whole = text if reference.format is None else reference.format.replace("{}", text, 1)
    return whole, text


def _from_environment(reference: Env, environment: Mapping[str, str]) -> str:
    text = environment.get(reference.name)
    if text is not None:
        return text
    if reference.default is None:
        raise MissingReference(f"environment variable {reference.name} is not set")
    return str(reference.default)


def _from_file(reference: File) -> str:
    try:
        text = with_home(reference.path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise MissingReference(
            f"file {reference.path} cannot be read: {type(error).__name__}"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")
