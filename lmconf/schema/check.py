"""Judging plain data against a shape: every fault at once, each at its own path, in our words."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.schema.block import Kinds, Record, fields_fit
from lmconf.schema.containers import Json, MapOf
from lmconf.schema.declaration import fields
from lmconf.schema.fault import Fault, Path, UnreadableValue
from lmconf.schema.json_schema import SchemaWriter
from lmconf.schema.literals import literal_secrets
from lmconf.schema.primitives import Choice, Text
from lmconf.schema.quantities import LEAST, MOST
from lmconf.schema.value import Shape, step_into
from lmconf.secrets.references import REFERENCES, File
from lmconf.secrets.secret_names import is_secret_name
from lmconf.system.paths import with_home

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["MOST_FAULTS", "Fault", "check"]

MOST_FAULTS = 500
"""The most faults that are looked for by a schema: a list may hold a hundred thousand."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def check(
    shape: Record | Kinds | MapOf, data: Mapping[str, object], *, partial: bool = False
) -> list[Fault]:
    """Return every fault of `data` against `shape`, in the order of the document.

    `data` is plain JSON data with references as `Env`, `File`, `Given` and `Public` objects and
    `Unread()` where something was already reported. An empty list means that `build` succeeds.
    With `partial`, keys that `data` lacks at its root are no fault.
    """
    unsayable = list(_find_unserialisable(data, ()))
    if unsayable:
        return unsayable
    faults: dict[tuple[Path, bool], Fault] = {}
    for fault in (
        *literal_secrets(shape, data),
        *_homeless(shape, data, ()),
        *_schema_faults(shape, data, partial),
    ):
        if not (partial and fault.code == "missing-key" and fault.path == ()):
            faults.setdefault((fault.path, fault.at_key), fault)
    unknown = [fault.path for fault in faults.values() if fault.code == "unknown-key"]
    return [
        fault
        for fault in faults.values()
        if fault.code != "literal-secret" or not any(_below(fault.path, key) for key in unknown)
    ]


def _below(path: Path, other: Path) -> bool:
    return path[: len(other)] == other


def _homeless(shape: Shape | None, value: object, path: Path) -> Iterator[Fault]:
    """Find paths that lead nowhere on any machine, or below the home folder of nobody here."""
    if shape is None or isinstance(shape, Json):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _homeless(shape.child(value, key), item, (*path, key))
    elif isinstance(value, list | tuple):
        inner = shape.child(value, 0)
        for index, item in enumerate(value):
            yield from _homeless(inner, item, (*path, index))
    elif isinstance(value, File):
        yield from _no_home(value.path, path)
    elif isinstance(value, str) and value:
        chosen = shape.choose(value)
        if isinstance(chosen, Text) and chosen.path == "path":
            yield from _no_home(value, path)


def _no_home(stated: str, path: Path) -> Iterator[Fault]:
    if "\0" in stated:
        yield Fault("bad-path", path, "no path holds a NUL character")
    elif stated.startswith("~") and str(with_home(stated)).startswith("~"):
        yield Fault(
            "bad-path",
            path,
            f"there is no home folder `{stated.partition('/')[0]}` on this machine",
            help="write the whole path; `./~…` is a folder of this name",
        )


def _find_unserialisable(value: object, path: Path) -> Iterator[Fault]:
    """Find what no document can hold: it came from code, and could not be dumped."""
    match value:
        case Mapping():
            for key, item in value.items():
                yield from _find_unserialisable(key, (*path, key))
                yield from _find_unserialisable(item, (*path, key))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _find_unserialisable(item, (*path, index))
        case bool():
            return
        case int() if not LEAST <= value <= MOST:
            yield Fault("out-of-range", path, "a number beyond 64 bits cannot stand in a document")
        case float() if not math.isfinite(value):
            yield Fault("out-of-range", path, "NaN and infinities cannot stand in a document")
        case str() if _SURROGATE.search(value):
            message = "text with half of a surrogate pair cannot stand in a document"
            yield Fault("bad-text", path, message)


def _schema_faults(
    shape: Record | Kinds | MapOf, data: Mapping[str, object], partial: bool
) -> Iterator[Fault]:
    if partial and isinstance(shape, Record):
        sure = fields_fit(shape.type, data, partial=True)
    else:
        sure = shape.quick_check(data)
    if sure:
        return
    errors = _validator(shape).iter_errors(cast(Any, _tuples_as_lists(data)))
    # An error may have a fault for each of very many keys.
    yield from itertools.islice(_translate_errors(shape, data, errors), MOST_FAULTS)


