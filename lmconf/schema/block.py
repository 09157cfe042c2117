"""The kinds of values with fields: a block, and a block of one of several kinds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lmconf.schema.declaration import fields
from lmconf.schema.fault import UnreadableValue
from lmconf.schema.primitives import Choice
from lmconf.schema.value import BlockType, Shape

if TYPE_CHECKING:
    from lmconf.schema.json_schema import Schema, SchemaWriter

__all__ = ["Kinds", "Record", "fields_fit"]


class _Block(Shape, frozen=True):
    """A block with the fields of a Struct, which it is in the spec."""

    form = "object"
    code_types = ("Mapping[str, Any]", "Spec")

    def fits(self, value: object) -> bool:
        return isinstance(value, (Mapping, *self.block_types()))

    def quick_check(self, data: object) -> bool:
        if not isinstance(data, dict):
            return False
        type_ = self.type_of(data)
        return type_ is not None and fields_fit(type_, data)

    def build(self, data: object) -> Any:
        if isinstance(data, self.block_types()):
            return data
        if not isinstance(data, Mapping):
            raise TypeError("a mapping is expected here")
        type_ = self.type_of(data)
        if type_ is None:
            raise ValueError("no kind of block has this name")
        declared = fields(type_)
        return type_(**{name: declared[name].shape.build(item) for name, item in data.items()})

    def write(self, value: object, stated: object = None) -> Any:
        if not isinstance(value, Struct):
            return super().write(value)
        if isinstance(stated, Mapping) and "$value" in stated:
            stated = stated["$value"]
        written = {}
        for name, declared in fields(type(value)).items():
            held = getattr(value, name)
            if isinstance(stated, Mapping):
                if name in stated:
                    written[name] = declared.shape.write(held, stated[name])
            elif declared.required or held != declared.default or not _is_absent(held):
                written[name] = declared.shape.write(held)
        return written

    def example(self) -> dict[str, Any]:
        declared = fields(self.block_types()[0])
        return {name: field.shape.example() for name, field in declared.items() if field.required}

    def child(self, value: object, step: str | int) -> Shape | None:
        type_ = self.type_of(value)
        declared = None if type_ is None else fields(type_).get(str(step))
        return None if declared is None else declared.shape


class Record(_Block, frozen=True):
    """A block with fixed keys: a Struct of `type` in the spec.

    `shorthand` turns the atoms that may stand for the block into the block (`true` into
    `{mode: read_write}`), and answers None for those that may not; `short` is the shape of those.
    """

    nouns = "mappings"
    type: BlockType
    shorthand: Callable[[object], dict[str, object] | None] | None = None
    short: Shape | None = None

    def json_schema(self, writer: SchemaWriter) -> Schema:
        whole = self.whole_schema(writer)
        if self.short is None or not writer.authored:
            return whole
        return {"if": {"type": "object"}, "then": whole, "else": self.short.json_schema(writer)}

    def whole_schema(self, writer: SchemaWriter) -> Schema:
        return writer.reference(self.type)

    def words(self) -> tuple[str, ...]:
        return ("value", "unset") if self.short is None else super().words()

    def phrases(self) -> list[str]:
        return [*(() if self.short is None else self.short.phrases()), "a mapping"]

    def annotations(self) -> list[str]:
        return [*super().annotations(), *(() if self.short is None else self.short.annotations())]

    @property
    def short_form(self) -> Shape | None:
        return self.short

    def block_types(self) -> tuple[BlockType, ...]:
        return (self.type,)

    def type_of(self, value: object) -> BlockType | None:
        return self.type

    def keys_for(self, word: str) -> Iterator[str]:
        for name, field in fields(self.type).items():
            chosen = field.shape.choose(word)
            if isinstance(chosen, Choice) and word in chosen.values:
                yield name


class Kinds(_Block, frozen=True, eq=False):
    """A block whose `tag` key says which of several records it is.

    `table` maps each kind's name to its Struct type; each type carries the tag as its first
    field. `default` is the kind meant when the tag is left out. A kind outside the table has the
    type under the key "*", where there is one.
    """

    tag: str
    table: Mapping[str, BlockType]
    default: str | None = None

    def json_schema(self, writer: SchemaWriter) -> Schema:
        names = self.names
        tag: Schema = {"enum": names}
        if "*" in self.table:
            tag = {"anyOf": [{"enum": names}, {"type": "string", "minLength": 1}]}
        if writer.authored:
            tag = writer.or_template(tag)
        if self.default is not None:
            tag["default"] = self.default
        branches: list[Schema] = []
        for name in names:
            test: Schema = {"properties": {self.tag: {"const": name}}}
            if name != self.default:
                test["required"] = [self.tag]
            branches.append({"if": test, "then": writer.reference(self.table[name])})
        if "*" in self.table:
            other = {"properties": {self.tag: {"not": {"enum": names}}}, "required": [self.tag]}
            branches.append({"if": other, "then": writer.reference(self.table["*"])})
        found: Schema = {"type": "object", "properties": {self.tag: tag}, "allOf": branches}
        if self.default is None and not writer.authored:
            found["required"] = [self.tag]
        return found

    def words(self) -> tuple[str, ...]:
        return ("value", "unset")

    def build(self, data: object) -> Any:
        if self.default is not None and isinstance(data, Mapping):
            data = {self.tag: self.default, **data}
        return super().build(data)

    def phrases(self) -> list[str]:
        return [f"a mapping with `{self.tag}`"]

    def example(self) -> dict[str, Any]:
        return {**super().example(), self.tag: self.names[0]}

    @property
    def names(self) -> list[str]:
        """The names of the kinds that are known."""
        return [name for name in self.table if name != "*"]

    def block_types(self) -> tuple[BlockType, ...]:
        return tuple(self.table.values())

    def type_of(self, value: object) -> BlockType | None:
        tag = value.get(self.tag, self.default) if isinstance(value, Mapping) else None
        return self.table.get(tag, self.table.get("*")) if isinstance(tag, str) else None

    def child(self, value: object, step: str | int) -> Shape | None:
        if step == self.tag and isinstance(value, Mapping) and self.type_of(value) is None:
            return Choice(tuple(self.table))
        return super().child(value, step)


def fields_fit(type_: BlockType, data: Mapping[str, object], *, partial: bool = False) -> bool:
    """Say whether `data` is surely a right block of `type_`, or with `partial` a part of one."""
    declared = fields(type_)
    for key, value in data.items():
        field = declared.get(key)
        if field is None:
            return False
        if not field.shape.quick_check(value) and not isinstance(value, UnreadableValue):
            return False
    return partial or all(name in data for name in _required_fields(type_))


@functools.cache
def _required_fields(type_: BlockType) -> tuple[str, ...]:
    return tuple(name for name, field in fields(type_).items() if field.required)


def _is_absent(value: object) -> bool:
    return value is None or (isinstance(value, tuple | Mapping) and not value)
