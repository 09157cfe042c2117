"""Names in a profile: what they may refer to, and writing in place what they mean."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lmconf.callbacks.specs import CallbackSpec
from lmconf.compiler.parts import ProfileParts
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.nodes import Map, Node, Scalar, Seq, at
from lmconf.schema.check import Fault
from lmconf.spec.build import find_mentions
from lmconf.spec.lm import LMSpec, SoleLMSpec
from lmconf.spec.policies import Budget
from lmconf.spec.profile import ProfileSpec
from lmconf.spec.rules.pools import is_pool

__all__ = [
    "check_main",
    "check_pool_members",
    "find_duplicate_names",
    "find_fallback_cycles",
    "find_self_fallback",
    "find_unknown_names",
    "inline_nodes",
    "inline_spec",
    "inline_stated",
    "profile_budget",
]

Data = Mapping[str, Any]

_MOST_STEPS = 50_000  # in search of fallbacks in a circle, which are told as warnings
_WHAT = {"stores": "store", "callbacks": "callback", "lms": "LM"}
_IN_PLACE = {
    "stores": "{backend: disk}",
    "callbacks": "{use: log}",
    "lms": "{model: provider/name}",
}


def find_unknown_names(
    data: Data, known: Mapping[str, Collection[str]], *, alone: bool = False
) -> Iterator[Fault]:
    """Yield a fault for each name in one LM's data that its profile lacks.

    `known` are the names under `stores`, `callbacks` and `lms`; an LM that is `alone`, in a
    document of its own, has no such blocks.
    """
    for each in find_mentions(data):
        what = _WHAT[each.block]
        if alone:
            yield Fault(
                "unknown-name",
                each.path,
                f"there is no {what} named `{each.name}`",
                help=f"write the {what} here, as `{_IN_PLACE[each.block]}`, or use a profile with"
                " `lms`",
            )
        else:
            yield from _unknown_name(each.name, each.path, known[each.block], what, each.block)


def check_main(main: object, lms: Collection[str]) -> Iterator[Fault]:
    """Yield a fault when `main` names no LM of the profile."""
    if isinstance(main, str):
        yield from _unknown_name(main, ("main",), lms, "LM", "lms")


def find_self_fallback(name: str, fallbacks: Sequence[object]) -> Iterator[Fault]:
    """Yield a fault where the LM `name` itself is among the `fallbacks` that it states."""
    for index, item in enumerate(fallbacks):
        if item == name:
            yield Fault(
                "contradiction",
                ("fallbacks", index),
                f"`{name}` names itself as its fallback",
                help="take it out: an LM that has failed is not asked again",
            )


def find_duplicate_names(data: Data) -> Iterator[Fault]:
    """Yield a fault for each LM that stands twice among the fallbacks or members of one LM."""
    for field, help_ in (
        ("fallbacks", "take it out: an LM that has failed is not asked again"),
        ("pool", "take it out; `pick: weighted` gives a member a larger share"),
    ):
        listed, seen = data.get(field), set[str]()
        for index, item in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(item, str) and item in seen:
                yield Fault(
                    "contradiction", (field, index), f"`{item}` stands here twice", help=help_
                )
            elif isinstance(item, str):
                seen.add(item)


def check_pool_members(name: str, lms: Data) -> Iterator[Fault]:
    """Yield a fault where the LM `name` names a pool as its fallback or as a pool's member."""
    data = lms[name]
    for field, what in (("fallbacks", "a fallback"), ("pool", "a member of a pool")):
        listed = data.get(field) if isinstance(data, Mapping) else None
        for index, item in enumerate(listed if isinstance(listed, list) else ()):
            named = lms.get(item) if isinstance(item, str) else None
            if isinstance(named, Mapping) and is_pool(named):
                yield Fault(
                    "contradiction",
                    (field, index),
                    f"`{item}` is a pool, which cannot be {what}",
                    help="name its members in its place",
                )


