"""Plain data of any shape that a spec type declares."""

from __future__ import annotations

import functools
import math
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from lmconf.schema import (
    Choice,
    Duration,
    Either,
    Flag,
    Integer,
    Json,
    Kinds,
    ListOf,
    MapOf,
    Null,
    Number,
    Record,
    Referable,
    Secret,
    Shape,
    Size,
    Text,
)
from lmconf.schema.declaration import fields
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.connection_fields import REGION_PATTERN
from lmconf.testing.atoms import (
    json_maps,
    json_values,
    numbers,
    references,
    texts,
    whole_numbers,
)

__all__ = [
    "IMPORTS",
    "NAMES",
    "addresses",
    "block",
    "draw_kind",
    "names",
    "values",
    "with_empty_blocks",
]

NAMES = frozenset({"acme", "acme.audit"})
"""The kinds beside lmconf's own that are drawn: register them, or give them as known names."""
IMPORTS = frozenset({"acme_lm.hooks"})
"""The modules whose attributes are drawn as kinds: allow them."""

_KINDS = st.sampled_from([*sorted(NAMES), "acme_lm.hooks:CostMeter"])
_PATHS = st.sampled_from(["runs/calls.jsonl", "./off", "../a b", "/srv/ë", "~/.cache/x", "1e3"])


def addresses(*, loopback: bool) -> st.SearchStrategy[str]:
    """Return addresses of servers: https anywhere, or http on this machine."""
    hosts = ["http://localhost", "http://127.0.0.1", "https://[::1]"]
    away = ["https://llm.acme.example", "https://Ë.example", "https://10.0.0.7"]
    return st.builds(
        "".join,
        st.tuples(
            st.sampled_from(hosts if loopback else away),
            st.sampled_from(["", ":8080"]),
            st.sampled_from(["", "/", "/v1", "/a%20b/"]),
        ),
    )


def names() -> st.SearchStrategy[str]:
    """Return names for LMs, stores and callbacks."""
    return st.sampled_from(["gpt", "off", "Null", "a-b", "n", "claude_3", "y", "Z9"])


@functools.cache
def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Return plain data of `shape`, with references as objects; `build` accepts each.

    Rules between the fields of a block are not among what a shape says: see `lm_data`.
    """
    return draw_kind(shape)


@functools.singledispatch
def draw_kind(shape: Shape) -> st.SearchStrategy[Any]:
    """Return the strategy of a kind of value: what is registered for its class, or its example."""
    return st.builds(shape.example)


@draw_kind.register
def _choices(shape: Choice) -> st.SearchStrategy[str]:
    return st.sampled_from(shape.values)


@draw_kind.register
def _flags(shape: Flag) -> st.SearchStrategy[bool]:
    return st.booleans()


@draw_kind.register
def _nulls(shape: Null) -> st.SearchStrategy[None]:
    return st.none()


@draw_kind.register
def _numbers(shape: Number) -> st.SearchStrategy[float]:
    low = -(2**53) if shape.low is None else math.ceil(shape.low)
    high = 2**53 if shape.high is None else math.floor(shape.high)
    return st.one_of(numbers(shape.low, shape.high), st.integers(low, high))


@draw_kind.register
def _integers(shape: Integer) -> st.SearchStrategy[float]:
    found = whole_numbers(shape.low, shape.high)
    return st.one_of(found, found.filter(lambda n: abs(n) < 2**53).map(float))


@draw_kind.register
def _referables(shape: Referable) -> st.SearchStrategy[Any]:
    return st.one_of(values(shape.text), references())


@draw_kind.register
def _secrets(shape: Secret) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(""), references(secret=True))


@draw_kind.register
def _lists(shape: ListOf) -> st.SearchStrategy[list[Any]]:
    return st.lists(values(shape.item), min_size=shape.low, max_size=min(3, shape.high or 3))


@draw_kind.register
def _mappings(shape: MapOf) -> st.SearchStrategy[dict[str, Any]]:
    free = texts().filter(lambda key: not is_secret_name(key) and not key.startswith("$"))
    return st.dictionaries(names() if shape.names else free, values(shape.value), max_size=3)


@draw_kind.register
def _records(shape: Record) -> st.SearchStrategy[Any]:
    return block(shape.type)


@draw_kind.register
def _kinds(shape: Kinds) -> st.SearchStrategy[Any]:
    return st.one_of(
        [
            _kind(shape.tag, kind, type_, kind == shape.default)
            for kind, type_ in shape.table.items()
        ]
    )


@draw_kind.register
def _data(shape: Json) -> st.SearchStrategy[Any]:
    return json_maps() if shape.mapping else json_values()


@draw_kind.register
def _alternatives(shape: Either) -> st.SearchStrategy[Any]:
    return st.one_of(list(map(values, shape.options)))


def block(type_: type[Struct], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return blocks with the fields of `type_`: the required ones, `given`, and a few others."""
    return _block(type_, given)


