"""What every kind of value can do: the base of the kinds in `primitives.py` and `containers.py`.

A field's shape is stated once, beside its type. Its JSON Schema, its check, its building and
writing, its documentation and its type in code are methods of the shape, so they cannot disagree.
A new kind of value is one subclass of `Shape`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from msgspec import Struct

from lmconf.schema.fault import Fault, Path
from lmconf.schema.fault_messages import describe_kind, name_value, show_value, suggest_fix
from lmconf.secrets.references import REFERENCES

if TYPE_CHECKING:
    from lmconf.schema.json_schema import Schema, SchemaWriter

__all__ = ["BlockType", "Shape", "step_into"]

BlockType: TypeAlias = type[Struct]
"""What a block is in a spec."""


class Shape(Struct, frozen=True):
    """What a value may be: a frozen description, of which each kind of value is a subclass.

    A kind has `quick_check`, `json_schema`, `phrases` and `example` of its own, and overrides what
    else is different of it. As it stands, the rest is right for text, booleans and null.
    """

    form: ClassVar[Literal["atom", "array", "object"]] = "atom"
    """What tells it apart from other shapes among which it is an alternative."""
    code_types: ClassVar[tuple[str, ...]] = ("Any",)
    """The types of what code may pass, where they are always the same."""
    nouns: ClassVar[str] = ""
    """What several are called, if there is a word."""
    units: ClassVar[str] = ""
    """The units of its quantities, for messages."""
    is_secret: ClassVar[bool] = False
    """It is a credential, which never stands in a document."""

    # --- checking -------------------------------------------------------------------------------

    def fits(self, value: object) -> bool:
        """Say whether `value` has the JSON type of this shape, without looking inside."""
        return self.quick_check(value)

    def quick_check(self, data: object) -> bool:
        """Say in microseconds whether `data` is surely right, all the way down.

        This and the JSON Schema are two readings of one declaration: whatever is right here is
        accepted there (a property test holds them together). What is not is left to the schema,
        by which `check` says what is wrong. `UnreadableValue()` is right everywhere below.
        """
        raise NotImplementedError

    def json_schema(self, writer: SchemaWriter) -> Schema:
        """Return the schema of the value itself, as the reading of `writer` accepts it."""
        raise NotImplementedError

    def whole_schema(self, writer: SchemaWriter) -> Schema:
        """Return the schema of the value without what may stand for it (see `short_form`)."""
        return self.json_schema(writer)

    def words(self) -> tuple[str, ...]:
        """Return what a person may write in its place, by the names of the schemas of that."""
        return ("value", "unset", "template")

    def is_escapable(self) -> bool:
        """Say whether a dump may wrap it in `$value`."""
        return False

    def fault(self, value: object, path: Path, among: Shape, *, hidden: bool) -> Fault:
        """Return what is wrong with a value.

        Args:
            value: what this shape does not admit.
            path: where it stands.
            among: the shape that is expected there; this one, or one with it as an alternative.
            hidden: the value is not to be shown.
        """
        shown = describe_kind(value) if hidden else show_value(value)
        return Fault(
            self.fault_code(value),
            path,
            f"{name_value(path)} must be {among.describe()}, not {shown}",
            help="" if hidden else suggest_fix(among, value, path),
        )

    def fault_code(self, value: object) -> str:
        """Return the code of the fault that `value` is."""
        return "wrong-type"

    # --- building and writing -------------------------------------------------------------------

    def build(self, data: object) -> Any:
        """Return the value of a spec that `data` spells.

        `data` is plain JSON data in which references stand as `Env`, `File`, `Given` and `Public`
        objects. It must have passed `check`; a spec value in the place of its data is kept as it
        is.

        Raises:
            TypeError, ValueError: `data` did not pass `check`.
        """
        if data is None or isinstance(data, (str, bool, *REFERENCES)):
            return data
        raise TypeError(f"{type(data).__name__} is not expected here")

    def write(self, value: object, stated: object = None) -> Any:
        """Return the plain data that builds `value` again.

        With `stated`, the data that was once said, only the fields named in it are written;
        otherwise every field is, except those whose default means "not there" (null, or empty).
        Text with `{{` and mappings that look like dollar words are wrapped in `$value`.
        """
        if isinstance(value, REFERENCES):
            return dict(value.written())
        if isinstance(value, str) and "{{" in value:
            return {"$value": value}
        return value

    # --- describing -----------------------------------------------------------------------------

    def describe(self) -> str:
        """Return what the shape admits as a short noun phrase."""
        parts = self.phrases()
        if len(parts) == 1:
            return parts[0]
        # A part with a comma of its own must not run into the next.
        last = ", or" if any("," in part or " of " in part for part in parts) else " or"
        return f"{', '.join(parts[:-1])}{last} {parts[-1]}"

    def phrases(self) -> list[str]:
        """Return a noun phrase for each thing that the shape admits."""
        raise NotImplementedError

    def plural(self) -> str:
        """Return what the items of a list of such values are called."""
        return self.nouns or f"items, each {self.describe()}"

    def annotations(self) -> list[str]:
        """Return the types of what code may pass, as Python spells them."""
        return list(self.code_types)

    def example(self) -> Any:
        """Return plain data that the shape admits."""
        raise NotImplementedError

    # --- what is inside -------------------------------------------------------------------------

    @property
    def alternatives(self) -> tuple[Shape, ...]:
        """The shapes of which a value has one: this one alone, where there is no choice."""
        return (self,)

    @property
    def short_form(self) -> Shape | None:
        """What may stand for a whole block, or for a list of one."""
        return None

    def choose(self, value: object) -> Shape:
        """Return the alternative that `value` is written as, or the shape itself if none fits."""
        return self

    def parts(self) -> tuple[Shape, ...]:
        """Return the shapes of what a value holds without a name, and of its alternatives."""
        return ()

    def block_types(self) -> tuple[BlockType, ...]:
        """Return the types of the blocks that a value may be, alternatives left out."""
        return ()

    def blocks(self) -> Iterator[BlockType]:
        """Yield the types of all blocks that may stand in a value, without what they hold."""
        yield from self.block_types()
        for part in self.parts():
            yield from part.blocks()

    def type_of(self, value: object) -> BlockType | None:
        """Return the type of the block that `value` is, or None if it is none or of no kind."""
        return None

    def takes_block(self) -> bool:
        """Say whether a field may hold a block, or a block that stands for a list of one."""
        return self.form == "object"

    def keys_for(self, word: str) -> Iterator[str]:
        """Yield the fields of the block that may have the value `word`."""
        return iter(())

    def child(self, value: object, step: str | int) -> Shape | None:
        """Return the shape of what stands under `step` in `value`, or None if nothing may."""
        return None

    def at(self, value: object, path: Path) -> Shape | None:
        """Return the shape of what stands at `path` below `value`, or None if nothing may."""
        found: Shape | None = self
        for step in path:
            if found is None:
                return None
            found = found.child(value, step)
            value = step_into(value, step)
        return found


def step_into(value: object, step: str | int) -> object:
    """Return what stands under `step` in `value`, or None."""
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
        return value[step]
    return None
