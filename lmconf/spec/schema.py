"""JSON Schema (Draft 2020-12) of a shape, in two readings.

*resolved* is what a document must be once it is composed and rendered; `check` uses it.
*authored* is what a person may write: templates stand wherever a scalar may, dollar words where
they are allowed, and nothing is required that a parent may supply. Editors use it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from lmconf.spec.declaring import Declared, fields
from lmconf.spec.describing import describe
from lmconf.spec.quantities import DURATION_PATTERN, SIZE_PATTERN
from lmconf.spec.shapes import (
    Choice,
    Duration,
    Either,
    Flag,
    Integer,
    Json,
    Kinds,
    ListOf,
    MapOf,
    Null,
    Number,
    Record,
    Referable,
    Secret,
    Shape,
    Size,
    Text,
)
from lmconf.spec.writing import write

Reading: TypeAlias = Literal["resolved", "authored"]
Schema: TypeAlias = dict[str, Any]

TEMPLATE: Schema = {"$ref": "#/$defs/template"}
REFERENCE: Schema = {"$ref": "#/$defs/reference"}

_ENV: Schema = {
    "type": "object",
    "description": "The value of an environment variable, read when a call is sent.",
    "properties": {
        "$env": {
            "type": "string",
            "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
            "description": "The variable's name.",
            "examples": ["OPENAI_API_KEY"],
        },
        "default": {"type": ["string", "number", "boolean"]},
        "type": {"enum": ["str", "int", "float", "bool"], "default": "str"},
        "format": {"type": "string", "examples": ["Bearer {}"]},
    },
    "required": ["$env"],
    "additionalProperties": False,
}
_FILE: Schema = {
    "type": "object",
    "description": "The text of a file, less one trailing newline.",
    "properties": {
        "$file": {"type": "string", "minLength": 1},
        "format": {"type": "string"},
    },
    "required": ["$file"],
    "additionalProperties": False,
}


def _word(name: str, value: Schema, description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {name: value},
        "required": [name],
        "additionalProperties": False,
    }


_DOLLAR_DEFS: Schema = {
    "template": {
        "type": "string",
        "pattern": r"\{\{[\s\S]*\}\}",
        "description": "A template: `{{ expression over vars }}`.",
    },
    "env": _ENV,
    "file": _FILE,
    "given": _word("$given", {"type": "string"}, "A value that code passes."),
    "public": _word(
        "$public",
        {"type": ["string", "number", "boolean", "null"]},
        "A literal that is no secret although its name looks like one.",
    ),
    "value": _word("$value", {}, "Plain data: no templates, references or operators inside."),
    "reference": {
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("env", "file", "given", "public")]
    },
    "unset": _word("$unset", {"const": True}, "Removes what a lower layer says."),
    "change": {
        "type": "object",
        "description": "Adds items to the list that a lower layer says.",
        "properties": {"$append": {"type": "array"}, "$prepend": {"type": "array"}},
        "minProperties": 1,
        "additionalProperties": False,
    },
}


class Writer:
    """Collects the `$defs` of one schema while shapes are turned into schemas."""

    def __init__(self, reading: Reading) -> None:
        self.authored = reading == "authored"
        self.defs: Schema = {}

    def schema(self, shape: Shape) -> Schema:
        """Return the schema of `shape`, as this reading accepts it."""
        strict = self._strict(shape)
        if not self.authored:
            return strict
        options: list[Schema] = [strict]
        if not isinstance(shape, MapOf | Record | Kinds | Json):
            options.append(TEMPLATE)
        if isinstance(shape, ListOf) or _holds_list(shape):
            options.append({"$ref": "#/$defs/change"})
        if not isinstance(shape, Json):
            options += [{"$ref": "#/$defs/value"}, {"$ref": "#/$defs/unset"}]
        return strict if len(options) == 1 else {"anyOf": options}

    def _strict(self, shape: Shape) -> Schema:
        match shape:
            case Text(pattern=pattern, empty=empty):
                text: Schema = {"type": "string"}
                if pattern is not None:
                    text["pattern"] = pattern
                elif not empty:
                    text["minLength"] = 1
                return text
            case Choice(values=values):
                return {"enum": list(values)}
            case Flag():
                return {"type": "boolean"}
            case Null():
                return {"type": "null"}
            case Integer(low=low, high=high):
                return {"type": "integer"} | _bounds(low, high)
            case Number(low=low, high=high):
                return {"type": "number"} | _bounds(low, high)
            case Duration(low=low):
                return _quantity(DURATION_PATTERN, low)
            case Size():
                return _quantity(SIZE_PATTERN, 0)
            case Referable(text=text_shape):
                return {"anyOf": [self._strict(text_shape), REFERENCE]}
            case Secret():
                return {"anyOf": [{"const": ""}, REFERENCE]}
            case Json(mapping=mapping):
                return {"type": "object"} if mapping else {}
            case _:
                return self._composite(shape)

    def _composite(self, shape: Shape) -> Schema:
        match shape:
            case ListOf(item=item, low=low, high=high, single=single):
                found: Schema = {"type": "array", "items": self.schema(item)}
                if low:
                    found["minItems"] = low
                if high is not None:
                    found["maxItems"] = high
                if single and self.authored:
                    return {"if": {"type": "array"}, "then": found, "else": self.schema(item)}
                return found
            case MapOf(value=value, names=names):
                mapping: Schema = {"type": "object", "additionalProperties": self.schema(value)}
                if names is not None:
                    mapping["propertyNames"] = {"pattern": names}
                return mapping
            case Record(type=type_, short=short):
                record = self.reference(type_)
                if short is None or not self.authored:
                    return record
                return {"if": {"type": "object"}, "then": record, "else": self.schema(short)}
            case Kinds():
                return self._kinds(shape)
            case Either(options=options):
                return self._either(options)
            case _:
                raise TypeError(f"no schema for {type(shape).__name__}")

    def _kinds(self, shape: Kinds) -> Schema:
        names = [name for name in shape.table if name != "*"]
        tag: Schema = {"type": "string"}
        if "*" not in shape.table:
            tag = {"enum": names}
        if shape.default is not None:
            tag["default"] = shape.default
        branches: list[Schema] = []
        for name in names:
            test: Schema = {"properties": {shape.tag: {"const": name}}}
            if name != shape.default:
                test["required"] = [shape.tag]
            branches.append({"if": test, "then": self.reference(shape.table[name])})
        if "*" in shape.table:
            other = {"properties": {shape.tag: {"not": {"enum": names}}}, "required": [shape.tag]}
            branches.append({"if": other, "then": self.reference(shape.table["*"])})
        found: Schema = {"type": "object", "properties": {shape.tag: tag}, "allOf": branches}
        if shape.default is None and not self.authored:
            found["required"] = [shape.tag]
        return found

    def _either(self, options: tuple[Shape, ...]) -> Schema:
        # A block among the alternatives is told apart by its type, so that a mistake inside it is
        # reported at its own field and not as "matches none of the alternatives".
        blocks = [option for option in options if isinstance(option, Record | Kinds | MapOf)]
        lists = [option for option in options if isinstance(option, ListOf)]
        atoms = [self._strict(o) for o in options if o not in blocks and o not in lists]
        rest: Schema = atoms[0] if len(atoms) == 1 else {"anyOf": atoms}
        for kind, found in (("array", lists), ("object", blocks)):
            if found:
                rest = {"if": {"type": kind}, "then": self._strict(found[0]), "else": rest}
        return rest

    def reference(self, type_: type[Struct]) -> Schema:
        """Return a `$ref` to the definition of `type_`, adding it when it is new."""
        name = type_.__name__
        if name not in self.defs:
            self.defs[name] = {}
            self.defs[name] = self.record(type_)
        return {"$ref": f"#/$defs/{name}"}

    def record(self, type_: type[Struct]) -> Schema:
        """Return the schema of a block with the fields of `type_`."""
        declared = fields(type_)
        found: Schema = {
            "type": "object",
            "description": (type_.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " "),
            "properties": {name: self.field(field) for name, field in declared.items()},
            "additionalProperties": False,
        }
        required = [name for name, field in declared.items() if field.required]
        if required and not self.authored:
            found["required"] = required
        return found

    def field(self, field: Declared) -> Schema:
        """Return the schema of one field, with what an editor shows about it."""
        found: Schema = {
            "description": f"{field.doc} Expects {describe(field.shape)}.",
            "x-lmconf-class": field.role,
        }
        if not field.required and field.default is not None:
            found["default"] = write(field.shape, field.default)
        if field.examples:
            found["examples"] = list(field.examples)
        if field.bound_to_model:
            found["x-lmconf-bound-to-model"] = True
        return found | self.schema(field.shape)

    def finish(self, title: str, identifier: str, root: Schema) -> Schema:
        """Return the whole schema: `root` with every definition that it needs."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": identifier,
            "title": title,
            **root,
            "$defs": {**_DOLLAR_DEFS, **dict(sorted(self.defs.items()))},
        }


def _holds_list(shape: Shape) -> bool:
    return isinstance(shape, Either) and any(isinstance(o, ListOf) for o in shape.options)


def _bounds(low: float | None, high: float | None) -> Schema:
    found: Schema = {}
    if low is not None:
        found["minimum"] = low
    if high is not None:
        found["maximum"] = high
    return found


def _quantity(pattern: str, low: float) -> Schema:
    # Keywords of the other type are silent: `pattern` judges strings, `minimum` numbers.
    return {"type": ["string", "number"], "pattern": pattern, "minimum": low}
