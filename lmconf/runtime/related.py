"""The LMs that stand behind one LM, its fallbacks or a pool's members: made when first needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from lmconf.spec.compiled import CompiledLM, compiled_fallback
from lmconf.system.refcount import SharedResource

if TYPE_CHECKING:
    from lmconf.runtime.lm import LM
    from lmconf.runtime.resources import LMResources

__all__ = ["Named", "RelatedLMs", "Role"]

Role: TypeAlias = Literal["fallbacks", "pool"]
"""What an LM is to the one that it stands behind: the field that lists it."""

Named: TypeAlias = Callable[[str], "LM | None"]
"""Returns the live LM of a profile that has a name, None where there is none any more."""


class RelatedLMs(SharedResource):
    """The fallbacks of an LM and of its copies, and the members of a pool.

    One that the profile names is the profile's own, with its server and its connections; one
    that is written in place is made here, and closed with the last of the LMs that need it.
    """

    def __init__(
        self, compiled: CompiledLM, make: Callable[[CompiledLM], LM], lookup: Named | None = None
    ) -> None:
        super().__init__()
        self.compiled = compiled
        self.lookup = lookup
        self._make = make
        self._lms: dict[tuple[Role, int], LM] = {}

    def fits(self, compiled: CompiledLM) -> bool:
        """Say whether behind the LM of `compiled` stand these very LMs."""
        mine, theirs = self.compiled.spec, compiled.spec
        same = (mine.fallbacks, mine.pool) == (theirs.fallbacks, theirs.pool)
        return same and self.compiled.given == compiled.given

    def parts(self, role: Role, index: int) -> LMResources:
        """Return the live parts of an LM, by its place in the list."""
        compiled = self.compiled
        names = compiled.member_names if role == "pool" else compiled.fallback_names
        name = names[index] if names else None
        lm = None if name is None or self.lookup is None else self.lookup(name)
        if lm is None:
            with self.lock:
                lm = self._lms.get((role, index))
                if lm is None:
                    lm = self._make(compiled_fallback(compiled, index, role))
                    self._lms[role, index] = lm
        return lm._parts()  # noqa: SLF001 - an LM is asked for what its calls share

    def end(self) -> None:
        """Close the LMs that were made here."""
        for lm in self._take_lms():
            lm.close()

    async def aend(self) -> None:
        """Close the LMs that were made here, from an event loop."""
        for lm in self._take_lms():
            await lm.aclose()

    def _take_lms(self) -> list[LM]:
        with self.lock:
            lms, self._lms = list(self._lms.values()), {}
        return lms
