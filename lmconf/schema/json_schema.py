"""JSON Schema (Draft 2020-12) of a shape, in three readings.

*checked* judges plain data in which references stand as objects: `check` uses it, and only it
knows the type `reference`. *resolved* is what a dump holds: composed and rendered, references and
`$value` spelt out. *authored* is what a person may write: templates stand wherever a scalar may,
dollar words where they are allowed, and nothing is required that a parent may supply.

Alternatives are told apart by `if`, so that a mistake is reported by the alternative that was
meant, and an editor offers that one's keys and values.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from lmconf.schema.declaration import DeclaredField, fields
from lmconf.schema.description import describe
from lmconf.schema.patterns import python_pattern
from lmconf.schema.quantities import LEAST, MOST, SIZE_PATTERN
from lmconf.schema.serialize import write
from lmconf.schema.shapes import (
    PATH_PATTERN,
    WORD_PATTERN,
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
from lmconf.system.durations import DURATION_PATTERN

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


def _one(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


class SchemaWriter:
    """Collects the `$defs` of one schema while shapes are turned into schemas."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.authored = reading == "authored"
        self.defs: Schema = {}

    def schema(self, shape: Shape, *, item: bool = False) -> Schema:
        """Return the schema of `shape`, as this reading accepts it, at a key or in a list."""
        strict = self._strict(shape)
        words = self._words(shape, item)
        if not words:
            return strict
        name = "-or-".join(words)
        if len(words) == 1:
            return {"if": _looks_like(name), "then": _ref(name), "else": strict}
        if name not in self.defs:
            # What is written as one of these is never the value itself: it is judged as a word.
            self.defs[f"is-{name}"] = {"anyOf": [_looks_like(word) for word in words]}
            self.defs[name] = _one([_ref(word) for word in words])
        return {"if": _ref(f"is-{name}"), "then": _ref(name), "else": strict}

    def _words(self, shape: Shape, item: bool) -> list[str]:
        """Return what may stand for a value of `shape` beside the value itself."""
        if self.reading == "resolved":
            return ["value"] if _holds(shape, Text | Referable | MapOf) else []
        if not self.authored or (isinstance(shape, Json) and not shape.mapping):
            return []
        words = ["value"] if item else ["value", "unset"]
        if not item and _holds(shape, ListOf):
            words.append("change")
        if not isinstance(shape, MapOf | Kinds | Json) and not _is_plain_block(shape):
            words.append("template")
        return words

    def _strict(self, shape: Shape) -> Schema:
        match shape:
            case Text():
                return self._text(shape)
            case Choice(values=values):
                return {"enum": list(values)}
            case Flag():
                return {"type": "boolean"}
            case Null():
                return {"type": "null"}
            case Integer(low=low, high=high):
                if self.reading == "checked":
                    low, high = low if low is not None else LEAST, high or MOST
                return {"type": "integer"} | _bounds(low, high)
            case Number(low=low, high=high):
                return {"type": "number"} | _bounds(low, high)
            case Duration(low=low):
                return self._quantity("number", DURATION_PATTERN, low)
            case Size():
                return self._quantity("integer", SIZE_PATTERN, 0)
            case Referable(text=text_shape):
                return self._or_reference(self._strict(text_shape))
            case Secret():
                return self._or_reference({"const": ""})
            case Json(mapping=mapping):
                return {"type": "object"} if mapping else {}
            case _:
                return self._composite(shape)

    def _text(self, shape: Text) -> Schema:
        if shape.pattern is not None:
            return {"type": "string", "pattern": self._pattern(shape.pattern)}
        if shape.path:
            pattern = WORD_PATTERN if shape.empty else PATH_PATTERN
            return {"type": "string", "pattern": self._pattern(pattern)}
        text: Schema = {"type": "string"} if shape.empty else {"type": "string", "minLength": 1}
        if shape.suggestions and self.reading != "checked":
            return {"anyOf": [{"enum": list(shape.suggestions)}, text]}
        return text

    def _or_reference(self, other: Schema) -> Schema:
        if self.reading == "checked":
            return {"if": {"type": "reference"}, "else": other}
        return {"if": {"type": "object"}, "then": _ref("reference"), "else": other}

    def _pattern(self, pattern: str) -> str:
        return python_pattern(pattern) if self.reading == "checked" else pattern

    def _quantity(self, kind: str, pattern: str, low: float) -> Schema:
        # Keywords of the other type are silent: `pattern` judges strings, `minimum` numbers.
        return {"type": ["string", kind], "pattern": self._pattern(pattern), "minimum": low}

    def _composite(self, shape: Shape) -> Schema:
        match shape:
            case ListOf(item=item, low=low, high=high, single=single):
                one = self.schema(item, item=True)
                found: Schema = {"type": "array", "items": one}
                if low:
                    found["minItems"] = low
                if high is not None:
                    found["maxItems"] = high
                if single and self.authored:
                    return {"if": {"type": "array"}, "then": found, "else": one}
                return found
            case MapOf(value=value, names=names):
                mapping: Schema = {"type": "object", "additionalProperties": self.schema(value)}
                if names is not None:
                    mapping["propertyNames"] = {"pattern": self._pattern(names)}
                return mapping
            case Record(type=type_, short=short):
                record = self.reference(type_)
                if short is None or not self.authored:
                    return record
                return {"if": {"type": "object"}, "then": record, "else": self._strict(short)}
            case Kinds():
                return self._kinds(shape)
            case Either(options=options):
                return self._either(options)
            case _:
                raise TypeError(f"no schema for {type(shape).__name__}")

    def _kinds(self, shape: Kinds) -> Schema:
        names = [name for name in shape.table if name != "*"]
        tag: Schema = {"enum": names}
        if "*" in shape.table:
            tag = {"anyOf": [{"enum": names}, {"type": "string", "minLength": 1}]}
        if self.authored:
            braces = {"type": "string", "pattern": r"\{\{"}
            tag = {"if": braces, "then": _ref("template"), "else": tag}
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
        # A block or a list among the alternatives is told apart by its type, so that a mistake
        # inside it is reported at its own field and not as "matches none of the alternatives".
        blocks = [option for option in options if isinstance(option, Record | Kinds | MapOf | Json)]
        lists = [option for option in options if isinstance(option, ListOf)]
        atoms = [self._strict(o) for o in options if o not in blocks and o not in lists]
        shorts = [
            self._strict(option.short)
            for option in blocks
            if self.authored and isinstance(option, Record) and option.short is not None
        ]
        if self.authored:
            atoms += [self._strict(o.item) for o in lists if o.single]
        rest = _one([*atoms, *shorts])
        for kind, found in (("array", lists), ("object", blocks)):
            if found:
                rest = {"if": {"type": kind}, "then": self._block(found[0]), "else": rest}
        return rest

    def _block(self, shape: Shape) -> Schema:
        if isinstance(shape, ListOf):
            return self._strict(
                ListOf(item=shape.item, low=shape.low, high=shape.high, single=False)
            )
        return self._strict(Record(shape.type) if isinstance(shape, Record) else shape)

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
            "description": f"{field.doc} Expects {describe(field.shape)}.",
            "x-lmconf-class": field.role,
        }
        if not field.required and field.default is not None:
            found["default"] = write(field.shape, field.default)
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


def _holds(shape: Shape, kind: type[Any] | UnionType) -> bool:
    """Say whether `shape` or one of its alternatives is of `kind`."""
    if isinstance(shape, Either):
        return any(_holds(option, kind) for option in shape.options)
    return isinstance(shape, kind)


def _is_plain_block(shape: Shape) -> bool:
    return isinstance(shape, Record) and shape.short is None


def _bounds(low: float | None, high: float | None) -> Schema:
    found: Schema = {}
    if low is not None:
        found["minimum"] = low
    if high is not None:
        found["maximum"] = high
    return found
