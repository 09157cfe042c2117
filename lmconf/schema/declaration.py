"""How a spec type is declared: a frozen Struct whose fields state shape, role and meaning.

    class RetryPolicy(Spec):
        initial: Annotated[float, operations(Duration(), "The first wait.")] = 0.5

The role says what a field is for: **identity** of an answer (part of cache keys and digests),
**connection** (how the server is reached), **operations** (how a call is carried out), or
**secret** (a reference, never a value).
"""

from __future__ import annotations

import functools
import typing
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from lmconf.schema.shapes import Shape

Role: TypeAlias = Literal["identity", "connection", "operations", "secret"]


class Field(Struct, frozen=True):
    """What a field declares beside its Python type."""

    role: Role
    shape: Shape
    doc: str
    examples: tuple[object, ...] = ()
    bound_to_model: bool = False


def _declarer(role: Role) -> typing.Callable[..., Field]:
    def declare(
        shape: Shape,
        doc: str,
        *,
        examples: tuple[object, ...] = (),
        bound_to_model: bool = False,
    ) -> Field:
        return Field(role, shape, doc, examples, bound_to_model)

    declare.__doc__ = (
        f"Declare a field whose role is {role}.\n\n`bound_to_model`: stating another model resets"
        " it."
    )
    return declare


identity = _declarer("identity")
connection = _declarer("connection")
operations = _declarer("operations")
secret = _declarer("secret")


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a profile: frozen, compared by value, with declared fields."""


class DeclaredField(Struct, frozen=True):
    """One field of a spec type, everything about it in one place."""

    name: str
    role: Role
    shape: Shape
    doc: str
    examples: tuple[object, ...]
    bound_to_model: bool
    required: bool
    default: object = None


@functools.cache
def fields(spec: type[Struct]) -> dict[str, DeclaredField]:
    """Return the declared fields of `spec` by name, in the order of declaration.

    Raises:
        TypeError: a field was declared without role, shape and description.
    """
    hints = typing.get_type_hints(spec, include_extras=True)
    declared = {}
    for info in msgspec.structs.fields(spec):
        found = [x for x in getattr(hints[info.name], "__metadata__", ()) if isinstance(x, Field)]
        if not found:
            raise TypeError(f"{spec.__name__}.{info.name} is declared without role and shape")
        field = found[0]
        default = info.default
        if info.default_factory is not msgspec.NODEFAULT:
            default = info.default_factory()
        declared[info.name] = DeclaredField(
            name=info.encode_name,
            role=field.role,
            shape=field.shape,
            doc=field.doc,
            examples=field.examples,
            bound_to_model=field.bound_to_model,
            required=info.required,
            default=None if info.required else default,
        )
    return declared
