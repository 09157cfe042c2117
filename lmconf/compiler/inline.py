"""An LM of a profile by itself: whatever it names is written in place of the name.

A profile is held in three forms (nodes with marks, the data that was stated, and specs), and the
operation is the same in each: `_Form` has what differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from lmconf.document.nodes import Map, Node, Scalar, Seq, at
from lmconf.spec.lm import LMSpec, SoleLMSpec
from lmconf.spec.mentions import NAMING
from lmconf.spec.policies import Budget
from lmconf.spec.profile import ProfileSpec

__all__ = ["inline_nodes", "inline_spec", "inline_stated", "profile_budget"]

T = TypeVar("T")


class _Form(ABC, Generic[T]):
    """One form in which a profile is held; its values are of the type `T`."""

    @abstractmethod
    def entries(self, lm: T) -> dict[str, T]:
        """Return the fields of an LM, in a new dictionary."""

    @abstractmethod
    def build(self, lm: T, entries: dict[str, T], *, alone: bool) -> T:
        """Return `lm` with `entries`; one that is `alone` falls back on nobody."""

    @abstractmethod
    def resolve(self, block: str, item: T) -> T:
        """Return what `item` means where it is a name in `block`, and `item` where it is none."""

    @abstractmethod
    def resolve_store(self, policy: T) -> T:
        """Return a cache or a budget with its store in place of the store's name."""

    @abstractmethod
    def map_items(self, listing: T, change: Callable[[T], T]) -> T | None:
        """Return a list with each item changed; None where `listing` is no list."""


def _inline(form: _Form[T], lm: T, *, alone: bool = False) -> T:
    """Return `lm` with everything that it names in place.

    A fallback or a member is inlined `alone`, without fallbacks of its own: each runs its own
    LM's inner layers only.
    """
    entries = form.entries(lm)
    for name, block in NAMING.items():
        value = entries.get(name)
        if name not in entries or value is None:
            continue
        if block == "stores":
            entries[name] = form.resolve_store(value)
        elif block == "callbacks":
            callbacks = form.map_items(value, lambda item: form.resolve("callbacks", item))
            entries[name] = value if callbacks is None else callbacks
        else:
            del entries[name]
            members = (
                None if alone else form.map_items(value, lambda item: _inline_alone(form, item))
            )
            if members is not None:
                entries[name] = members
    if alone:
        # It falls back on nobody, and is no pool.
        entries.pop("fallback_on", None)
    return form.build(lm, entries, alone=alone)


def _inline_alone(form: _Form[T], item: T) -> T:
    return _inline(form, form.resolve("lms", item), alone=True)


class _Specs(_Form[Any]):
    """A profile as specs."""

    def __init__(self, profile: ProfileSpec) -> None:
        self._profile = profile

    def entries(self, lm: SoleLMSpec) -> dict[str, Any]:
        return {name: getattr(lm, name) for name in lm.__struct_fields__}

    def build(self, lm: SoleLMSpec, entries: dict[str, Any], *, alone: bool) -> SoleLMSpec:
        if not alone:
            return msgspec.structs.replace(lm, **entries)
        return SoleLMSpec(**{name: entries[name] for name in SoleLMSpec.__struct_fields__})

    def resolve(self, block: str, item: object) -> object:
        return getattr(self._profile, block)[item] if isinstance(item, str) else item

    def resolve_store(self, policy: Any) -> Any:
        if policy is None or not isinstance(policy.store, str):
            return policy
        return msgspec.structs.replace(policy, store=self._profile.stores[policy.store])

    def map_items(
        self, listing: tuple[object, ...], change: Callable[[Any], object]
    ) -> tuple[object, ...]:
        return tuple(map(change, listing))


