"""Quantities, frozen maps, building, writing, describing and patterns."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf import testing
from lmconf.callbacks.specs import CALLBACK
from lmconf.retries.specs import RetryPolicy
from lmconf.schema import (
    Choice,
    Duration,
    Either,
    Flag,
    Integer,
    Json,
    ListOf,
    MapOf,
    Number,
    Record,
    Referable,
    Secret,
    Size,
    Text,
    nullable,
)
from lmconf.schema.check import check
from lmconf.schema.declaration import Spec, fields
from lmconf.schema.frozen import FrozenMap, freeze, thaw
from lmconf.schema.patterns import matches
from lmconf.schema.quantities import parse_duration, parse_size, write_duration, write_size
from lmconf.secrets.references import Env
from lmconf.spec.lm import LM

# --- quantities ---------------------------------------------------------------------------------


@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_a_written_duration_reads_back_exactly(seconds: float) -> None:
    assert parse_duration(write_duration(seconds)) == seconds


@given(st.integers(0, 2**63 - 1))
def test_a_written_size_reads_back_exactly(count: int) -> None:
    assert parse_size(write_size(count)) == count


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("20s", 20),
        ("10min", 600),
        ("2h", 7200),
        ("7d", 604800),
        ("3", 3),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_seconds(written: Any, seconds: float) -> None:
    assert parse_duration(written) == seconds
    assert isinstance(parse_duration(written), float)


@pytest.mark.parametrize(
    ("written", "count"),
    [("2GiB", 2**31), ("512KiB", 2**19), ("1.5MB", 1_500_000), ("1kB", 1000), (7, 7), ("7", 7)],
)
def test_a_size_is_bytes(written: Any, count: int) -> None:
    assert parse_size(written) == count


@pytest.mark.parametrize("written", ["", "s", "20 seconds", "-1s", "1e3s", "1:30", "9" * 16 + "d"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(written)
    assert check(MapOf(Duration()), {"a": written})


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.5, "500ms"), (60.0, "1min"), (90.0, "90s"), (86400.0, "1d"), (0.0, 0.0), (0.0001, 0.0001)],
)
def test_a_duration_is_written_as_a_person_would(seconds: float, written: object) -> None:
    assert write_duration(seconds) == written


# --- frozen maps --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.update(a=2),
        lambda held: held.pop("a"),
        lambda held: held.clear(),
        lambda held: held.setdefault("b", 1),
        lambda held: held.popitem(),
        lambda held: held.__setitem__("a", 2),
        lambda held: held.__delitem__("a"),
        lambda held: held.__ior__({"b": 1}),
    ],
)
def test_a_frozen_map_refuses_every_change(change: Any) -> None:
    held = FrozenMap({"a": 1})
    with pytest.raises(TypeError, match="copy"):
        change(held)
    assert held == {"a": 1}


def test_a_frozen_map_is_hashable_copies_pickles_and_is_json() -> None:
    held = freeze({"a": [1, {"b": None}]})
    assert hash(held) == hash(freeze({"a": [1, {"b": None}]}))
    for other in (copy.copy(held), copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        assert other == held
        assert isinstance(other, FrozenMap)
    assert json.loads(json.dumps(held)) == {"a": [1, {"b": None}]}


@given(testing.json_values().map(testing.to_document_data))
def test_thawing_undoes_freezing(value: Any) -> None:
    assert thaw(freeze(value)) == value
    assert isinstance(hash(freeze(value)), int)


# --- building and writing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "data", "built"),
    [
        (Number(), 1, 1.0),
        (Integer(), 5.0, 5),
        (Duration(), "1min", 60.0),
        (Size(), "1KiB", 1024),
        (ListOf(Integer()), [1, 2.0], (1, 2)),
        (MapOf(Number()), {"a": 1}, FrozenMap({"a": 1.0})),
        (nullable(Integer()), None, None),
        (Either((Flag(), Integer())), True, True),
        (Either((Integer(), Number())), 9.3e18, 9.3e18),
        (Json(), {"a": [1]}, FrozenMap({"a": (1,)})),
        (Secret(), Env(name="X"), Env(name="X")),
        (Record(RetryPolicy), {"max": "5s"}, RetryPolicy(max=5.0)),
        (Record(RetryPolicy), RetryPolicy(max=5.0), RetryPolicy(max=5.0)),
    ],
)
def test_data_is_built_into_values(shape: Any, data: Any, built: Any) -> None:
    assert shape.build(data) == built
    assert type(shape.build(data)) is type(built)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        (Number(), True),
        (Number(), float("nan")),
        (ListOf(Integer()), "ab"),
        (MapOf(Integer()), Env(name="X")),
        (nullable(Json(mapping=True)), Env(name="X")),
        (CALLBACK, {"path": "x"}),
        (Text(), [1]),
    ],
)
def test_what_was_not_checked_is_not_built(shape: Any, data: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        shape.build(data)


@pytest.mark.parametrize(
    ("shape", "value", "written"),
    [
        (Text(), "{{ a }}", {"$value": "{{ a }}"}),
        (Text(), "{% a %}", "{% a %}"),
        (ListOf(Text()), ("a", "{{"), ["a", {"$value": "{{"}]),
        (Json(), freeze({"$env": "X"}), {"$value": {"$env": "X"}}),
        (Json(), freeze({"$ref": "#/a", "b": "{{"}), {"$value": {"$ref": "#/a", "b": "{{"}}),
        (Json(), freeze({"a": {"b": "{{"}}), {"a": {"b": {"$value": "{{"}}}),
        (Json(), freeze({"$a": Env(name="X")}), {"$a": {"$env": "X"}}),
        (MapOf(Referable(Text())), freeze({"$env": "x"}), {"$value": {"$env": "x"}}),
        (Referable(Text()), Env(name="X", format="a {}"), {"$env": "X", "format": "a {}"}),
    ],
)
def test_text_that_could_be_misread_is_escaped(shape: Any, value: Any, written: Any) -> None:
    assert shape.write(value) == written


def test_minimal_writes_what_was_said_and_resolved_what_has_an_effect() -> None:
    policy = RetryPolicy(max=5.0)
    shape = Record(RetryPolicy)
    assert shape.write(policy, {"max": 5}) == {"max": "5s"}
    assert shape.write(policy, {"$value": {"max": 5}}) == {"max": "5s"}
    assert shape.write(policy).keys() == set(fields(RetryPolicy))


def test_a_field_without_role_and_shape_cannot_be_declared() -> None:
    class Bare(Spec, frozen=True):
        plain: int = 0

    Bare.__annotations__ = {"plain": int}
    with pytest.raises(TypeError, match="without role and shape"):
        fields(Bare)


# --- describing and matching --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (Integer(1, 5), "a whole number from 1 to 5"),
        (Number(0), "a number of at least 0"),
        (nullable(Choice(("low", "high"))), "`low`, `high` or null"),
        (ListOf(Text()), "a list of texts"),
        (Duration(), "a duration such as `500ms`, `20s` or `2h`"),
    ],
)
def test_a_shape_is_described_in_words(shape: Any, said: str) -> None:
    assert shape.describe() == said


def test_a_pattern_ends_where_the_text_ends() -> None:
    assert matches(r"^[a-z]+$", "abc")
    assert not matches(r"^[a-z]+$", "abc\n")
    assert [fault.code for fault in check(MapOf(Integer(), names=r"^[a-z]+$"), {"a\n": 1})] == [
        "bad-name"
    ]


# --- checking -----------------------------------------------------------------------------------


def faults(**settings: Any) -> dict[tuple[Any, ...], str]:
    data = {"model": "openai/x", **settings}
    return {fault.path: f"{fault.code}: {fault.message}" for fault in check(LM, data)}


@pytest.mark.parametrize(
    ("settings", "path", "code"),
    [
        ({"temprature": 1}, ("temprature",), "unknown-key"),
        ({"temperature": 3}, ("temperature",), "out-of-range"),
        ({"temperature": "1"}, ("temperature",), "wrong-type"),
        ({"model_type": "chta"}, ("model_type",), "unknown-value"),
        ({"deadline": "soon"}, ("deadline",), "bad-quantity"),
        ({"retry": {"max": "x"}}, ("retry", "max"), "bad-quantity"),
        ({"retry": Env(name="X")}, ("retry",), "wrong-type"),
        (
            {"headers": {"Authorization": "Bearer x"}},
            ("headers", "Authorization"),
            "literal-secret",
        ),
        ({"extra": {"a": [{"password": 5}]}}, ("extra", "a", 0, "password"), "literal-secret"),
        ({"callbacks": [{"use": "jsonl"}]}, ("callbacks", 0), "missing-key"),
        ({"cache": {"store": {"backend": "dsk"}}}, ("cache", "store", "backend"), "unknown-value"),
        ({"seed": 2**63}, ("seed",), "out-of-range"),
        ({"seed": 1e19}, ("seed",), "wrong-type"),
        ({"user": "\ud800"}, ("user",), "bad-text"),
        ({"extra": {"a": float("inf")}}, ("extra", "a"), "out-of-range"),
        ({"extra": Env(name="X")}, ("extra",), "wrong-type"),
        ({"response_format": Env(name="X")}, ("response_format",), "wrong-type"),
        ({"max_tokens": True}, ("max_tokens",), "wrong-type"),
    ],
)
def test_a_fault_is_named_at_its_path(settings: Any, path: Any, code: str) -> None:
    found = faults(**settings)
    assert list(found) == [path]
    assert found[path].startswith(f"{code}: ")


def test_every_fault_is_told_at_once() -> None:
    found = faults(temprature=1, max_tokens=0, cache={"modee": 1}, retry={"when": ["never"]})
    assert set(found) == {
        ("temprature",),
        ("max_tokens",),
        ("cache", "modee"),
        ("retry", "when", 0),
    }