def find_fallback_cycles(parts: ProfileParts, lms: Data) -> list[Diagnostic]:
    """Return a warning for each circle of LMs that fall back on one another.

    It does no harm, for the fallbacks of a fallback are not asked; whoever counts on them is
    told. A list under `defaults` lies under all LMs, and is meant so.
    """
    ways = {
        name: [item for item in _names_in(lms[name]) if item in lms]
        for name in lms
        if "fallbacks" not in parts.soft.get(name, ())
    }
    found: list[Diagnostic] = []
    told: set[frozenset[str]] = set()
    steps = iter(range(_MOST_STEPS))
    for name in ways:
        chain = _find_cycle(name, ways, steps)
        if chain is not None and frozenset(chain) not in told:
            told.add(frozenset(chain))
            found.append(_cycle(parts, chain))
    return found


def _names_in(data: object) -> list[str]:
    fallbacks = data.get("fallbacks") if isinstance(data, Mapping) else None
    return (
        [item for item in fallbacks if isinstance(item, str)] if isinstance(fallbacks, list) else []
    )


def _find_cycle(
    start: str, ways: Mapping[str, Sequence[str]], steps: Iterator[int]
) -> list[str] | None:
    """Return the shortest chain of fallbacks that leads from `start` back to it.

    None is found once there are no more `steps`: one is taken for each name that is looked at.
    """
    chains = [[start]]
    seen = {start}
    for chain in chains:
        for step in ways.get(chain[-1], ()):
            if next(steps, None) is None:
                return None
            if step == start:
                return chain
            if step not in seen:
                seen.add(step)
                chains.append([*chain, step])
    return None


def _cycle(parts: ProfileParts, chain: Sequence[str]) -> Diagnostic:
    first, shown = chain[0], " → ".join((*chain, chain[0]))
    node = parts.entries[first]
    stated = node.get("fallbacks") if isinstance(node, Map) else None
    return Diagnostic(
        code="fallback-cycle",
        severity="warning",
        message=f"fallbacks lead back to where they began: {shown}",
        mark=node.mark if stated is None else stated.mark,
        path=(*parts.path(first), "fallbacks"),
        help="a call asks the fallbacks of the LM that is called, and not those of a fallback",
    )


def _unknown_name(
    name: str, path: tuple[str | int, ...], known: Collection[str], what: str, block: str
) -> Iterator[Fault]:
    if name in known:
        return
    near = did_you_mean(name, known)
    if name.startswith("_"):
        help_ = "an LM whose name begins with `_` is only extended, never called"
    elif known:
        help_ = f"`{block}` has: {', '.join(known)}"
    else:
        help_ = f"define it under `{block}`"
    yield Fault(
        "unknown-name",
        path,
        f"there is no {what} named `{name}`",
        label=f"did you mean `{near}`?" if near else "",
        help=help_,
    )


def inline_spec(profile: ProfileSpec, name: str) -> LMSpec:
    """Return the LM `name` with everything that it names written in place.

    A fallback is inlined without fallbacks of its own: each runs its own LM's inner layers only.
    """
    lm = profile.lms[name]
    fallbacks = tuple(
        _without_fallbacks(profile, profile.lms[item] if isinstance(item, str) else item)
        for item in lm.fallbacks
    )
    pool = tuple(
        _without_fallbacks(profile, profile.lms[item] if isinstance(item, str) else item)
        for item in lm.pool
    )
    return msgspec.structs.replace(lm, **_definitions(profile, lm), fallbacks=fallbacks, pool=pool)


def _without_fallbacks(profile: ProfileSpec, lm: SoleLMSpec) -> SoleLMSpec:
    kept = {name: getattr(lm, name) for name in SoleLMSpec.__struct_fields__}
    return SoleLMSpec(**{**kept, **_definitions(profile, lm)})


def _definitions(profile: ProfileSpec, lm: SoleLMSpec) -> dict[str, object]:
    cache, budget = lm.cache, lm.budget
    if isinstance(cache.store, str):
        cache = msgspec.structs.replace(cache, store=profile.stores[cache.store])
    if budget is not None and isinstance(budget.store, str):
        budget = msgspec.structs.replace(budget, store=profile.stores[budget.store])
    callbacks: tuple[str | CallbackSpec, ...] = tuple(
        profile.callbacks[item] if isinstance(item, str) else item for item in lm.callbacks
    )
    return {"cache": cache, "budget": budget, "callbacks": callbacks}


