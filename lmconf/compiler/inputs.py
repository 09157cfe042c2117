"""Everything beside the documents that decides what they compile to."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from msgspec import Struct, field

from lmconf.document.inheritance import Foreign
from lmconf.document.overrides import Assignment
from lmconf.schema.frozen import FrozenMap

__all__ = ["CompilerInputs"]


class CompilerInputs(Struct, frozen=True, kw_only=True):
    """What the caller of the compiler gives.

    `name` is what messages call the profile. `assignments` are overrides, `variables` the values
    given for `vars`, `environment` where the rest of them is looked up. `allow_imports` are the
    import paths that may be named. `callback_names` and `transport_names` are what the
    application registered, None where that cannot be known. `foreign` resolves `profile:lm`.
    `folder` is where relative paths start that no file states: the working folder.
    """

    name: str
    assignments: tuple[Assignment, ...] = ()
    variables: Mapping[str, object] = FrozenMap()
    environment: Mapping[str, str] = FrozenMap()
    allow_imports: frozenset[str] = frozenset()
    callback_names: Collection[str] | None = None
    transport_names: Collection[str] | None = None
    foreign: Foreign | None = None
    folder: str = field(default_factory=os.getcwd)
