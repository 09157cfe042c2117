"""What the compiler hands to the runtime: a spec, and what is known beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lmconf.errors import Mark
from lmconf.profile.lm import LMSpec
from lmconf.secrets import Unshown
from lmconf.spec.frozen import FrozenMap

Path = tuple[str | int, ...]


class Compiled(Struct, frozen=True, eq=False, kw_only=True):
    """One LM, ready to run: its spec with every name resolved, and facts that no dump needs.

    `name` is what messages call it ("support:gpt", or the model). `stated` is the plain data that
    was said, before defaults. `places` holds where each value stands in the profile. `given` are
    secrets passed in code, by dotted path: they live here, never in the spec, and no repr shows
    them. `live` are callbacks passed in code as objects, which no document can hold.
    `allow_imports` are the import paths that the application or the project allowed.
    """

    spec: LMSpec
    name: str
    stated: FrozenMap[str, Any] = FrozenMap()
    places: Mapping[Path, Mark] = FrozenMap()
    given: Mapping[str, str] = Unshown()
    live: tuple[object, ...] = ()
    allow_imports: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Compiled(name={self.name!r}, spec={self.spec!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what a document could say: no secret, no object, no text of a file."""
        return (_compiled, (self.spec, self.name, self.stated))

    def place(self, *path: str | int) -> Mark | None:
        """Return where the value at `path` stands, or its nearest ancestor, if anywhere."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return None


def _compiled(spec: LMSpec, name: str, stated: FrozenMap[str, Any]) -> Compiled:
    return Compiled(spec=spec, name=name, stated=stated)
