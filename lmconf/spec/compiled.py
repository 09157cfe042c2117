"""What the compiler hands to the runtime: a spec, and what is known beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from lmconf.diagnostics.model import Mark
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import HiddenValues, Masked
from lmconf.spec.lm import LMSpec, SoleLMSpec
from lmconf.spec.policies import Budget

Path = tuple[str | int, ...]


class CompiledLM(Masked, Struct, frozen=True, eq=False, kw_only=True):
    """One LM, ready to run: its spec with every name resolved, and facts that no dump needs.

    `name` is what messages call it ("support:gpt", or the model). `stated` is the plain data that
    was said, before defaults. `places` holds where each value stands in the profile. `given` are
    secrets passed in code, by dotted path: they live here, never in the spec, and no repr shows
    them. `live` are callbacks passed in code as objects, which no document can hold.
    `profile_budget` is the name of the LM's profile and what all of its LMs may spend together.
    `allow_imports` are the import paths that the application or the project allowed.
    `fallback_names` are what the profile calls each of the fallbacks, None where it is written in
    place; it is empty where no profile names any. `member_names` are those of a pool's members.
    """

    spec: LMSpec
    name: str
    stated: FrozenMap[str, Any] = FrozenMap()
    places: Mapping[Path, Mark] = FrozenMap()
    given: Mapping[str, str] = HiddenValues()
    live: tuple[object, ...] = ()
    allow_imports: frozenset[str] = frozenset()
    fallback_names: tuple[str | None, ...] = ()
    member_names: tuple[str | None, ...] = ()
    profile_budget: tuple[str, Budget] | None = None

    def __repr__(self) -> str:
        return f"CompiledLM(name={self.name!r}, spec={self.spec!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what a document could say: no secret, no object, no text of a file."""
        return (_compile_inline, (self.spec, self.name, self.stated, self.profile_budget))

    def place(self, *path: str | int) -> Mark | None:
        """Return where the value at `path` stands, or its nearest ancestor, if anywhere."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return None


def compiled_fallback(
    compiled: CompiledLM, index: int, field: Literal["fallbacks", "pool"] = "fallbacks"
) -> CompiledLM:
    """Return one of the fallbacks or members of an LM, as an LM.

    Args:
        compiled: the LM; every name in its spec is resolved.
        index: which of them.
        field: whether it is a fallback, or a member of a pool.
    """
    is_member = field == "pool"
    sole = (compiled.spec.pool if is_member else compiled.spec.fallbacks)[index]
    assert isinstance(sole, SoleLMSpec)
    spec = LMSpec(**{name: getattr(sole, name) for name in SoleLMSpec.__struct_fields__})
    statements = compiled.stated.get(field, ())
    statements = (
        statements["$value"]
        if isinstance(statements, Mapping) and "$value" in statements
        else statements
    )
    mark = compiled.place(field)
    names = compiled.member_names if is_member else compiled.fallback_names
    name = names[index] if names else None
    return CompiledLM(
        spec=spec,
        name=spec.model if name is None else f"{compiled.name.rpartition(':')[0]}:{name}",
        stated=statements[index],
        places={} if mark is None else {(): mark},
        given=compiled.given,
        allow_imports=compiled.allow_imports,
        profile_budget=compiled.profile_budget,
    )


def _compile_inline(
    spec: LMSpec,
    name: str,
    statements: FrozenMap[str, Any],
    profile_budget: tuple[str, Budget] | None = None,
) -> CompiledLM:
    return CompiledLM(spec=spec, name=name, stated=statements, profile_budget=profile_budget)
