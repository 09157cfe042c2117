"""The kinds of values that hold others without fields: lists, mappings, data, alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmconf.schema.fault import UnreadableValue
from lmconf.schema.frozen import FrozenMap, freeze
from lmconf.schema.patterns import matches
from lmconf.schema.primitives import Choice, Null
from lmconf.schema.value import Shape
from lmconf.secrets.references import REFERENCES

if TYPE_CHECKING:
    from lmconf.schema.json_schema import Schema, SchemaWriter

__all__ = ["Either", "Json", "ListOf", "MapOf", "nullable"]

_MOST_NAMED = 8
"""Of how many words a list's items may be for a type in code to name them all."""


class ListOf(Shape, frozen=True):
    """A list, a tuple in the spec; with `single`, one item may stand for a list of one."""

    form = "array"
    item: Shape
    low: int = 0
    high: int | None = None
    single: bool = False

    def fits(self, value: object) -> bool:
        return isinstance(value, list | tuple)

    def quick_check(self, data: object) -> bool:
        if not isinstance(data, list) or len(data) < self.low:
            return False
        if self.high and len(data) > self.high:
            return False
        check = self.item.quick_check
        return all(check(entry) or isinstance(entry, UnreadableValue) for entry in data)

    def json_schema(self, writer: SchemaWriter) -> Schema:
        whole = self.whole_schema(writer)
        if not (self.single and writer.authored):
            return whole
        return {"if": {"type": "array"}, "then": whole, "else": whole["items"]}

    def whole_schema(self, writer: SchemaWriter) -> Schema:
        found: Schema = {"type": "array", "items": writer.schema(self.item, item=True)}
        if self.low:
            found["minItems"] = self.low
        if self.high is not None:
            found["maxItems"] = self.high
        return found

    def words(self) -> tuple[str, ...]:
        return ("value", "unset", "change", "template")

    def build(self, data: object) -> tuple[Any, ...]:
        if not isinstance(data, list | tuple):
            raise TypeError("a list is expected here")
        return tuple(map(self.item.build, data))

    def write(self, value: object, stated: object = None) -> Any:
        if not isinstance(value, tuple):
            return super().write(value)
        said = stated if isinstance(stated, list | tuple) else ()
        aligned = said if len(said) == len(value) else (None,) * len(value)
        return list(map(self.item.write, value, aligned))

    def phrases(self) -> list[str]:
        return [f"a list of {self.item.plural()}"]

    def annotations(self) -> list[str]:
        several = isinstance(self.item, Choice) and len(self.item.values) > _MOST_NAMED
        one = ["str"] if several else self.item.annotations()
        # A mapping is an operator: `{"$append": […]}`.
        return [
            f"Sequence[{' | '.join(dict.fromkeys(one))}]",
            *(one if self.single else ()),
            "Mapping[str, Any]",
        ]

    def example(self) -> list[Any]:
        return [self.item.example() for _ in range(self.low)]

    @property
    def short_form(self) -> Shape | None:
        return self.item if self.single else None

    def parts(self) -> tuple[Shape, ...]:
        return (self.item,)

    def takes_block(self) -> bool:
        return self.single and self.item.takes_block()

    def child(self, value: object, step: str | int) -> Shape | None:
        return self.item if isinstance(step, int) else None


class MapOf(Shape, frozen=True):
    """A mapping from free names to values of one shape; a `FrozenMap` in the spec.

    With `secrets`, a value whose name says "secret" must be a reference.
    """

    form = "object"
    nouns = "mappings"
    value: Shape
    names: str | None = None
    secrets: bool = False

    def fits(self, value: object) -> bool:
        return isinstance(value, Mapping)

    def quick_check(self, data: object) -> bool:
        return isinstance(data, dict) and all(
            (self.value.quick_check(entry) or isinstance(entry, UnreadableValue))
            and (self.names is None or matches(self.names, key))
            for key, entry in data.items()
        )

    def json_schema(self, writer: SchemaWriter) -> Schema:
        found: Schema = {"type": "object", "additionalProperties": writer.schema(self.value)}
        if self.names is not None:
            found["propertyNames"] = {"pattern": writer.pattern(self.names)}
        return found

    def words(self) -> tuple[str, ...]:
        return ("value", "unset")

    def is_escapable(self) -> bool:
        return True

    def build(self, data: object) -> FrozenMap[str, Any]:
        if not isinstance(data, Mapping):
            raise TypeError("a mapping is expected here")
        build = self.value.build
        return FrozenMap((key, build(value)) for key, value in data.items())

    def write(self, value: object, stated: object = None) -> Any:
        if not isinstance(value, Mapping):
            return super().write(value)
        if _needs_escape(value):
            return {"$value": _bare(value)}
        words = stated if isinstance(stated, Mapping) else {}
        return {key: self.value.write(entry, words.get(key)) for key, entry in value.items()}

    def phrases(self) -> list[str]:
        return ["a mapping"]

    def annotations(self) -> list[str]:
        return [f"Mapping[str, {' | '.join(dict.fromkeys(self.value.annotations()))}]"]

    def example(self) -> dict[str, Any]:
        return {"a": self.value.example()}

    def parts(self) -> tuple[Shape, ...]:
        return (self.value,)

    def child(self, value: object, step: str | int) -> Shape | None:
        return self.value


