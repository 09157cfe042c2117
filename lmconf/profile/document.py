"""`ProfileSpec`: several LMs and the named things they share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from lmconf.caches.specs import STORE, StoreSpec
from lmconf.callbacks.specs import CALLBACK, CallbackSpec
from lmconf.profile.lm import LM, LMSpec
from lmconf.profile.policies import Budget
from lmconf.spec.declaring import Spec, operations
from lmconf.spec.frozen import FrozenMap
from lmconf.spec.shapes import Integer, Json, MapOf, Record, Text

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
