"""The names in a profile that refer to its stores, callbacks and LMs: what they may refer to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lmconf.compiler.parts import ProfileParts
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.nodes import Map
from lmconf.schema.check import Fault
from lmconf.spec.mentions import find_mentions
from lmconf.spec.rules.pools import is_pool

__all__ = [
    "check_main",
    "check_pool_members",
    "find_duplicate_names",
    "find_fallback_cycles",
    "find_self_fallback",
    "find_unknown_names",
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
    data: Data, names: Mapping[str, Collection[str]], *, alone: bool = False
) -> Iterator[Fault]:
    """Yield a fault for each name in one LM's data that its profile lacks.

    `names` are the names under `stores`, `callbacks` and `lms`; an LM that is `alone`, in a
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
            yield from _unknown_name(each.name, each.path, names[each.block], what, each.block)


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
                help="remove it: an LM that has failed is not called again",
            )


def find_duplicate_names(data: Data) -> Iterator[Fault]:
    """Yield a fault for each LM that stands twice among the fallbacks or members of one LM."""
    for field, help_ in (
        ("fallbacks", "remove it: an LM that has failed is not called again"),
        ("pool", "remove it; `pick: weighted` gives a member a larger share"),
    ):
        listing, names = data.get(field), set[str]()
        for index, item in enumerate(listing if isinstance(listing, list) else ()):
            if isinstance(item, str) and item in names:
                yield Fault("contradiction", (field, index), f"`{item}` occurs twice", help=help_)
            elif isinstance(item, str):
                names.add(item)


def check_pool_members(name: str, lms: Data) -> Iterator[Fault]:
    """Yield a fault where the LM `name` names a pool as its fallback or as a pool's member."""
    data = lms[name]
    for field, what in (("fallbacks", "a fallback"), ("pool", "a member of a pool")):
        listing = data.get(field) if isinstance(data, Mapping) else None
        for index, item in enumerate(listing if isinstance(listing, list) else ()):
            member = lms.get(item) if isinstance(item, str) else None
            if isinstance(member, Mapping) and is_pool(member):
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
    diagnostics: list[Diagnostic] = []
    reported: set[frozenset[str]] = set()
    steps = iter(range(_MOST_STEPS))
    for name in ways:
        chain = _find_cycle(name, ways, steps)
        if chain is not None and frozenset(chain) not in reported:
            reported.add(frozenset(chain))
            diagnostics.append(_cycle(parts, chain))
    return diagnostics


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
    visited = {start}
    for chain in chains:
        for step in ways.get(chain[-1], ()):
            if next(steps, None) is None:
                return None
            if step == start:
                return chain
            if step not in visited:
                visited.add(step)
                chains.append([*chain, step])
    return None


def _cycle(parts: ProfileParts, chain: Sequence[str]) -> Diagnostic:
    first, text = chain[0], " → ".join((*chain, chain[0]))
    node = parts.entries[first]
    fallbacks = node.get("fallbacks") if isinstance(node, Map) else None
    return Diagnostic(
        code="fallback-cycle",
        severity="warning",
        message=f"fallbacks form a cycle: {text}",
        mark=node.mark if fallbacks is None else fallbacks.mark,
        path=(*parts.path(first), "fallbacks"),
        help="a call uses the fallbacks of the LM that is called, not those of a fallback",
    )


def _unknown_name(
    name: str, path: tuple[str | int, ...], names: Collection[str], what: str, block: str
) -> Iterator[Fault]:
    if name in names:
        return
    near = did_you_mean(name, names)
    if name.startswith("_"):
        help_ = "an LM whose name begins with `_` is only extended, never called"
    elif names:
        help_ = f"`{block}` has: {', '.join(names)}"
    else:
        help_ = f"define it under `{block}`"
    yield Fault(
        "unknown-name",
        path,
        f"there is no {what} named `{name}`",
        label=f"did you mean `{near}`?" if near else "",
        help=help_,
    )
