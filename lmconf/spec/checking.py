"""Judging plain data against a shape: every fault at once, each at its own path, in our words."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from lmconf.secrets import is_secret_name
from lmconf.spec.declaring import fields
from lmconf.spec.describing import describe
from lmconf.spec.fitting import fully_fits
from lmconf.spec.navigating import REFERENCES, Unread, choose, kind_of, shape_at, step_into
from lmconf.spec.schema import Writer
from lmconf.spec.shapes import (
    Choice,
    Duration,
    Integer,
    Kinds,
    MapOf,
    Number,
    Record,
    Secret,
    Shape,
    Size,
)
from lmconf.spelling import did_you_mean

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Path = tuple[str | int, ...]


class Fault(Struct, frozen=True):
    """One thing that is wrong with plain data; `at_key` places it at the key, not the value."""

    code: str
    path: Path
    message: str
    label: str = ""
    help: str = ""
    at_key: bool = False


def check(
    shape: Record | Kinds | MapOf, data: Mapping[str, object], *, partial: bool = False
) -> list[Fault]:
    """Return every fault of `data` against `shape`, in the order of the document.

    `data` is plain JSON data with references as `Env`, `File`, `Given` and `Public` objects and
    `Unread()` where something was already reported. An empty list means that `build` succeeds.
    With `partial`, keys that `data` lacks at its root are no fault.
    """
    faults: dict[tuple[Path, bool], Fault] = {}
    for fault in (*_secret_faults(shape, data, ()), *_schema_faults(shape, data, partial)):
        if not (partial and fault.code == "missing-key" and fault.path == ()):
            faults.setdefault((fault.path, fault.at_key), fault)
    return list(faults.values())


def _schema_faults(
    shape: Record | Kinds | MapOf, data: Mapping[str, object], partial: bool
) -> Iterator[Fault]:
    if fully_fits(shape, data, partial=partial):
        return
    for error in _validator(shape).iter_errors(cast(Any, _spelled(data))):
        path: Path = tuple(error.absolute_path)
        if not any(isinstance(_at(data, path[:end]), Unread) for end in range(len(path) + 1)):
            yield from _translate(shape, data, path, error)


@functools.cache
def _validator(shape: Record | Kinds | MapOf) -> Validator:
    # jsonschema takes 60 ms to import, and reads remote references unless given a registry.
    from jsonschema import Draft202012Validator
    from referencing import Registry

    writer = Writer("resolved")
    schema = writer.finish("check", "urn:lmconf:check", writer.schema(shape))
    registry: Registry[Any] = Registry()
    return Draft202012Validator(schema, registry=registry)


def _spelled(data: object) -> object:
    if isinstance(data, Mapping):
        return {key: _spelled(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_spelled(value) for value in data]
    return dict(data.written()) if isinstance(data, REFERENCES) else data


def _at(data: object, path: Path) -> object:
    for step in path:
        data = step_into(data, step)
    return data


def _translate(
    shape: Shape, data: Mapping[str, object], path: Path, error: ValidationError
) -> Iterator[Fault]:
    here = shape_at(shape, data, path)
    value = _at(data, path)
    if error.validator == "additionalProperties" and isinstance(value, Mapping):
        yield from _unknown_keys(here, value, path)
    elif error.validator == "required" and isinstance(value, Mapping) and here is not None:
        type_ = _record_type(here, value)
        known = fields(type_) if type_ is not None else {}
        misspelt = {did_you_mean(key, known) for key in value if key not in known}
        for key in cast(list[str], error.validator_value):
            if key in value or key in misspelt:
                continue
            yield Fault(
                "missing-key", path, f"`{key}` is missing{_inside(path)}", help=f"add `{key}`"
            )
    elif error.validator == "propertyNames" or "propertyNames" in error.absolute_schema_path:
        yield Fault(
            "bad-name",
            (*path, str(error.instance)),
            f"`{error.instance}` is not a name",
            help="names are letters, digits, `_` and `-`, and begin with a letter or `_`",
            at_key=True,
        )
    elif here is not None:
        yield _wrong_value(here, value, path)


def _wrong_value(shape: Shape, value: object, path: Path) -> Fault:
    chosen = choose(shape, value)
    name = next((step for step in reversed(path) if isinstance(step, str)), "the document")
    expected = describe(shape)
    secret = any(isinstance(step, str) and is_secret_name(step) for step in path)
    if isinstance(chosen, Choice) and isinstance(value, str) and not secret:
        near = did_you_mean(value, chosen.values)
        return Fault(
            "unknown-value",
            path,
            f"`{name}` cannot be `{value}`",
            label=f"did you mean `{near}`?" if near else "",
            help=f"expected {expected}",
        )
    if isinstance(chosen, Integer | Number) and not isinstance(value, str):
        code = "out-of-range"
    elif isinstance(chosen, Duration | Size):
        code = "bad-quantity"
    else:
        code = "wrong-type"
    found = "" if secret else f", not {_shown(value)}"
    return Fault(
        code, path, f"`{name}` must be {expected}{found}", help=_quoting_help(chosen, value)
    )


def _quoting_help(shape: Shape, value: object) -> str:
    if isinstance(value, str) and value.strip():
        try:
            float(value)
        except ValueError:
            return ""
        return f"write it without quotes: {value.strip()}"
    if isinstance(value, bool | int | float) and "text" in describe(shape):
        return "put it in quotes"
    return ""


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"`{value}`"
        case str():
            return f'the text "{value if len(value) <= 40 else value[:37] + "..."}"'
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return "a reference" if isinstance(value, REFERENCES) else f"a {type(value).__name__}"


def _unknown_keys(shape: Shape | None, value: Mapping[str, object], path: Path) -> Iterator[Fault]:
    type_ = _record_type(shape, value)
    if type_ is None:
        return
    known = fields(type_)
    hints: Mapping[str, str] = getattr(type_, "__hints__", {})
    for key in value:
        if key in known:
            continue
        near = did_you_mean(key, known)
        hint = hints.get(key, "")
        yield Fault(
            "unknown-key",
            (*path, key),
            f"unknown key `{key}`{_inside(path)}",
            label=f"did you mean `{near}`?" if near and not hint else "",
            help=hint or ("" if near else _known(known)),
            at_key=True,
        )


def _known(known: Mapping[str, object]) -> str:
    if "extra" in known:
        return (
            "a key that only this server knows goes under `extra`; `lmconf schema` lists the rest"
        )
    return f"known keys: {', '.join(known)}"


def _record_type(shape: Shape | None, value: Mapping[str, object]) -> type[Struct] | None:
    chosen = choose(shape, value) if shape is not None else None
    if isinstance(chosen, Record):
        return chosen.type
    return kind_of(chosen, value) if isinstance(chosen, Kinds) else None


def _inside(path: Path) -> str:
    return f" in `{'.'.join(str(step) for step in path)}`" if path else ""


def _secret_faults(shape: Shape | None, value: object, path: Path) -> Iterator[Fault]:
    """Find literals where only a reference may stand, by shape and by name, at any depth."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            inner = shape_at(shape, value, (key,)) if shape is not None else None
            here = (*path, key)
            if isinstance(choose(inner, item) if inner else None, Secret) or is_secret_name(key):
                yield from _literals(item, here)
            else:
                yield from _secret_faults(inner, item, here)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            inner = shape_at(shape, value, (index,)) if shape is not None else None
            yield from _secret_faults(inner, item, (*path, index))


def _literals(value: object, path: Path) -> Iterator[Fault]:
    if isinstance(value, str) and value:
        name = next(step for step in reversed(path) if isinstance(step, str))
        yield Fault(
            "literal-secret",
            path,
            f"`{name}` holds a literal secret",
            label="a secret never stands in a profile",
            help=f"put it into the environment and write `{name}: {{$env: {_variable(name)}}}`"
            f" (or `{{$file: path}}`; `{{$public: …}}` if it is no secret)",
        )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _literals(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _literals(item, (*path, index))


def _variable(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).upper()
