"""The strategies reach every declared field, kind, choice and alternative."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from lmconf import testing
from lmconf.schema import (
    Choice,
    Either,
    Flag,
    Kinds,
    ListOf,
    MapOf,
    Null,
    Record,
    Referable,
    Secret,
    Shape,
)
from lmconf.schema.declaration import fields
from lmconf.secrets.references import Env, File, Given, Public
from lmconf.spec.lm import LMSpec, SoleLMSpec
from lmconf.spec.profile import MANY_LMS, PROFILE, LMEntry, ProfileDocument, ProfileSpec
from lmconf.testing.blocks import block, values
from lmconf.testing.many_lms import profile_data

Feature = tuple[str, ...]


def declared(shape: Shape, place: Feature, seen: set[type[Struct]]) -> Iterator[Feature]:
    """Yield every way in which a value of `shape` may be written, with what is inside."""
    match shape:
        case Choice(values=values):
            yield from ((*place, value) for value in values)
        case Flag():
            yield from ((*place, "true"), (*place, "false"))
        case Null():
            yield (*place, "null")
        case Referable(text=text):
            yield from declared(text, place, seen)
            yield from ((*place, kind.__name__) for kind in (Env, File, Given, Public))
        case Secret():
            yield from ((*place, name) for name in ("none", "Env", "File", "Given", "Public"))
        case ListOf(item=item):
            yield from declared(item, (*place, "item"), seen)
        case MapOf(value=value):
            yield from declared(value, (*place, "entry"), seen)
        case Record() | Kinds():
            for type_ in shape.block_types():
                yield (*place, type_.__name__)
                yield from fields_of(type_, seen)
        case Either(options=options):
            for option in options:
                yield from declared(option, place, seen)
        case _:
            yield (*place, type(shape).__name__)


def fields_of(type_: type[Struct], seen: set[type[Struct]]) -> Iterator[Feature]:
    if type_ not in seen:
        seen.add(type_)
        for name, field in fields(type_).items():
            yield from declared(field.shape, (type_.__name__, name), seen)


def found(shape: Shape, value: Any, place: Feature) -> Iterator[Feature]:
    """Yield the ways in which `value` is written."""
    chosen = shape.choose(value)
    match chosen:
        case Choice():
            yield (*place, value)
        case Flag():
            yield (*place, str(value).lower())
        case Null():
            yield (*place, "null")
        case Secret():
            yield (*place, type(value).__name__ if value != "" else "none")
        case Referable(text=text):
            name = type(text).__name__ if isinstance(value, str) else type(value).__name__
            yield (*place, name)
        case ListOf(item=item):
            for entry in value if isinstance(value, list) else [value]:
                yield from found(item, entry, (*place, "item"))
        case MapOf(value=inner):
            for entry in value.values():
                yield from found(inner, entry, (*place, "entry"))
        case Record() | Kinds():
            type_ = chosen.type_of(value)
            assert type_ is not None
            yield from written(type_, value, place)
        case _:
            yield (*place, type(chosen).__name__)


def written(type_: type[Struct], value: Any, place: Feature) -> Iterator[Feature]:
    yield (*place, type_.__name__)
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from found(fields(type_)[name].shape, item, (type_.__name__, name))


class Enough(Exception):
    """Everything that was wanted was drawn."""


def drawn(
    strategy: st.SearchStrategy[Any],
    look: Callable[[Any], Iterable[Feature]],
    examples: int,
    wanted: Collection[Feature] = (),
) -> set[Feature]:
    """Return what `look` finds in the values that `strategy` draws, until it is all `wanted`."""
    seen: set[Feature] = set()

    @given(strategy)
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def collect(value: Any) -> None:
        seen.update(look(value))
        if wanted and seen.issuperset(wanted):
            raise Enough

    with contextlib.suppress(Enough):
        collect()
    return seen


def types_of(shape: Shape) -> list[type[Struct]]:
    types: set[type[Struct]] = set()
    list(declared(shape, (), types))
    return sorted(types, key=lambda type_: type_.__name__)


@pytest.mark.parametrize("type_", types_of(PROFILE))
def test_every_kind_choice_and_alternative_of_every_field_is_drawn(type_: type[Struct]) -> None:
    for name, field in fields(type_).items():
        place = (type_.__name__, name)
        wanted = set(declared(field.shape, place, set()))
        own = {feature for feature in wanted if feature[:2] == place}
        look = functools.partial(found, field.shape, place=place)
        draws = 1500 if len(own) > 7 else 150 if len(own) > 2 else 40
        seen = drawn(values(field.shape), look, draws)
        assert own
        assert sorted(own - seen) == []


def test_every_field_of_an_lm_is_drawn() -> None:
    seen = drawn(testing.lm_data(), lambda data: ((name,) for name in data), 1200)
    seen |= drawn(testing.settings(), lambda data: ((name,) for name in data), 200)
    assert sorted({(name,) for name in fields(LMSpec)} - seen) == []


def test_every_part_of_a_profile_is_drawn() -> None:
    def look(data: Mapping[str, Any]) -> Iterator[Feature]:
        yield from ((name,) for name, value in data.items() if value)
        for lm in data["lms"].values():
            yield from _named(lm)

    wanted: set[Feature] = {(name,) for name in fields(ProfileSpec)}
    wanted |= {(name, how) for name in ("store", "callback", "fallback") for how in _HOWS}
    # What is drawn differs with the modules that happen to be loaded, and some of it is rare.
    seen = drawn(profile_data(), look, 3000, wanted)
    assert sorted(wanted - seen) == []


_HOWS = ("by name", "in place")


def _named(lm: Mapping[str, Any]) -> Iterator[Feature]:
    cache = lm.get("cache")
    used = [("store", cache["store"])] if isinstance(cache, Mapping) and "store" in cache else []
    for key in ("callbacks", "fallbacks"):
        items = lm.get(key, [])
        used += [(key[:-1], item) for item in (items if isinstance(items, list) else [items])]
    for what, item in used:
        yield (what, _HOWS[0] if isinstance(item, str) else _HOWS[1])


@pytest.mark.parametrize(
    "type_", [each for each in types_of(PROFILE) if each not in (LMSpec, SoleLMSpec, ProfileSpec)]
)
def test_every_field_of_a_block_is_drawn(type_: type[Struct]) -> None:
    seen = drawn(block(type_), lambda data: ((name,) for name in data), 100)
    assert sorted({(name,) for name in fields(type_)} - seen) == []


def emptied(shape: Shape, value: Any) -> Iterator[Feature]:
    """Yield the fields of blocks in `value`, as a document spells it, that hold empty blocks."""
    if isinstance(value, list):
        inner = shape.child(value, 0)
        for item in value:
            if inner is not None:
                yield from emptied(inner, item)
        return
    chosen = shape.choose(value)
    if not isinstance(value, Mapping) or any(key.startswith("$") for key in value):
        return
    if isinstance(chosen, ListOf):
        yield from emptied(chosen.item, value)
        return
    type_ = chosen.type_of(value)
    for key, item in value.items():
        if type_ is not None and item in ({}, {"$value": {}}):
            yield (type_.__name__, key)
        below = chosen.child(value, key)
        if below is not None:
            yield from emptied(below, item)


def blocks_of(types: Iterable[type[Struct]]) -> set[Feature]:
    return {
        (type_.__name__, name)
        for type_ in types
        for name, field in fields(type_).items()
        if field.shape.takes_block() and not field.required
    }


@pytest.mark.parametrize(
    ("shape", "strategy", "types"),
    [
        (Record(LMSpec), testing.settings(), types_of(Record(LMSpec))),
        # What its LMs hold is drawn as that of any LM is.
        (MANY_LMS, testing.profiles(), [ProfileDocument, LMEntry]),
    ],
    ids=["one LM", "a profile"],
)
def test_every_block_is_drawn_empty(
    shape: Shape, strategy: st.SearchStrategy[Any], types: list[type[Struct]]
) -> None:
    wanted = blocks_of(types) - {("ProfileDocument", "lms")}
    assert len(wanted) > 20
    seen = drawn(strategy, functools.partial(emptied, shape), 2000, wanted)
    assert sorted(wanted - seen) == []


def test_a_missing_hypothesis_is_named() -> None:
    code = """
import importlib.util, sys
sys.modules["hypothesis"] = None
import lmconf.testing
try:
    lmconf.testing.settings
except ImportError as error:
    assert "lmconf-runtime[testing]" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=testing.__path__[0] + "/../..")