def profile_budget(profile: ProfileSpec) -> Budget | None:
    """Return the budget of all LMs of `profile`, with the store that it names in place."""
    budget = profile.budget
    if budget is not None and isinstance(budget.store, str):
        return msgspec.structs.replace(budget, store=profile.stores[budget.store])
    return budget


def inline_stated(stated: Data, name: str) -> dict[str, Any]:
    """Return what was said of the LM `name`, with what was said of the things it names."""
    return _inline_stated(stated, stated["lms"][name])


def _inline_stated(profile: Data, lm: Data, *, alone: bool = False) -> dict[str, Any]:
    said = dict(lm)
    for name in ("cache", "budget"):
        block = said.get(name)
        if isinstance(block, Mapping) and isinstance(block.get("store"), str):
            said[name] = {**block, "store": profile["stores"][block["store"]]}
    if "callbacks" in said:
        said["callbacks"] = [
            profile["callbacks"][item] if isinstance(item, str) else item
            for item in _unwrap_value(said["callbacks"])
        ]
    if alone:
        # A fallback falls back on nobody, and is no pool.
        said.pop("fallback_on", None)
    for name in ("fallbacks", "pool"):
        listed = said.pop(name, None)
        if listed is not None and not alone:
            said[name] = [
                _inline_stated(
                    profile, profile["lms"][item] if isinstance(item, str) else item, alone=True
                )
                for item in _unwrap_value(listed)
            ]
    return said


def _unwrap_value(listed: Any) -> Any:
    """Return a list that was said, also where it was said as `{$value: […]}`."""
    return listed["$value"] if isinstance(listed, Mapping) and "$value" in listed else listed


def inline_nodes(profile: Map, stated: Data, name: str) -> Map:
    """Return the nodes of the LM `name` of `profile` with those of the things it names in place.

    `stated` is what was said of the profile: a value that is missing there gave way.
    """
    lm = at(profile, ("lms", name))
    assert isinstance(lm, Map)
    said = stated["lms"][name]
    return _inline_lm(
        profile, stated, Map({k: v for k, v in lm if k in said}, lm.keys, lm.mark), name
    )


def _inline_lm(profile: Map, stated: Data, lm: Map, own: str | None) -> Map:
    entries = dict(lm.entries)
    for field in ("cache", "budget"):
        block = entries.get(field)
        store = (
            _resolve_name(profile, "stores", block.get("store")) if isinstance(block, Map) else None
        )
        if isinstance(block, Map) and store is not None:
            entries[field] = Map({**block.entries, "store": store}, block.keys, block.mark)
    callbacks = entries.get("callbacks")
    if isinstance(callbacks, Seq):
        items = tuple(_resolve_name(profile, "callbacks", item) or item for item in callbacks.items)
        entries["callbacks"] = Seq(items, callbacks.mark)
    fallbacks = entries.pop("fallbacks", None)
    if isinstance(fallbacks, Seq) and own is not None:
        others = [
            item for item in fallbacks.items if not (isinstance(item, Scalar) and item.value == own)
        ]
        sole = tuple(_inline_member(profile, stated, item) for item in others)
        entries["fallbacks"] = Seq(sole, fallbacks.mark)
    pool = entries.pop("pool", None)
    if isinstance(pool, Seq) and own is not None:
        members = tuple(_inline_member(profile, stated, item) for item in pool.items)
        entries["pool"] = Seq(members, pool.mark)
    if own is None:
        entries.pop("fallback_on", None)
    return Map(entries, lm.keys, lm.mark)


def _inline_member(profile: Map, stated: Data, item: Node) -> Node:
    """Return a fallback, a name or an LM in place, as an LM by itself without fallbacks."""
    if isinstance(item, Scalar):
        said = stated["lms"][item.value]
        lm = _resolve_name(profile, "lms", item)
        assert isinstance(lm, Map)
        item = Map({key: value for key, value in lm if key in said}, lm.keys, lm.mark)
    return _inline_lm(profile, stated, item, None) if isinstance(item, Map) else item


def _resolve_name(profile: Map, block: str, name: Node | None) -> Node | None:
    """Return what `name` means in a block of the profile; None where it is no name."""
    if isinstance(name, Scalar) and isinstance(name.value, str):
        return at(profile, (block, name.value))
    return None
