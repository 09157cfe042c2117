"""Users' own regular expressions are bounded in time and memory, whatever they say."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.callbacks.record_redaction import Redaction
from lmconf.errors import ProfileError, UsageError
from lmconf.schema.user_patterns import OutOfTime, Stopwatch, UserPattern, why_no_pattern
from lmconf.secrets.masks import MASK
from lmconf.spec.response_format import FormatMismatch, reader_for

ENDLESS = [
    r"(a+)+$",
    r"(a|a)+$",
    r"(a|aa)+$",
    r"(\w+\s?)+$",
    r"(.*a){20}$",
    r"(x+x+)+y",
    r"((ab)+)+$",
    r"(a+)+\1$",
    r"((a*)*)*$",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(é+)+$",
]
LARGE = [
    r"((a{1000}){1000}){1000}",
    r"(?:(?:a{0,50}){0,50}){0,50}$",
    r"[^]]{30000}",
    r"(?:a?){100000}b",
    "a" * 5000,
]
USUAL = [
    r"\b\d{16}\b",
    r"(?:[a-z0-9-]+\.)+[a-z]+",
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"(?i)bearer\s+\S+",
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b",
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    r"sk-[A-Za-z0-9_-]{8,}",
    r"(?<=password: )\S+",
    r"\{\{.*?\}\}",
]
QUADRATIC = r"\w+[@#]\w+"


@pytest.mark.parametrize("pattern", ENDLESS)
def test_a_pattern_without_end_is_refused_where_it_stands(pattern: str, tmp_path: Path) -> None:
    begun = time.process_time()
    assert "takes too long" in str(why_no_pattern(pattern))
    block = {"use": "jsonl", "path": str(tmp_path / "x"), "redact": [f"/{pattern}/"]}
    for document in (
        {"model": "openai/tiny", "callbacks": [block]},
        {"callbacks": {"a": block}, "lms": {"a": {"model": "openai/tiny", "callbacks": "a"}}},
    ):
        with pytest.raises(ProfileError) as refused:
            lmconf.load(document)
        assert {each.code for each in refused.value.diagnostics} == {"bad-redaction"}
    with pytest.raises(UsageError, match="takes too long"):
        Redaction([f"/{pattern}/"])
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("pattern", LARGE)
def test_a_pattern_that_would_take_all_memory_is_refused(pattern: str) -> None:
    begun = time.process_time()
    assert why_no_pattern(pattern) is not None
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("pattern", [r"(?R)", r"(?:a){e}", r"(", r"a{2}{x", r"*"])
def test_what_python_does_not_read_so_is_refused(pattern: str) -> None:
    assert why_no_pattern(pattern) is not None


@pytest.mark.parametrize("pattern", USUAL)
def test_usual_patterns_are_taken(pattern: str) -> None:
    assert why_no_pattern(pattern) is None


def test_a_text_that_takes_too_long_is_hidden_whole() -> None:
    """Where a pattern's time grows with the square of a text's length, some text is too long."""
    record: dict[str, Any] = {
        "id": "abc",
        "request": {"prompt": "a@b " * 3, "long": "a" * 3_000_000, "rest": ["mail a@b", 5]},
        "usage": {"tokens": 7},
    }
    begun = time.process_time()
    found = Redaction([f"/{QUADRATIC}/"]).of(record)
    assert time.process_time() - begun < 5
    assert isinstance(found, dict)
    assert found["id"] == "abc"
    assert found["request"]["prompt"] == f"{MASK} " * 3
    assert found["request"]["long"] == MASK
    assert "a@b" not in str(found)


def test_matches_are_replaced_by_plain_text() -> None:
    watch = Stopwatch(1)
    assert UserPattern("b+").replace("abba", r"\1", watch) == r"a\1a"
    with pytest.raises(OutOfTime):
        UserPattern("b").replace("abba", "", Stopwatch(0))
    with pytest.raises(OutOfTime):
        UserPattern("b").found_in("abba", Stopwatch(0))


# Forms of answers hold patterns, too


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "(a+)+$"},
        {"patternProperties": {"(a+)+$": {}}},
        {"properties": {"a": {"items": {"anyOf": [{"pattern": "(a|a)+$"}]}}}},
        {"patternProperties": {"(a|a)+$": {}}, "additionalProperties": False},
    ],
)
def test_a_schema_with_a_pattern_without_end_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="takes too long"):
        reader_for(form(schema))


def test_an_answer_that_takes_too_long_to_check_does_not_fit() -> None:
    read = reader_for(form({"type": "string", "pattern": QUADRATIC}))
    assert read is not None
    assert read('"a@b"') == "a@b"
    begun = time.process_time()
    with pytest.raises(FormatMismatch, match="in time"):
        read('"' + "a" * 3_000_000 + '"')
    assert time.process_time() - begun < 10


def test_patterns_of_a_schema_mean_what_they_say() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"pattern": "^x"}},
        "patternProperties": {"^n_": {"type": "integer"}},
        "additionalProperties": False,
    }
    read = reader_for(form(schema))
    assert read is not None
    assert read('{"a": "xy", "n_b": 5}') == {"a": "xy", "n_b": 5}
    for text in ('{"a": "yx"}', '{"n_b": "5"}', '{"other": 5}'):
        with pytest.raises(FormatMismatch):
            read(text)
    read = reader_for(form({"additionalProperties": {"type": "integer"}}))
    assert read is not None
    assert read('{"b": 5}') == {"b": 5}
    with pytest.raises(FormatMismatch, match=r"\$\.b"):
        read('{"b": "5"}')
