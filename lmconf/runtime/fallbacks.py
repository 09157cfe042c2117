"""The LMs on which one LM falls back: made when a call first needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lmconf.profile.compiled import Compiled, fallback_of
from lmconf.runtime.sharing import Shared

if TYPE_CHECKING:
    from lmconf.runtime.lm import LM
    from lmconf.runtime.parts import Parts

__all__ = ["Fallbacks", "Named"]

Named = Callable[[str], "LM | None"]
"""Returns the live LM of a profile that has a name, None where there is none any more."""


class Fallbacks(Shared):
    """The fallbacks of an LM and of its copies.

    One that the profile names is the profile's own, with its server and its connections; one
    that is written in place is made here, and closed with the last of the LMs that fall back on
    it.
    """

    def __init__(
        self, compiled: Compiled, make: Callable[[Compiled], LM], named: Named | None = None
    ) -> None:
        super().__init__()
        self.compiled = compiled
        self._make = make
        self._named = named
        self._made: dict[int, LM] = {}

    @property
    def named(self) -> Named | None:
        """Who knows the LMs that the profile names."""
        return self._named

    def fits(self, compiled: Compiled) -> bool:
        """Say whether the LM of `compiled` falls back on these very LMs."""
        mine = self.compiled
        return (compiled.spec.fallbacks, compiled.given) == (mine.spec.fallbacks, mine.given)

    def parts(self, index: int) -> Parts:
        """Return the live parts of the LM that is asked after `index` others."""
        names = self.compiled.fallback_names
        name = names[index] if names else None
        lm = None if name is None or self._named is None else self._named(name)
        if lm is None:
            with self.lock:
                lm = self._made.get(index)
                if lm is None:
                    lm = self._made[index] = self._make(fallback_of(self.compiled, index))
        return lm._parts()  # noqa: SLF001 - an LM is asked for what its calls share

    def end(self) -> None:
        """Close the LMs that were made here."""
        for lm in self._taken():
            lm.close()

    async def aend(self) -> None:
        """Close the LMs that were made here, from an event loop."""
        for lm in self._taken():
            await lm.aclose()

    def _taken(self) -> list[LM]:
        with self.lock:
            made, self._made = list(self._made.values()), {}
        return made
