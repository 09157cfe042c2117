"""Whole documents and states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hypothesis import strategies as st
from msgspec import structs

from lmconf.caches import place
from lmconf.caches.specs import STORE, StoreSpec
from lmconf.callbacks.specs import CALLBACK
from lmconf.schema.declaration import field_names, fields
from lmconf.secrets.references import Env, File, Given
from lmconf.spec.build import make_from_stated
from lmconf.spec.lm import LMSpec
from lmconf.spec.profile import MANY_LMS
from lmconf.spec.state import dump_lm
from lmconf.testing.atoms import json_maps
from lmconf.testing.blocks import names, values, with_empty_blocks
from lmconf.testing.document_data import to_document_data
from lmconf.testing.one_lm import Known, budgets, lm_data, settings, ways

__all__ = ["documents", "profile_data", "profiles", "states"]

# What any LM may take over from another, whatever its model and its `timeout`.
_SHARED = "num_retries max_body fallback_on metadata user seed stop top_p verbosity".split()


@st.composite
def profile_data(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the plain data of a profile: LMs by name that refer to one another and to parts."""
    stores = draw(st.dictionaries(names(), values(STORE), max_size=2))
    callbacks = draw(st.dictionaries(names(), values(CALLBACK), max_size=2))
    called = draw(st.lists(names(), unique=True, min_size=1, max_size=3))
    known = Known(tuple(stores), tuple(callbacks), tuple(called))
    lms = {name: draw(lm_data(_beside(name, known))) for name in called}
    free = draw(names())
    if free not in called and draw(st.booleans()):
        pool = draw(st.lists(st.sampled_from(called), min_size=1, max_size=3, unique=True))
        lms[free] = {"pool": pool, **draw(ways(len(pool)))}
    data: dict[str, Any] = {"lms": lms}
    if draw(st.booleans()):
        data["main"] = draw(st.sampled_from(called))
    if draw(st.booleans()):
        data["budget"] = draw(budgets(known))
        data["budget"].pop("cost_usd", None)  # not each LM has a price
        data["budget"].setdefault("tokens", 1)
    if draw(st.booleans()):
        data["provenance"] = draw(json_maps())
    if draw(st.booleans()):
        data["lmconf"] = 1
    _declare_alike([stores, *(lm["cache"] for lm in lms.values() if "cache" in lm)])
    return {**data, **({"stores": stores} if stores else {}), "callbacks": callbacks}


def _declare_alike(holders: list[Any]) -> None:
    """Put in the place of each store in `holders` the first one that means the same place."""
    seen: dict[object, Any] = {}
    for holder in holders:
        for name, store in holder.items() if isinstance(holder, dict) else ():
            if isinstance(store, dict) and "backend" in store:
                meant = place(cast("StoreSpec", STORE.build(store)))
                if meant is not None:
                    holder[name] = seen.setdefault(meant, store)


def _beside(name: str, known: Known) -> Known:
    """Return what the LM `name` may refer to: it is no fallback of its own."""
    return structs.replace(known, lms=tuple(lm for lm in known.lms if lm != name))


def profiles() -> st.SearchStrategy[dict[str, Any]]:
    """Return whole documents of several LMs, as a file would spell them, with what they inherit.

    Blocks that say nothing are left out, or stand there and are empty.
    """
    drawn = st.tuples(profile_data(), _inherited_data()).map(lambda parts: _heirs(*parts))
    return st.one_of(drawn, drawn.flatmap(lambda said: with_empty_blocks(MANY_LMS, said)))


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Return whole documents of either form: one LM, or several."""
    return st.one_of(settings(), profiles())


def states() -> st.SearchStrategy[dict[str, Any]]:
    """Return what `LM.dump_state()` gives, resolved."""
    return settings().map(lambda said: dump_lm(make_from_stated(said)))


def _inherited_data() -> st.SearchStrategy[tuple[dict[str, Any], dict[str, Any]]]:
    """Return what lies under every LM, and what an abstract LM says."""
    declared = fields(LMSpec)
    optional = {name: values(declared[name].shape) for name in _SHARED}
    few = st.lists(st.sampled_from(_SHARED), unique=True, max_size=3).flatmap(
        lambda chosen: st.fixed_dictionaries({name: optional[name] for name in chosen})
    )
    return st.tuples(few, few)


def _heirs(data: dict[str, Any], inherited: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    lms = data["lms"].values()
    elsewhere = len({lm.get("model") for lm in lms}) > 1 or any(_WHERE & lm.keys() for lm in lms)
    defaults, parent = (_at_home(shared) if elsewhere else shared for shared in inherited)
    document = to_document_data(data)
    if defaults:
        document["defaults"] = to_document_data(defaults)
    if parent:
        first = next(iter(document["lms"]))
        document["lms"]["_parent"] = to_document_data(parent)
        document["lms"][first] = {"extends": "_parent", **document["lms"][first]}
    return document


# An LM that says one of these may be asked elsewhere than at its provider's own address.
_WHERE = frozenset(field_names(LMSpec, lambda field: field.locates)) - {"model"}


def _at_home(shared: dict[str, Any]) -> dict[str, Any]:
    """Return `shared` without the blocks that hold what an LM elsewhere would have to restate."""
    return {name: value for name, value in shared.items() if not _refers(value)}


def _refers(value: object) -> bool:
    if isinstance(value, Env | File | Given):
        return True
    if isinstance(value, Mapping):
        return any(_refers(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_refers(item) for item in value)
