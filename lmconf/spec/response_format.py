"""The forms that an answer may be asked to have: from a class to its JSON Schema, and back.

A class is a pydantic model, or anything that msgspec has a JSON Schema for: a Struct, a dataclass,
a TypedDict, a NamedTuple. What is sent is the `response_format` of the OpenAI API ("Structured
model outputs"); its strict mode demands that every object names all of its properties as required
and allows no others, so a schema is brought into that form, or sent without `strict` where it
cannot be.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias, cast

from msgspec import Struct

from lmconf.errors import UsageError
from lmconf.schema.frozen import thaw
from lmconf.schema.user_patterns import OutOfTime, Stopwatch, UserPattern, why_no_pattern

__all__ = [
    "FormatMismatch",
    "Read",
    "ResponseFormat",
    "format_as_data",
    "format_of",
    "is_class",
    "reader_for",
    "reader_for_request",
]

Read: TypeAlias = Callable[[str], object]


class FormatMismatch(ValueError):
    """A text is not of the form that was asked for; the message says where and why."""


class ResponseFormat(Struct, frozen=True, eq=False):
    """A class as a form of answers: `data` is what is sent, `read` makes an object of a text.

    `read` raises `FormatMismatch`.
    """

    data: Mapping[str, Any]
    read: Read


def is_class(value: object) -> bool:
    """Say whether `value` is a class or an alias such as `list[int]`, rather than data."""
    return isinstance(value, type) or hasattr(value, "__origin__")


def format_as_data(value: object) -> object:
    """Return what a `response_format` is as data: the form of a class, anything else as it is.

    Raises:
        UsageError: the class has no schema.
    """
    return thaw(format_of(value).data) if is_class(value) else value


@functools.lru_cache(maxsize=256)
def format_of(kind: Any) -> ResponseFormat:
    """Return the form that the class `kind` asks for.

    Raises:
        UsageError: it has no JSON Schema, or none of an object.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", getattr(kind, "__name__", str(kind)))[:64]
    schema, read = _pydantic(kind) if hasattr(kind, "model_json_schema") else _msgspec(kind, name)
    schema = _with_root(schema)
    if schema.get("type") != "object":
        raise UsageError(
            f"response_format={name}: an answer must be an object, and the schema of this class"
            " is not that of one; wrap it in a class with a field"
        )
    strict = _strict(schema)
    form: dict[str, Any] = {"name": name, "schema": schema if strict is None else strict}
    if strict is not None:
        form["strict"] = True
    return ResponseFormat({"type": "json_schema", "json_schema": form}, read)


def reader_for(data: Mapping[str, Any]) -> Read | None:
    """Return what reads answers of the `response_format` that `data` is; None where any text will do.

    Raises:
        UsageError: the JSON Schema in it is none.
    """
    match data.get("type"):
        case "json_object":
            return _decode_json
        case "json_schema":
            schema = (data.get("json_schema") or {}).get("schema")
            if isinstance(schema, Mapping):
                return _by_schema(json.dumps(thaw(schema), sort_keys=True))
            return _decode_json
        case _:
            return None


def reader_for_request(response_format: object, data: Mapping[str, Any]) -> Read | None:
    """Return what reads the answers to one request, None where any text will do.

    Args:
        response_format: as the caller passed it: a class, or data.
        data: the same `response_format` as data.

    Raises:
        UsageError: the JSON Schema is none.
    """
    return format_of(response_format).read if is_class(response_format) else reader_for(data)


def _pydantic(kind: Any) -> tuple[dict[str, Any], Read]:
    from pydantic import ValidationError
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    try:
        schema = kind.model_json_schema()
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        raise UsageError(f"{kind.__name__} has no JSON Schema: {error.message}") from None

    def read(text: str) -> object:
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in first["loc"])
            raise FormatMismatch(f"{first['msg']} - at `${place}`") from None

    return schema, read


def _msgspec(kind: Any, name: str) -> tuple[dict[str, Any], Read]:
    import msgspec

    try:
        if inspect.isclass(kind) and not hasattr(kind, "__annotations__"):
            raise TypeError("it declares no fields")
        schema = msgspec.json.schema(kind)
        decoder = msgspec.json.Decoder(kind)
    except (TypeError, NameError) as error:
        raise UsageError(
            f"response_format={name} has no JSON Schema: {str(error).splitlines()[0]}; use a"
            " pydantic model, a msgspec Struct, a dataclass or a TypedDict, or write the schema"
        ) from None

    def read(text: str) -> object:
        try:
            return decoder.decode(text)
        except msgspec.DecodeError as error:
            raise FormatMismatch(str(error)) from None

    return schema, read


def _with_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `schema` with the definition that its root refers to in the root's place."""
    whole = dict(schema)
    reference, definitions = whole.get("$ref"), whole.get("$defs")
    if not isinstance(reference, str) or not isinstance(definitions, Mapping):
        return whole
    name = reference.rpartition("/")[2]
    root = {**definitions[name], "$defs": dict(definitions)}
    if f'"{reference}"' not in json.dumps(definitions):  # else the class refers to itself
        del root["$defs"][name]
    if not root["$defs"]:
        del root["$defs"]
    return root


