"""How a spec type is declared: a frozen Struct whose fields state shape, role and meaning.

    class RetryPolicy(Spec):
        initial: Annotated[float, operations(Duration(), "The first wait.", untrusted=True)] = 0.5

The role says what a field is for: **identity** of an answer (part of cache keys and digests),
**connection** (how the server is reached), **operations** (how a call is carried out), or
**secret** (a reference, never a value). What else a field may do is an attribute of its
declaration, too; whoever needs the fields that do something asks with `field_names`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias

import msgspec
from msgspec import NODEFAULT, Struct

from lmconf.schema.value import Shape

__all__ = [
    "DeclaredField",
    "Field",
    "Role",
    "Spec",
    "connection",
    "field_names",
    "fields",
    "identity",
    "operations",
    "secret",
    "setting",
]

Role: TypeAlias = Literal["identity", "connection", "operations", "secret"]


class Field(Struct, frozen=True):
    """What a field declares beside its Python type. What is not said of a field does not hold."""

    role: Role
    shape: Shape
    doc: str
    examples: tuple[object, ...] = ()
    sent: bool = False
    """It stands in the body of a request as a setting of the model."""
    per_call: bool = False
    """A single call may change it."""
    untrusted: bool | Literal["lower"] = False
    """Untrusted documents may state it; `lower`: if that does not raise it above its default."""
    risk: str = ""
    """What an untrusted document could do by stating it, for the message that refuses it."""
    bound_to: Literal["model", "server", "account"] | None = None
    """`model`: stating another model resets it. `server`: it must be restated where requests go to
    another provider or address. `account`: the same, but for other addresses alone."""
    kind_from: str = ""
    """The field that says which kind of block this is, where the block does not: another value of
    that field resets the block."""
    names: Literal["stores", "callbacks", "lms"] | None = None
    """A text in it is the name of something in this block of the profile."""
    holds_secrets: bool = False
    """References in it, and entries that are named like secrets, are credentials."""
    locates: bool = False
    """It decides where requests go."""
    cloud: Literal["place", "account", "credential"] | None = None
    """Only some clouds know it. `place` may be told in messages, `account` may not, and a
    `credential` says by itself which account's credentials are sent."""
    tells_apart: bool = False
    """It tells answers apart, or the servers that are started, as fields with the role identity
    do."""
    ruled_by_family: bool = False
    """In a profile's `defaults`, it gives way to what the model's family takes."""
    on_fallback: Literal["drop", "require"] | None = None
    """A call's own value, where another LM is asked: `drop` means something to one server or model
    alone, and without what is to be kept (`require`) the answer would be another thing."""
    in_pool: Literal["shared", "member", "attempt"] | None = None
    """A pool has it from its first member (`shared`), leaves it to each member (`member`), or says
    it of each attempt (`attempt`)."""
    in_dspy: bool | Literal["always"] = False
    """`dspy.LM` takes it under the same name; `always`: and has another default."""
    kinds: tuple[str, ...] = ()
    """The kinds (`use`) of its block that it is for; `*` are those of other packages."""


identity = functools.partial(Field, "identity", in_pool="shared", in_dspy=True)
setting = functools.partial(identity, sent=True, per_call=True, untrusted=True)
connection = functools.partial(Field, "connection", in_pool="member", in_dspy=True)
operations = functools.partial(Field, "operations")
secret = functools.partial(Field, "secret", bound_to="server", in_pool="member")


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a profile: frozen, compared by value, with declared fields."""

    __part__: ClassVar[bool] = False
    """Said of a type that only lends its fields to others: it is no block of a document."""
    __risk__: ClassVar[str] = ""
    """What an untrusted document could do by a block of which it may state no field at all."""


class DeclaredField(Field, frozen=True, kw_only=True):
    """One field of a spec type, everything about it in one place."""

    name: str
    required: bool
    default: object = None


@functools.cache
def fields(spec: type[Struct]) -> dict[str, DeclaredField]:
    """Return the declared fields of `spec` by name, in the order of declaration.

    Raises:
        TypeError: a field was declared without role, shape and description, or both as a risk
            and as allowed in untrusted documents.
    """
    # What is inherited is not read again: reading annotations is most of what a start takes.
    base = spec.__mro__[1]
    declared = dict(fields(base)) if issubclass(base, Struct) and base is not Struct else {}
    without_default = len(spec.__struct_fields__) - len(spec.__struct_defaults__)
    defaults = (NODEFAULT,) * without_default + spec.__struct_defaults__
    encoded = zip(spec.__struct_fields__, spec.__struct_encode_fields__, defaults, strict=True)
    known = {name: (encode_name, default) for name, encode_name, default in encoded}
    for name, hint in inspect.get_annotations(spec, eval_str=True).items():
        if name not in known:
            continue  # of the class
        found = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Field)]
        if not found:
            raise TypeError(f"{spec.__name__}.{name} is declared without role and shape")
        field = found[0]
        if field.untrusted and field.risk:
            raise TypeError(f"{spec.__name__}.{name} is allowed in spite of its risk")
        encode_name, default = known[name]
        declared[name] = DeclaredField(
            **msgspec.structs.asdict(field),
            name=encode_name,
            required=default is NODEFAULT,
            default=None if default is NODEFAULT else default,
        )
    return declared


def field_names(spec: type[Struct], applies: Callable[[DeclaredField], object]) -> tuple[str, ...]:
    """Return the names of the fields of `spec` that `applies` is true of, as they are declared."""
    return tuple(name for name, field in fields(spec).items() if applies(field))
