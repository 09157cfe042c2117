"""`ProfileSpec`: several LMs and the named things they share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from lmconf.caches.specs import STORE, StoreSpec
from lmconf.callbacks.specs import CALLBACK, CallbackSpec
from lmconf.schema import Integer, Json, ListOf, MapOf, Record, Text
from lmconf.schema.declaration import Spec, fields, operations
from lmconf.schema.frozen import FrozenMap
from lmconf.spec.lm import LM, LMSpec
from lmconf.spec.policies import Budget

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]*$"
FORMAT_VERSION = 1


class ProfileSpec(Spec, frozen=True, kw_only=True):
    """A profile: LMs by name, and the stores and callbacks that they name."""

    lmconf: Annotated[
        Literal[1], operations(Integer(1, FORMAT_VERSION), "The version of this format.")
    ] = 1
    main: Annotated[
        str | None,
        operations(
            Text(what="an LM's name", pattern=NAME_PATTERN),
            "The LM that is meant when only the profile is named.",
            examples=("gpt",),
        ),
    ] = None
    stores: Annotated[
        FrozenMap[str, StoreSpec],
        operations(MapOf(STORE, names=NAME_PATTERN), "Stores for answers, by name."),
    ] = FrozenMap()
    callbacks: Annotated[
        FrozenMap[str, CallbackSpec],
        operations(MapOf(CALLBACK, names=NAME_PATTERN), "Callbacks, by name."),
    ] = FrozenMap()
    budget: Annotated[
        Budget | None,
        operations(
            Record(Budget),
            "What all LMs of the profile may spend together.",
            examples=({"cost_usd": 25, "per": "day", "store": "disk"},),
        ),
    ] = None
    lms: Annotated[
        FrozenMap[str, LMSpec], operations(MapOf(LM, names=NAME_PATTERN), "The LMs, by name.")
    ]
    provenance: Annotated[
        FrozenMap[str, Any],
        operations(Json(mapping=True), "Where this profile comes from; kept, never used."),
    ] = FrozenMap()


PROFILE = Record(ProfileSpec)


_VERSION = Integer(1, FORMAT_VERSION)
_VARS = Json(mapping=True)


class LMEntry(LMSpec, frozen=True, kw_only=True):
    """One LM of a profile; it may extend others."""

    extends: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Text(what="an LM's name"), single=True),
            "LMs of this profile (or `profile:lm`) whose settings this one takes over.",
            examples=("claude",),
            untrusted=True,
        ),
    ] = ()


class LMDocument(LMSpec, frozen=True, kw_only=True):
    """A document with `model`: one LM."""

    lmconf: Annotated[
        Literal[1], operations(_VERSION, "The version of this format.", untrusted=True)
    ] = 1
    extends: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Text(what="a profile's name or a ./path"), single=True),
            "Documents that this one builds on; this one wins.",
            examples=("base", "./base.yaml"),
            untrusted=True,
        ),
    ] = ()
    vars: Annotated[
        FrozenMap[str, Any],
        operations(
            _VARS,
            "The only names that templates see.",
            examples=({"tier": "mini"},),
            untrusted=True,
        ),
    ] = FrozenMap()


class ProfileDocument(Spec, frozen=True, kw_only=True):
    """A document with `lms`: a profile of several LMs."""

    lmconf: Annotated[
        Literal[1], operations(_VERSION, "The version of this format.", untrusted=True)
    ] = 1
    extends: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Text(what="a profile's name or a ./path"), single=True),
            "Documents that this one builds on; this one wins.",
            examples=("base", "./base.yaml"),
            untrusted=True,
        ),
    ] = ()
    vars: Annotated[
        FrozenMap[str, Any],
        operations(
            _VARS,
            "The only names that templates see: plain values, or"
            " `{$env: NAME, type: int, default: 1}` read once at load.",
            examples=({"tier": "mini"},),
            untrusted=True,
        ),
    ] = FrozenMap()
    stores: Annotated[
        FrozenMap[str, StoreSpec],
        operations(
            MapOf(STORE, names=NAME_PATTERN), "Stores for answers, by name.", untrusted=True
        ),
    ] = FrozenMap()
    callbacks: Annotated[
        FrozenMap[str, CallbackSpec],
        operations(MapOf(CALLBACK, names=NAME_PATTERN), "Callbacks, by name.", untrusted=True),
    ] = FrozenMap()
    budget: Annotated[
        Budget | None,
        operations(
            Record(Budget),
            "What all LMs of the profile may spend together.",
            examples=({"cost_usd": 25, "per": "day", "store": "disk"},),
            untrusted=True,
        ),
    ] = None
    defaults: Annotated[
        LMSpec | None, operations(LM, "Settings that lie under every LM below.", untrusted=True)
    ] = None
    main: Annotated[
        str | None,
        operations(
            Text(what="an LM's name"),
            "The LM that is meant when only the profile is named.",
            examples=("gpt",),
            untrusted=True,
        ),
    ] = None
    lms: Annotated[
        FrozenMap[str, LMEntry],
        operations(
            MapOf(Record(LMEntry), names=NAME_PATTERN),
            "The LMs, by name; a name that begins with `_` is abstract: only extended.",
            untrusted=True,
        ),
    ] = FrozenMap()
    provenance: Annotated[
        FrozenMap[str, Any],
        operations(
            Json(mapping=True), "Where this profile comes from; kept, never used.", untrusted=True
        ),
    ] = FrozenMap()


SEVERAL = tuple(name for name in fields(ProfileDocument) if name not in fields(LMDocument))
"""What only a document of several LMs has; `callbacks` is such a key where it holds them by name."""

ONE_LM = Record(LMDocument)
MANY_LMS = Record(ProfileDocument)
