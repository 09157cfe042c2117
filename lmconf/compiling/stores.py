"""What a profile says of its stores that cannot hold together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lmconf import caches
from lmconf.caches.specs import StoreSpec
from lmconf.compiling.parts import Parts
from lmconf.document.nodes import at
from lmconf.errors import Diagnostic, Mark, Note
from lmconf.profile.compiled import Compiled
from lmconf.profile.document import ProfileSpec

__all__ = ["stores_at_odds"]


def stores_at_odds(
    spec: ProfileSpec, lms: Mapping[str, Compiled], parts: Parts
) -> Iterator[Diagnostic]:
    """Yield an error for each store that is declared twice, and not alike.

    Two declarations mean one store when they name one folder, or one server and namespace.
    """
    seen: dict[object, tuple[StoreSpec, Mark | None]] = {}
    for store, path, mark in _declared(spec, lms, parts):
        place = caches.place(store)
        if place is None:
            continue
        first, where = seen.setdefault(place, (store, mark))
        if first == store or where == mark:
            continue
        what = "folder" if store.backend == "disk" else "server and namespace"
        yield Diagnostic(
            code="store-conflict",
            message=f"another store of this {what} is declared differently",
            mark=mark,
            path=path,
            help="declare it once, under `stores`, and name it where it is used",
            notes=(Note("the other one is declared here", where),),
        )


def _declared(
    spec: ProfileSpec, lms: Mapping[str, Compiled], parts: Parts
) -> Iterator[tuple[StoreSpec, tuple[str | int, ...], Mark | None]]:
    """Yield each store that somebody wrote down, with its path and place."""
    for name, store in spec.stores.items():
        node = at(parts.head, ("stores", name))
        yield store, ("stores", name), None if node is None else node.mark
    for name, compiled in lms.items():
        said = compiled.stated.get("cache")
        store_ = spec.lms[name].cache.store
        if not isinstance(store_, str) and isinstance(said, Mapping) and "store" in said:
            path = ("cache", "store")
            yield store_, (*parts.path(name), *path), compiled.place(*path)