class _Stated(_Form[Any]):
    """A profile as the plain data that was stated."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        self._profile = profile

    def entries(self, lm: Mapping[str, Any]) -> dict[str, Any]:
        return dict(lm)

    def build(self, lm: object, entries: dict[str, Any], *, alone: bool) -> dict[str, Any]:
        return entries

    def resolve(self, block: str, item: object) -> object:
        return self._profile[block][item] if isinstance(item, str) else item

    def resolve_store(self, policy: Any) -> Any:
        if not isinstance(policy, Mapping) or not isinstance(policy.get("store"), str):
            return policy
        return {**policy, "store": self._profile["stores"][policy["store"]]}

    def map_items(self, listing: Any, change: Callable[[Any], object]) -> list[object]:
        # A list may also be stated as `{$value: […]}`.
        items = (
            listing["$value"] if isinstance(listing, Mapping) and "$value" in listing else listing
        )
        return [change(item) for item in items]


class _Nodes(_Form[Node]):
    """A profile as nodes; `statements` is its data: a value that is missing there gave way."""

    def __init__(self, profile: Map, statements: Mapping[str, Any]) -> None:
        self._profile = profile
        self._statements = statements

    def entries(self, lm: Node) -> dict[str, Node]:
        assert isinstance(lm, Map)
        return dict(lm.entries)

    def build(self, lm: Node, entries: dict[str, Node], *, alone: bool) -> Map:
        assert isinstance(lm, Map)
        return Map(entries, lm.keys, lm.mark)

    def resolve(self, block: str, item: Node) -> Node:
        if not isinstance(item, Scalar) or not isinstance(item.value, str):
            return item
        definition = at(self._profile, (block, item.value))
        if definition is None:
            return item
        return self.lm(item.value) if block == "lms" else definition

    def lm(self, name: str) -> Map:
        """Return the LM `name` with the values that were stated alone."""
        lm, own_statements = at(self._profile, ("lms", name)), self._statements["lms"][name]
        assert isinstance(lm, Map)
        return Map({key: value for key, value in lm if key in own_statements}, lm.keys, lm.mark)

    def resolve_store(self, policy: Node) -> Node:
        store = policy.get("store") if isinstance(policy, Map) else None
        if not isinstance(policy, Map) or store is None:
            return policy
        entries = {**policy.entries, "store": self.resolve("stores", store)}
        return Map(entries, policy.keys, policy.mark)

    def map_items(self, listing: Node, change: Callable[[Node], Node]) -> Seq | None:
        if not isinstance(listing, Seq):
            return None
        return Seq(tuple(map(change, listing.items)), listing.mark)


def inline_spec(profile: ProfileSpec, name: str) -> LMSpec:
    """Return the spec of the LM `name` with everything that it names in place."""
    spec = _inline(_Specs(profile), profile.lms[name])
    assert isinstance(spec, LMSpec)
    return spec


def inline_stated(statements: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what was stated of the LM `name`, and of the things that it names in place of them."""
    lm: dict[str, Any] = _inline(_Stated(statements), statements["lms"][name])
    return lm


def inline_nodes(profile: Map, statements: Mapping[str, Any], name: str) -> Map:
    """Return the nodes of the LM `name` of `profile` with those of the things that it names.

    Args:
        profile: The nodes of the whole profile.
        statements: The data that was stated of it: a value that is missing there gave way.
        name: The name of the LM.
    """
    form = _Nodes(profile, statements)
    lm = form.lm(name)
    fallbacks = lm.get("fallbacks")
    if isinstance(fallbacks, Seq):
        # A list under `defaults` lies under every LM, the LM itself among them.
        others = tuple(
            item
            for item in fallbacks.items
            if not (isinstance(item, Scalar) and item.value == name)
        )
        lm = Map({**lm.entries, "fallbacks": Seq(others, fallbacks.mark)}, lm.keys, lm.mark)
    inlined = _inline(form, lm)
    assert isinstance(inlined, Map)
    return inlined


def profile_budget(profile: ProfileSpec) -> Budget | None:
    """Return the budget of all LMs of `profile`, with its store in place of the store's name."""
    budget: Budget | None = _Specs(profile).resolve_store(profile.budget)
    return budget
