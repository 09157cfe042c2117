"""Pools: LMs that are several deployments of one model behind one name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lmconf.schema.check import Fault
from lmconf.schema.declaration import field_names
from lmconf.spec.lm import LMSpec

__all__ = ["OF_MEMBERS", "SHARED", "check_pool", "complete_pool", "is_pool"]

Data = Mapping[str, Any]

SHARED = frozenset(field_names(LMSpec, lambda field: field.in_pool == "shared"))
"""What a pool has from its first member, unless it says otherwise."""

OF_MEMBERS = frozenset(field_names(LMSpec, lambda field: field.in_pool == "member"))
"""What says where and how requests are sent: that is each member's own."""


def is_pool(data: Data) -> bool:
    """Say whether the data of an LM is that of a pool."""
    return isinstance(data.get("pool"), list) and bool(data["pool"])


def complete_pool(
    data: Data, soft: frozenset[str], member: Callable[[object], Data | None]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Complete a pool by what it has from its first member.

    Args:
        data: the plain data of the pool.
        soft: the fields that came from `defaults`, which say nothing of a pool's connection.
        member: returns the data of what stands in `pool`, None where that is nothing to go by.

    Returns:
        The whole data, and the names of the fields that are the member's.
    """
    own = {name: value for name, value in data.items() if name not in soft & OF_MEMBERS}
    first = member(data["pool"][0]) or {}
    shared = {name: first[name] for name in SHARED if name in first and name not in own}
    return {**own, **shared}, frozenset(shared) | {"model"} - own.keys()


def check_pool(data: Data) -> Iterator[Fault]:
    """Yield a fault for everything in the data of a pool that contradicts its being one."""
    for name in sorted(OF_MEMBERS & data.keys()):
        if not _is_unstated(name, data[name]):
            yield Fault(
                "contradiction",
                (name,),
                f"`{name}` says where or how requests are sent, which each of a pool's members does",
                help="state it in the members",
                at_key=True,
            )
    weights, pool = data.get("weights"), data["pool"]
    if data.get("pick") == "weighted" and not weights:
        yield Fault(
            "missing-key",
            ("pick",),
            "`pick: weighted` needs the weights",
            help=f"add `weights: {[1] * len(pool)}`, one for each of `pool`",
        )
    if isinstance(weights, list) and weights:
        if len(weights) != len(pool):
            yield Fault(
                "contradiction",
                ("weights",),
                f"there are {len(weights)} weights for {len(pool)} members of the pool",
                help="state one for each, in the same order",
            )
        elif not any(weights):
            yield Fault("contradiction", ("weights",), "no member of the pool has a weight")


def _is_unstated(name: str, value: object) -> bool:
    """Say whether `value` is what a dump writes of a field that was never stated."""
    if name == "transport" and isinstance(value, Mapping):
        return value.get("use", "auto") == "auto" and not value.get("args")
    return value is None or value is False or value == {}