@st.composite
def _block(
    draw: st.DrawFn, type_: type[Struct], given: dict[str, st.SearchStrategy[Any]]
) -> dict[str, Any]:
    declared = fields(type_)
    free = [name for name, field in declared.items() if not field.required and name not in given]
    chosen = draw(st.lists(st.sampled_from(free), unique=True, max_size=6)) if free else []
    required = [name for name, field in declared.items() if field.required and name not in given]
    data = {name: draw(values(declared[name].shape)) for name in (*required, *chosen)}
    return {**{name: draw(strategy) for name, strategy in given.items()}, **data}


@st.composite
def with_empty_blocks(draw: st.DrawFn, shape: Shape, data: Any) -> Any:
    """Draw `data`, as a document spells it, with empty blocks where `shape` has blocks left out.

    An empty block is the block left out: the two mean the same at every level.
    """
    if isinstance(data, list):
        inner = shape.child(data, 0)
        return data if inner is None else [draw(with_empty_blocks(inner, item)) for item in data]
    if not isinstance(data, dict) or any(key.startswith("$") for key in data):
        return data
    chosen = shape.choose(data)
    if isinstance(chosen, ListOf):  # a block that stands for a list of one
        return draw(with_empty_blocks(chosen.item, data)) if data else data
    if isinstance(chosen, Json):
        return data
    whole = {}
    for key, value in data.items():
        below = chosen.child(data, key)
        whole[key] = value if below is None else draw(with_empty_blocks(below, value))
    left_out = [name for name in _optional_blocks(chosen, data) if name not in data]
    for name in (
        draw(st.lists(st.sampled_from(left_out), unique=True, max_size=6)) if left_out else ()
    ):
        below = chosen.child(data, name)
        assert below is not None
        empty: Any = draw(st.sampled_from([{}, {"$value": {}}, None]))
        # A block that holds nothing but empty blocks is one, too.
        whole[name] = draw(with_empty_blocks(below, {})) if empty is None else empty
    return whole


def _optional_blocks(shape: Shape, data: dict[str, Any]) -> list[str]:
    """Return the names of the fields of a block that may hold blocks and may be left out."""
    # An empty block of a kind that is not stated may be of any.
    type_ = shape.type_of(data) if data or isinstance(shape, Record) else None
    declared = {} if type_ is None else fields(type_)
    return [
        name
        for name, field in declared.items()
        if not field.required and field.shape.takes_block() and name != "lms"
    ]


def _kind(tag: str, kind: str, type_: type[Struct], default: bool) -> st.SearchStrategy[Any]:
    said = block(type_, **{tag: _KINDS if kind == "*" else st.just(kind)})
    if not default:
        return said
    return said.flatmap(
        lambda data: st.sampled_from([data, {k: v for k, v in data.items() if k != tag}])
    )


@draw_kind.register
def _text(shape: Text) -> st.SearchStrategy[str]:
    if shape.path:
        return _PATHS
    if shape.pattern is None:
        return texts(empty=shape.empty)
    if shape.pattern.startswith("^https?"):
        return st.booleans().flatmap(lambda loopback: addresses(loopback=loopback))
    if shape.pattern == REGION_PATTERN:
        return st.from_regex(r"[A-Za-z0-9-]+", fullmatch=True)
    return names()


@draw_kind.register
def _durations(shape: Duration) -> st.SearchStrategy[Any]:
    written = st.builds(
        "{}{}{}".format,
        st.integers(0, 10**6) | st.sampled_from(["0.5", "1.25", "007"]),
        st.sampled_from(["", " "]),
        st.sampled_from(["", "ms", "s", "sec", "min", "h", "d"]),
    )
    return st.one_of(numbers(shape.low), st.integers(int(shape.low), 10**6), written)


@draw_kind.register
def _sizes(shape: Size) -> st.SearchStrategy[Any]:
    written = st.builds(
        "{}{}".format,
        st.integers(0, 10**6) | st.sampled_from(["0.5", "1.25"]),
        st.sampled_from(["", "B", "kB", "KB", "MB", "KiB", "MiB", "GiB", "TiB", " GiB"]),
    )
    return st.one_of(st.integers(0, 2**50), written)
