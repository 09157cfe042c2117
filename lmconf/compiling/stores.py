"""What profiles say of their stores that cannot hold together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from lmconf import caches
from lmconf.caches.specs import StoreSpec
from lmconf.document.nodes import Path, at
from lmconf.errors import Diagnostic, Mark, Note

if TYPE_CHECKING:
    from lmconf.compiling.pipeline import CompiledProfile

__all__ = ["Declared", "stores_at_odds"]

Declared: TypeAlias = dict[Hashable, tuple[StoreSpec, Mark | None]]
"""The stores that were declared so far, by where they are."""


def stores_at_odds(profile: CompiledProfile, seen: Declared) -> Iterator[Diagnostic]:
    """Yield an error for each store that is declared twice, and not alike.

    Two declarations mean one store when they name one folder, or one server and namespace. The
    other one may stand in a profile that `seen` comes from; those of `profile` are added to it.
    """
    for store, path, mark in _declared(profile):
        place = caches.place(store)
        if place is None:
            continue
        first, where = seen.setdefault(place, (store, mark))
        if first == store or where == mark:
            continue
        what = "folder" if store.backend == "disk" else "server and namespace"
        elsewhere = mark is not None and where is not None and mark.source.name != where.source.name
        yield Diagnostic(
            code="store-conflict",
            message=f"another store of this {what} is declared differently",
            mark=mark,
            path=path,
            help="declare it once, under `stores` of a profile that both extend"
            if elsewhere
            else "declare it once, under `stores`, and name it where it is used",
            notes=(Note("the other one is declared here", where),),
        )


def _declared(profile: CompiledProfile) -> Iterator[tuple[StoreSpec, Path, Mark | None]]:
    """Yield each store that somebody wrote down, with its path and place."""
    for name, store in profile.spec.stores.items():
        node = at(profile.nodes, ("stores", name))
        yield store, ("stores", name), None if node is None else node.mark
    for name, compiled in profile.lms.items():
        said = compiled.stated.get("cache")
        store_ = profile.spec.lms[name].cache.store
        if not isinstance(store_, str) and isinstance(said, Mapping) and "store" in said:
            path = ("cache", "store")
            own = path if profile.flat else ("lms", name, *path)
            yield store_, own, compiled.place(*path)
