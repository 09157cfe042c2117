"""Plain data of any shape that a spec type declares."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from lmconf.caches.specs import STORE_SPECS
from lmconf.schema.declaration import fields
from lmconf.schema.lookup import child, choose, kind_of, takes_block
from lmconf.schema.shapes import (
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

__all__ = ["IMPORTS", "NAMES", "addresses", "block", "names", "values", "with_empty_blocks"]

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
    match shape:
        case Text():
            return _text(shape)
        case Choice(values=choices):
            return st.sampled_from(choices)
        case Flag():
            return st.booleans()
        case Null():
            return st.none()
        case Integer(low=low, high=high):
            wholes = whole_numbers(low, high)
            return st.one_of(wholes, wholes.filter(lambda n: abs(n) < 2**53).map(float))
        case Number(low=low, high=high):
            return st.one_of(numbers(low, high), st.integers(_up(low), _down(high)))
        case Duration(low=low):
            return _durations(low)
        case Size():
            return _sizes()
        case Referable(text=text):
            return st.one_of(values(text), references())
        case Secret():
            return st.one_of(st.just(""), references(secret=True))
        case _:
            return _composite(shape)


def _composite(shape: Shape) -> st.SearchStrategy[Any]:
    match shape:
        case ListOf(item=item, low=low, high=high):
            return st.lists(values(item), min_size=low, max_size=min(3, high or 3))
        case MapOf(value=value, names=pattern):
            free = texts().filter(lambda key: not is_secret_name(key) and not key.startswith("$"))
            return st.dictionaries(names() if pattern else free, values(value), max_size=3)
        case Record(type=type_):
            return block(type_)
        case Kinds(tag=tag, table=table, default=default):
            return st.one_of(
                [
                    _kind(tag, kind, type_, kind == default)
                    for kind, type_ in table.items()
                    if kind != "*" or table is not STORE_SPECS  # none is registered
                ]
            )
        case Json(mapping=mapping):
            return json_maps() if mapping else json_values()
        case Either(options=options):
            return st.one_of([values(option) for option in options])
        case _:
            raise TypeError(f"no values of {type(shape).__name__}")


def block(type_: type[Struct], **strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return blocks with the fields of `type_`: those of `strategies`, the required and a few others."""
    return _block(type_, strategies)


@st.composite
def _block(
    draw: st.DrawFn, type_: type[Struct], strategies: dict[str, st.SearchStrategy[Any]]
) -> dict[str, Any]:
    declared = fields(type_)
    free = [
        name for name, field in declared.items() if not field.required and name not in strategies
    ]
    optional = draw(st.lists(st.sampled_from(free), unique=True, max_size=6)) if free else []
    required = [
        name for name, field in declared.items() if field.required and name not in strategies
    ]
    data = {name: draw(values(declared[name].shape)) for name in (*required, *optional)}
    return {**{name: draw(strategy) for name, strategy in strategies.items()}, **data}


@st.composite
def with_empty_blocks(draw: st.DrawFn, shape: Shape, data: Any) -> Any:
    """Draw `data`, as a document spells it, with empty blocks where `shape` has blocks left out.

    An empty block is the block left out: the two mean the same at every level.
    """
    if isinstance(data, list):
        inner = child(shape, data, 0)
        return data if inner is None else [draw(with_empty_blocks(inner, item)) for item in data]
    if not isinstance(data, dict) or any(key.startswith("$") for key in data):
        return data
    choice = choose(shape, data)
    if isinstance(choice, ListOf):  # a block that stands for a list of one
        return draw(with_empty_blocks(choice.item, data)) if data else data
    if isinstance(choice, Json):
        return data
    whole = {}
    for key, value in data.items():
        below = child(choice, data, key)
        whole[key] = value if below is None else draw(with_empty_blocks(below, value))
    left_out = [name for name in _optional_blocks(choice, data) if name not in data]
    for name in (
        draw(st.lists(st.sampled_from(left_out), unique=True, max_size=6)) if left_out else ()
    ):
        below = child(choice, data, name)
        assert below is not None
        empty: Any = draw(st.sampled_from([{}, {"$value": {}}, None]))
        # A block that holds nothing but empty blocks is one, too.
        whole[name] = draw(with_empty_blocks(below, {})) if empty is None else empty
    return whole


def _optional_blocks(shape: Shape, data: dict[str, Any]) -> list[str]:
    """Return the names of the fields of a block that may hold blocks and may be left out."""
    type_ = shape.type if isinstance(shape, Record) else None
    if isinstance(shape, Kinds) and data:
        type_ = kind_of(shape, data)
    declared = {} if type_ is None else fields(type_)
    return [
        name
        for name, field in declared.items()
        if not field.required and takes_block(field.shape) and name != "lms"
    ]


def _kind(tag: str, kind: str, type_: type[Struct], default: bool) -> st.SearchStrategy[Any]:
    blocks = block(type_, **{tag: _KINDS if kind == "*" else st.just(kind)})
    if not default:
        return blocks
    return blocks.flatmap(
        lambda data: st.sampled_from([data, {k: v for k, v in data.items() if k != tag}])
    )


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


def _durations(low: float) -> st.SearchStrategy[Any]:
    texts = st.builds(
        "{}{}{}".format,
        st.integers(0, 10**6) | st.sampled_from(["0.5", "1.25", "007"]),
        st.sampled_from(["", " "]),
        st.sampled_from(["", "ms", "s", "sec", "min", "h", "d"]),
    )
    return st.one_of(numbers(low), st.integers(int(low), 10**6), texts)


def _sizes() -> st.SearchStrategy[Any]:
    texts = st.builds(
        "{}{}".format,
        st.integers(0, 10**6) | st.sampled_from(["0.5", "1.25"]),
        st.sampled_from(["", "B", "kB", "KB", "MB", "KiB", "MiB", "GiB", "TiB", " GiB"]),
    )
    return st.one_of(st.integers(0, 2**50), texts)


def _up(low: float | None) -> int:
    return -(2**53) if low is None else int(-(-low // 1))


def _down(high: float | None) -> int:
    return 2**53 if high is None else int(high // 1)