def _strict(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `schema` as strict mode wants it; None where an object's keys are not all known."""
    try:
        return cast("dict[str, Any]", _close_objects(schema))
    except _OpenObject:
        return None


class _OpenObject(Exception):
    """A schema holds an object whose keys are not all known."""


def _close_objects(value: Any) -> Any:
    if isinstance(value, list):
        return [_close_objects(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    closed: dict[str, Any] = {}
    for key, item in value.items():
        if key in ("properties", "$defs", "patternProperties"):
            closed[key] = {name: _close_objects(inner) for name, inner in item.items()}
        elif key in ("enum", "const", "examples", "required"):
            closed[key] = item
        elif key != "default":
            closed[key] = _close_objects(item)
    if closed.get("type") == "object":
        properties = closed.get("properties")
        if not properties or isinstance(closed.get("additionalProperties"), Mapping):
            raise _OpenObject
        closed["required"] = list(properties)
        closed["additionalProperties"] = False
    return closed


def _decode_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise FormatMismatch(f"it is no JSON: {error}") from None


@functools.lru_cache(maxsize=256)
def _by_schema(schema: str) -> Read:
    from jsonschema import SchemaError, validators
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    plain = json.loads(schema)
    validator = validators.validator_for(plain, default=validators.Draft202012Validator)
    try:
        validator.check_schema(plain)
    except SchemaError as error:
        raise UsageError(
            f"response_format: its JSON Schema is none: {error.message} at {error.json_path}"
        ) from None
    for ref in _references_in(plain):
        if not ref.startswith("#") and "$id" not in schema:
            raise UsageError(
                f"response_format: `$ref: {ref}` leads out of its JSON Schema, and nothing is fetched:"
                " put that under `$defs`"
            )
    for pattern in _patterns_of(plain):
        why = why_no_pattern(pattern)
        if why is not None:
            raise UsageError(f"response_format: the pattern `{pattern}` {why}")
    extend: Callable[..., Any] = validators.extend
    validator_class = extend(
        validator,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
            **{
                key: _with_time_limit(follow)
                for key, follow in validator.VALIDATORS.items()
                if key in ("$ref", "$dynamicRef", "$recursiveRef")
            },
        },
    )
    checker = validator_class(plain, registry=Registry())

    def read(text: str) -> object:
        value = _decode_json(text)
        watch = Stopwatch(_SECONDS)
        searching = _watch.set(watch)
        try:
            worst = best_match(checker.iter_errors(value))
        except OutOfTime:
            raise FormatMismatch("it could not be compared with its form in time") from None
        except RecursionError:
            raise FormatMismatch("its form, or it, is nested too deep, or without end") from None
        except Unresolvable as error:
            raise FormatMismatch(f"its form names a part that is not in it: {error.ref}") from None
        finally:
            _watch.reset(searching)
        if worst is not None:
            raise FormatMismatch(f"{worst.message[:300]} - at `{worst.json_path}`")
        return value

    return read


_SECONDS = 1.0
"""How much processor time the patterns and references of a schema may take in one answer."""

_watch: ContextVar[Stopwatch] = ContextVar("_watch")


def _with_time_limit(follow: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Return the keyword `follow`, which looks at another part, bounded: parts may double."""

    def follow_in_time(validator: Any, ref: str, value: object, schema: Any) -> Iterator[Any]:
        if _watch.get().left <= 0:
            raise OutOfTime
        yield from follow(validator, ref, value, schema)

    return follow_in_time


_DATA = frozenset(("const", "default", "enum", "examples"))


def _references_in(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    if isinstance(schema, Mapping):
        # Values of these are no schemas; a property of such a name is found when it is followed.
        inner = [item for key, item in schema.items() if key not in _DATA]
    else:
        inner = schema if isinstance(schema, list) else []
    for item in inner:
        yield from _references_in(item)


def _patterns_of(schema: object) -> Iterator[str]:
    """Yield the regular expressions of a JSON Schema, and of all that stands in it."""
    if isinstance(schema, Mapping):
        pattern, by_pattern = schema.get("pattern"), schema.get("patternProperties")
        yield from [pattern] if isinstance(pattern, str) else []
        yield from by_pattern if isinstance(by_pattern, Mapping) else []
    if isinstance(schema, Mapping | list):
        for item in schema.values() if isinstance(schema, Mapping) else schema:
            yield from _patterns_of(item)


def _matches(pattern: str, text: str) -> bool:
    return UserPattern(pattern).found_in(text, _watch.get())


# As jsonschema's own keywords, but for the engine.


def _pattern(validator: Any, pattern: str, value: object, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, by_pattern: Any, value: object, schema: Any
) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    for pattern, inner in by_pattern.items():
        for key, item in value.items():
            if _matches(pattern, key):
                yield from validator.descend(item, inner, path=key, schema_path=pattern)


def _additional_properties(validator: Any, inner: Any, value: object, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(value, dict):
        return
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    further = [
        key
        for key in value
        if key not in properties and not any(_matches(pattern, key) for pattern in patterns)
    ]
    if isinstance(inner, dict):
        for key in further:
            yield from validator.descend(value[key], inner, path=key)
    elif not inner and further:
        yield ValidationError(f"additional properties are not allowed: {', '.join(further)}")
