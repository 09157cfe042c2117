"""JSON Schema (Draft 2020-12) of a shape, in three readings.

*checked* judges plain data in which references stand as objects: `check` uses it, and only it
knows the type `reference`. *resolved* is what a dump holds: composed and rendered, references and
`$value` spelt out. *authored* is what a person may write: templates stand wherever a scalar may,
dollar words where they are allowed, and nothing is required that a parent may supply.

Alternatives are told apart by `if`, so that a mistake is reported by the alternative that was
meant, and an editor offers that one's keys and values.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from lmconf.schema.declaration import DeclaredField, fields
from lmconf.schema.patterns import python_pattern
from lmconf.schema.value import Shape

Reading: TypeAlias = Literal["checked", "resolved", "authored"]
Schema: TypeAlias = dict[str, Any]

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
    "given": _word("$given", {"type": "string", "minLength": 1}, "A value that code passes."),
    "public": _word(
        "$public",
        {"type": ["string", "number", "boolean", "null"]},
        "A literal that is no secret although its name looks like one.",
    ),
    "value": _word("$value", {}, "Plain data: no templates, references or operators inside."),
    "reference": {
        "type": "object",
        "description": "A value that comes from outside: it is looked up when a call is sent.",
        "properties": {
            "$env": _ENV["properties"]["$env"],
            "$file": _FILE["properties"]["$file"],
            "$given": {"type": "string"},
            "$public": {"type": ["string", "number", "boolean", "null"]},
        },
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("env", "file", "given", "public")],
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


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _looks_like(word: str) -> Schema:
    if word == "template":
        return {"type": "string", "pattern": r"\{\{"}
    keys = ["$append", "$prepend"] if word == "change" else [f"${word}"]
    return {"type": "object", "anyOf": [{"required": [key]} for key in keys]}


class SchemaWriter:
    """Collects the `$defs` of one schema while shapes are turned into schemas."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.authored = reading == "authored"
        self.defs: Schema = {}

    def schema(self, shape: Shape, *, item: bool = False) -> Schema:
        """Return the schema of `shape`, as this reading accepts it, at a key or in a list."""
        strict = shape.json_schema(self)
        words = self._words(shape, item)
        if not words:
            return strict
        name = "-or-".join(words)
        if len(words) == 1:
            return {"if": _looks_like(name), "then": _ref(name), "else": strict}
        if name not in self.defs:
            # What is written as one of these is never the value itself: it is judged as a word.
            self.defs[f"is-{name}"] = {"anyOf": [_looks_like(word) for word in words]}
            self.defs[name] = self.any_of([_ref(word) for word in words])
        return {"if": _ref(f"is-{name}"), "then": _ref(name), "else": strict}

    def _words(self, shape: Shape, item: bool) -> list[str]:
        """Return what may stand for a value of `shape` beside the value itself."""
        if self.reading == "resolved":
            return ["value"] if shape.is_escapable() else []
        words = shape.words() if self.authored else ()
        return [word for word in words if not (item and word in ("unset", "change"))]

    def any_of(self, schemas: list[Schema]) -> Schema:
        """Return the schema of what one of `schemas` accepts."""
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def or_reference(self, other: Schema) -> Schema:
        """Return the schema of a reference, or of what `other` accepts."""
        if self.reading == "checked":
            return {"if": {"type": "reference"}, "else": other}
        return {"if": {"type": "object"}, "then": _ref("reference"), "else": other}

    def or_template(self, other: Schema) -> Schema:
        """Return the schema of a template, or of what `other` accepts."""
        return {"if": _looks_like("template"), "then": _ref("template"), "else": other}

    def pattern(self, pattern: str) -> str:
        """Return `pattern` as the validator of this reading takes it."""
        return python_pattern(pattern) if self.reading == "checked" else pattern

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
            "properties": {
                name: self.inherited(type_, name) or self.field(field)
                for name, field in declared.items()
            },
            "additionalProperties": False,
        }
        required = [name for name, field in declared.items() if field.required]
        if required and not self.authored:
            found["required"] = required
        return found

    def inherited(self, type_: type[Struct], name: str) -> Schema | None:
        """Return a `$ref` to the field of the type that `type_` has it from, if it has."""
        for base in reversed(type_.__mro__[1:]):
            if not issubclass(base, Struct) or vars(base).get("__part__"):
                continue
            if name in base.__struct_fields__:
                self.reference(base)
                return {"$ref": f"#/$defs/{base.__name__}/properties/{name}"}
        return None

    def field(self, field: DeclaredField) -> Schema:
        """Return the schema of one field, with what an editor shows about it."""
        found: Schema = {
            "description": f"{field.doc} Expects {field.shape.describe()}.",
            "x-lmconf-class": field.role,
        }
        if not field.required and field.default is not None:
            found["default"] = field.shape.write(field.default)
        if field.examples:
            found["examples"] = list(field.examples)
        if field.bound_to == "model":
            found["x-lmconf-bound-to-model"] = True
        return found | self.schema(field.shape)

    def finish(self, title: str, identifier: str, root: Schema) -> Schema:
        """Return the whole schema: `root` with every definition that it needs."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": identifier,
            "title": title,
            **root,
            "$defs": {**self._dollar_defs(), **dict(sorted(self.defs.items()))},
        }

    def _dollar_defs(self) -> Schema:
        if self.reading == "checked":
            return {}
        unused = () if self.authored else ("template", "unset", "change")
        return {name: schema for name, schema in _DOLLAR_DEFS.items() if name not in unused}