def _translate_errors(
    shape: Shape, data: Mapping[str, object], errors: Iterable[ValidationError]
) -> Iterator[Fault]:
    for error in itertools.islice(errors, MOST_FAULTS):
        path: Path = tuple(error.absolute_path)
        if not any(
            isinstance(_at(data, path[:end]), UnreadableValue) for end in range(len(path) + 1)
        ):
            yield from _translate(shape, data, path, error)


@functools.cache
def _validator(shape: Record | Kinds | MapOf) -> Validator:
    # jsonschema takes 60 ms to import, and reads remote references unless given a registry.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    types = Draft202012Validator.TYPE_CHECKER.redefine("reference", _is_reference)
    writer = SchemaWriter("checked")
    schema = writer.finish("check", "urn:lmconf:check", writer.schema(shape))
    registry: Registry[Any] = Registry()
    checker: type[Validator] = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, type_checker=types
    )
    return checker(schema, registry=registry)


def _is_reference(checker: object, value: object) -> bool:
    return isinstance(value, REFERENCES)


def _tuples_as_lists(data: object) -> object:
    """Return `data` with tuples as lists, which is what JSON Schema knows."""
    if isinstance(data, Mapping):
        return {key: _tuples_as_lists(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_tuples_as_lists(value) for value in data]
    return data


def _at(data: object, path: Path) -> object:
    for step in path:
        data = step_into(data, step)
    return data


def _translate(
    shape: Shape, data: Mapping[str, object], path: Path, error: ValidationError
) -> Iterator[Fault]:
    here = shape.at(data, path)
    value = _at(data, path)
    if error.validator == "additionalProperties" and isinstance(value, Mapping):
        yield from _unknown_keys(here, value, path)
    elif error.validator == "required" and isinstance(value, Mapping) and here is not None:
        type_ = here.choose(value).type_of(value)
        known = fields(type_) if type_ is not None else {}
        misspelt = {did_you_mean(key, known) for key in value if key not in known}
        for key in cast(list[str], error.validator_value):
            if key in value or key in misspelt:
                continue
            yield Fault(
                "missing-key",
                path,
                f"`{key}` is missing{_inside(path)}",
                help=_addition(key, known[key].shape if key in known else here),
            )
    elif error.validator == "propertyNames" or "propertyNames" in error.absolute_schema_path:
        yield Fault(
            "bad-name",
            (*path, str(error.instance)),
            f"`{error.instance}` is not a name",
            help="templates stand in values, never in keys"
            if "{{" in str(error.instance)
            else "names are letters, digits, `_` and `-`, and begin with a letter or `_`",
            at_key=True,
        )
    elif here is not None:
        hidden = any(isinstance(step, str) and is_secret_name(step) for step in path)
        yield here.choose(value).fault(value, path, here, hidden=hidden)


def _addition(key: str, shape: Shape) -> str:
    """Return how a missing `key` is added; `shape` is its own, or that of the kinds it tells."""
    added = Choice(tuple(shape.names)) if isinstance(shape, Kinds) else shape
    return f"add `{key}`: {added.describe()}"


def _unknown_keys(shape: Shape | None, value: Mapping[str, object], path: Path) -> Iterator[Fault]:
    type_ = None if shape is None else shape.choose(value).type_of(value)
    if type_ is None:
        return
    known = fields(type_)
    hints: Mapping[str, str] = getattr(type_, "__hints__", {})
    for key in value:
        if key in known:
            continue
        near = did_you_mean(key, known) or _known_suffix(key, known)
        hint = hints.get(key, "")
        if is_secret_name(key):
            hint = f"write `{near or key}: {{$env: NAME}}`: a secret never stands in a profile"
        yield Fault(
            "unknown-key",
            (*path, key),
            f"unknown key `{key}`{_inside(path)}",
            label=f"did you mean `{near}`?" if near and key not in hints else "",
            help=hint or ("" if near else _replacement_help(key, value, known)),
            at_key=True,
        )


def _known_suffix(key: str, known: Mapping[str, object]) -> str | None:
    """Return the known key that `key` ends with: `openai_api_key` is `api_key` here."""
    return next(
        (name for name in known if len(name) > 3 and key.lower().endswith(f"_{name}")), None
    )


def _replacement_help(key: str, value: Mapping[str, object], known: Mapping[str, object]) -> str:
    if key[:1].isdigit() and value[key] is None:
        # `{initial: 0,5s}` is `initial: 0` and a key `5s`.
        return "a decimal is written with a point, such as `0.5s`"
    if "args" in known and "model" not in known:
        return f"arguments go under `args`: `args: {{{key}: …}}`"
    if "extra" in known:
        return "keys for the request's body go under `extra`; `lmconf schema` lists those of lmconf"
    return f"known keys: {', '.join(known)}"


def _inside(path: Path) -> str:
    return f" in `{'.'.join(str(step) for step in path)}`" if path else ""
