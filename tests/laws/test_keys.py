"""Equal requests have equal keys everywhere, and different requests have different keys."""

from __future__ import annotations

import datetime
import json
import math
import os
import random
import struct
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lmconf.caches import cache_key, request_key, spec_digest
from lmconf.caches.keys import ORDERED, _write, canonical
from lmconf.errors import UsageError
from lmconf.schema.frozen import freeze
from lmconf.secrets.references import Env

ROOT = Path(__file__).parents[2]
PARTS = {
    "model": "openai/gpt-4o-mini",
    "temperature": 0.7,
    "max_tokens": 1000,
    "stop": ["\n", "Ende \U0001f600"],
    "tools": [{"type": "function", "function": {"name": "f", "description": "ä"}}],
    "seed": 2**63 + 1,
}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi \ud83d!"}]

GOLDEN = {
    "empty": "6bf645466f1d03c76da26bd66da7d9427dd87df63d1048ad83684b5b341c6663",
    "parts": "fb18aa9eaa58260121ca50803af7fede9a60c48bba8a48564773532f045ac4f9",
    "digest": "1b0c95f19d0f36ba473cfc6ceeae7aa88d9bbb675d3ae8695c60ebd5326e962b",
    "request": "c4fcb1075378736b8d705f966f0515332da378de0cd7a2589f5cbe7572fbf910",
    "rollout": "06a475e6e96b5c714776ee4cf96f7c2256abee06f3a55b74fee0774e50aecab8",
}

texts = st.text() | st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010))
names = st.text(max_size=8) | st.sampled_from(sorted(ORDERED))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=5)


def slow(value: object) -> bytes:
    pieces: list[str] = []
    _write(value, False, pieces)
    return "".join(pieces).encode("utf-8", "surrogatepass")


def shuffled(value: object, seed: random.Random) -> object:
    """`value` with the keys of every mapping in another order, save where the order counts."""
    if isinstance(value, dict):
        keys = list(value)
        seed.shuffle(keys)
        return {key: value[key] if key in ORDERED else shuffled(value[key], seed) for key in keys}
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


def test_keys_are_what_they_were_when_the_format_was_made() -> None:
    """A change here makes every stored answer unreachable: raise FORMAT and say so."""
    assert cache_key({}) == GOLDEN["empty"]
    assert cache_key(PARTS) == GOLDEN["parts"]
    assert spec_digest(PARTS).hex() == GOLDEN["digest"]
    assert request_key(spec_digest(PARTS), MESSAGES, {}) == GOLDEN["request"]
    assert request_key(spec_digest(PARTS), MESSAGES, {"rollout_id": 1}) == GOLDEN["rollout"]


# The samples of RFC 8785, appendix B: an IEEE 754 number and its text.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_rfc_8785_says(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical([number]) == f"[{text}]".encode()


@pytest.mark.parametrize(
    "same", [(0, 0.0, -0.0), (1, 1.0), (-3, -3.0), (10**21, 1e21), (10**20, 1e20), (5e300, 5e300)]
)
def test_equal_numbers_are_one_number(same: tuple[float, ...]) -> None:
    assert len({cache_key({"x": number}) for number in same}) == 1


def test_numbers_that_a_double_cannot_tell_apart_are_told_apart() -> None:
    different = [2**53, 2**53 + 1, 10**21, 10**21 + 1, 10**22, True, "1", 1]
    assert len({cache_key({"x": value}) for value in different}) == len(different)


def meaning(value: object) -> object:
    """`value` with its numbers as the decimals that JSON writes for them."""
    if isinstance(value, dict):
        return {key: meaning(item) for key, item in value.items()}
    if isinstance(value, list):
        return [meaning(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (type(value), value)
    return (Decimal, Decimal(repr(value)))


@given(values)
def test_the_canonical_text_says_the_value_and_nothing_else(value: object) -> None:
    """Reading it back gives the value: so no two different values share a text."""
    text = canonical(value).decode("utf-8", "surrogatepass")
    read = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    assert meaning_read(read) == meaning(value)


def meaning_read(value: object) -> object:
    if isinstance(value, dict):
        return {key: meaning_read(item) for key, item in value.items()}
    if isinstance(value, list):
        return [meaning_read(item) for item in value]
    return (type(value), value)


@given(values)
def test_the_fast_text_is_the_slow_one(value: object) -> None:
    assert canonical(value) == slow(value)


@given(objects, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(value: dict[str, object], seed: random.Random) -> None:
    assert canonical(shuffled(value, seed)) == canonical(value)


@given(st.sampled_from(sorted(ORDERED)), st.dictionaries(st.text(), values, min_size=2, max_size=4))
def test_the_order_of_keys_counts_where_it_steers_the_answer(
    name: str, inner: dict[str, object]
) -> None:
    backwards = dict(reversed(inner.items()))
    assert cache_key({name: [inner]}) != cache_key({name: [backwards]})
    assert cache_key({"request": {name: inner}}) != cache_key({"request": {name: backwards}})


@given(objects)
def test_tuples_are_lists_and_frozen_maps_are_mappings(value: dict[str, object]) -> None:
    assert cache_key(freeze(value)) == cache_key(value)


@given(objects, objects, objects, objects)
def test_the_parts_of_a_request_do_not_run_into_each_other(
    one: dict[str, object],
    two: dict[str, object],
    three: dict[str, object],
    four: dict[str, object],
) -> None:
    assume((canonical(one), canonical(two)) != (canonical(three), canonical(four)))
    digest = spec_digest({})
    assert request_key(digest, [one], two) != request_key(digest, [three], four)


def test_an_lms_digest_counts_in_every_key() -> None:
    assert request_key(spec_digest({"a": 1}), [], {}) != request_key(spec_digest({"a": 2}), [], {})


def test_lone_surrogates_and_the_letters_they_would_make_are_different_texts() -> None:
    texts = ["\ud83d\ude00", "\U0001f600", "\ud83d", "\ude00", "\ufffd", "?", "\\ud83d"]
    assert len({cache_key({"x": text}) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"secret", "type bytes"),
        ({1, 2}, "type set"),
        (math.nan, "the number nan"),
        (-math.inf, "the number -inf"),
        (datetime.date(2020, 1, 1), "type date"),
        ({1: "secret"}, "a key of type int"),
        ({None: 1}, "a key of type NoneType"),
        (Env(name="OPENAI_API_KEY"), "type Env"),
        (object(), "type object"),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_place(value: object, what: str) -> None:
    """The value itself is not shown."""
    with pytest.raises(UsageError) as refused:
        cache_key({"messages": [{"content": value}]})
    assert str(refused.value).startswith("messages[0].content holds ")
    assert what in str(refused.value)
    assert "secret" not in str(refused.value)


def test_what_contains_itself_is_refused() -> None:
    inner: list[object] = []
    inner.append(inner)
    with pytest.raises(UsageError, match="contains itself"):
        cache_key({"messages": inner})


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_keys_are_the_same_in_every_process(seed: str) -> None:
    code = (
        "from tests.laws.test_keys import *\n"
        "print(cache_key(PARTS), request_key(spec_digest(PARTS), MESSAGES, {'rollout_id': 1}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [GOLDEN["parts"], GOLDEN["rollout"]]
