"""Law 2: what is written reads back as the same value, with any YAML reader."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from typing import Any

import ruamel.yaml
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmconf.document import Map, Node, Plain, Seq, read_document, read_value, to_plain, write
from lmconf.document.yaml.scalars import LARGEST, SMALLEST, is_plain_safe, resolve

# Texts that some reader takes for something else, and pieces from which more of them are made.
NASTY = (
    "off yes no on y n Y N true FALSE null ~ Null << = - ? : # & * ! | > % @ ` [ ] { } , . .. ... "
    "--- 1 017 0o17 0x1F 0b1 1_000 +5 -0 1e3 1e-3 1.0e-3 .5 5. .inf -.INF .nan 12:30 1:59:59 "
    "2024-10-21 2024-10-21T12:30:00Z 7d 2GiB openai/gpt-4o http://localhost:11434 a:b a: :a a:?b "
    "don't 'q' \"q\" \\ \\n {{x}} $env ~/.cache % %TAG !!str !env 190:20:30.15 0.1.2 1__0 0_7 ë"
).split()
PIECES = [
    *NASTY,
    *" \t\n\r\x00\x1b\x7f\x85\xa0\xad\u200b\u2028\u2029\ufeff\uffff\ue000",
    "\r\n",
    "\n\n",
    " #",
    ": ",
    "- ",
    "  ",
    "😀",
    "❤\ufe0f",
    "\U0001fffe",
    "x" * 60,
]
texts = st.one_of(
    st.sampled_from(PIECES),
    st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
numbers = st.one_of(
    st.integers(SMALLEST, LARGEST), st.floats(allow_nan=False, allow_infinity=False)
)
atoms = st.one_of(st.none(), st.booleans(), numbers, texts)
# The last is too long for a key on one line.
keys = st.one_of(texts, st.sampled_from(["$env", "$value", "$append", "model", "y" * 1100]))
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.just("$env"), inner, min_size=1, max_size=1),
    ),
    max_leaves=20,
)


def same(one: object, other: object) -> bool:
    """Say whether two JSON values are equal with their types, order of keys and signs of zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return one == other


@given(values)
@example({"a": "x\n\ny\n", "b": ["p\nq", {"k" * 1100: ["m\nn", {}]}], "": ""})
@example(["a\n", ["b\nc"], [[[]]], [{}], [{"a": [1]}]])
@example({"$append": ["x" * 90, "y"], "k": {"$env": "N", "default": {"a": []}}})
@settings(max_examples=300, deadline=None)
def test_a_written_value_reads_back_as_itself(value: Plain) -> None:
    written = write(value)
    assert same(to_plain(read_value(written, "written")), value)
    assert written.endswith("\n")


@given(values)
@settings(max_examples=300, deadline=None)
def test_stock_yaml_1_1_sees_the_same(value: Plain) -> None:
    written = write(value)
    assert same(yaml.safe_load(written), value)
    assert same(yaml.load(written, Loader=yaml.CSafeLoader), value)


@given(values)
@settings(max_examples=200, deadline=None)
def test_stock_yaml_1_2_sees_the_same(value: Plain) -> None:
    reader: Any = ruamel.yaml.YAML(typ="safe", pure=True)
    assert same(reader.load(io.StringIO(write(value))), value)


@given(values)
@settings(max_examples=150, deadline=None)
def test_writing_what_was_read_changes_no_byte(value: Plain) -> None:
    written = write(value)
    assert write(to_plain(read_value(written, "written"))) == written


@given(values)
@settings(max_examples=150, deadline=None)
def test_json_is_read_as_json_whatever_its_escapes(value: Plain) -> None:
    # YAML allows 1,024 characters before a key's colon; escapes make six of one.
    if max((len(json.dumps(key)) for key in all_keys(value)), default=0) > 1000:
        return
    assert same(to_plain(read_value(json.dumps(value), "j")), value)


def all_keys(value: Plain) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in all_keys(item))]
    if isinstance(value, list):
        return [key for item in value for key in all_keys(item)]
    return []


@given(texts)
@settings(max_examples=500, deadline=None)
def test_a_bare_text_is_itself_to_every_reader_in_every_position(text: str) -> None:
    if not is_plain_safe(text):
        return
    assert resolve(text) == text
    finders: list[tuple[str, Callable[[Any], object]]] = [
        (text, lambda found: found),
        (f"k: {text}", lambda found: found["k"]),
        (f"- {text}", lambda found: found[0]),
        (f"[{text}, {text}]", lambda found: found[1]),
        (f"{{k: {text}}}", lambda found: found["k"]),
        (f"{{{text}: 1}}", lambda found: next(iter(found))),
        (f"{text}: 1", lambda found: next(iter(found))),
    ]
    for document, find in finders:
        assert find(yaml.safe_load(document)) == text
        assert find(yaml.load(document, Loader=yaml.CSafeLoader)) == text


@given(st.dictionaries(keys, values, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_every_mark_leads_to_the_text_of_its_value(value: dict[str, Plain]) -> None:
    written = write(value)
    document = read_document(written, "written")
    lines = written.split("\n")

    def check(node: Node) -> None:
        mark = node.mark
        assert 1 <= mark.line <= len(lines)
        assert 1 <= mark.column <= mark.end <= len(lines[mark.line - 1]) + 1
        if isinstance(node, Map):
            for key, item in node:
                place = node.keys[key]
                shown = lines[place.line - 1][place.column - 1 : place.end - 1]
                assert yaml.safe_load(shown) == key or len(key) > 1000
                check(item)
        elif isinstance(node, Seq):
            for item in node.items:
                check(item)

    check(document.root)