class Json(Shape, frozen=True):
    """Any JSON value, deeply frozen; under secret names only references are accepted."""

    form = "object"
    nouns = "mappings"
    mapping: bool = False

    def fits(self, value: object) -> bool:
        return isinstance(value, Mapping) or not self.mapping

    def quick_check(self, data: object) -> bool:
        return (isinstance(data, dict) or not self.mapping) and _is_json(data)

    def json_schema(self, writer: SchemaWriter) -> Schema:
        return {"type": "object"} if self.mapping else {}

    def words(self) -> tuple[str, ...]:
        # Any value is data already, whatever it looks like.
        return ("value", "unset") if self.mapping else ()

    def build(self, data: object) -> Any:
        return freeze(data)

    def write(self, value: object, stated: object = None) -> Any:
        if isinstance(value, Mapping):
            if _needs_escape(value):
                return {"$value": _bare(value)}
            return {key: self.write(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return list(map(self.write, value))
        return super().write(value)

    def phrases(self) -> list[str]:
        return ["a mapping" if self.mapping else "any value"]

    def annotations(self) -> list[str]:
        return ["Mapping[str, Any]" if self.mapping else "Any"]

    def example(self) -> dict[str, Any]:
        return {}

    def takes_block(self) -> bool:
        return self.mapping

    def child(self, value: object, step: str | int) -> Shape | None:
        return Json()


class Either(Shape, frozen=True):
    """Any of several shapes that different JSON types tell apart."""

    options: tuple[Shape, ...]

    def fits(self, value: object) -> bool:
        return any(option.fits(value) for option in self.options)

    def quick_check(self, data: object) -> bool:
        chosen = self.choose(data)
        return chosen is not self and chosen.quick_check(data)

    def json_schema(self, writer: SchemaWriter) -> Schema:
        # A block or a list among the alternatives is told apart by its type, so that a mistake
        # inside it is reported at its own field and not as "matches none of the alternatives".
        forms: dict[str, list[Shape]] = {"atom": [], "array": [], "object": []}
        for option in self.options:
            forms[option.form].append(option)
        atoms = forms.pop("atom")
        if writer.authored:
            large = (option.short_form for found in forms.values() for option in found)
            atoms += [short for short in large if short is not None]
        rest = writer.any_of([atom.json_schema(writer) for atom in atoms])
        for form, found in forms.items():
            if found:
                rest = {"if": {"type": form}, "then": found[0].whole_schema(writer), "else": rest}
        return rest

    def words(self) -> tuple[str, ...]:
        lists = any("change" in option.words() for option in self.options)
        return ("value", "unset", "change", "template") if lists else super().words()

    def is_escapable(self) -> bool:
        return any(option.is_escapable() for option in self.options)

    def build(self, data: object) -> Any:
        chosen = self.choose(data)
        if chosen is self:
            raise TypeError(f"{type(data).__name__} fits none of the alternatives")
        return chosen.build(data)

    def write(self, value: object, stated: object = None) -> Any:
        return self.choose(value).write(value, stated)

    def phrases(self) -> list[str]:
        return [phrase for option in self.options for phrase in option.phrases()]

    def annotations(self) -> list[str]:
        return [each for option in self.options for each in option.annotations()]

    def example(self) -> Any:
        return self.options[0].example()

    @property
    def alternatives(self) -> tuple[Shape, ...]:
        return self.options

    def choose(self, value: object) -> Shape:
        for option in self.options:
            if option.fits(value):
                return option.choose(value)
        return self

    def parts(self) -> tuple[Shape, ...]:
        return self.options

    def takes_block(self) -> bool:
        return any(option.takes_block() for option in self.options)

    def child(self, value: object, step: str | int) -> Shape | None:
        chosen = self.choose(value)
        return None if chosen is self else chosen.child(value, step)


def nullable(shape: Shape) -> Either:
    """Return a shape that admits null beside what `shape` admits."""
    return Either((shape, Null()))


def _is_json(data: object) -> bool:
    """Say whether `data` is JSON, references aside; what is already broken is not."""
    if isinstance(data, dict):
        return all(map(_is_json, data.values()))
    if isinstance(data, list):
        return all(map(_is_json, data))
    return data is None or isinstance(data, (str, int, float, *REFERENCES))


def _needs_escape(value: Mapping[str, object]) -> bool:
    """Say whether a reader could take a key of `value` for a dollar word or a template."""
    # A mapping that holds references was read without `$value`: its keys are no dollar words.
    return any(key.startswith("$") or "{{" in key for key in value) and not _holds_reference(value)


def _holds_reference(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_reference, value.values()))
    if isinstance(value, tuple):
        return any(map(_holds_reference, value))
    return isinstance(value, REFERENCES)


def _bare(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    return list(map(_bare, value)) if isinstance(value, tuple) else value
