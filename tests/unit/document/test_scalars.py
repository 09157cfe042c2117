"""Unquoted scalars mean what YAML 1.2's core schema says, for reading and writing alike."""

from __future__ import annotations

import pytest

from lmconf.document.yaml.scalars import LARGEST, SMALLEST, InvalidNumber, is_plain_safe, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, None) for text in ("", "~", "null", "Null", "NULL")],
        *[(text, True) for text in ("true", "True", "TRUE")],
        *[(text, False) for text in ("false", "False", "FALSE")],
        ("0", 0),
        ("017", 17),
        ("+5", 5),
        ("-5", -5),
        ("0o17", 15),
        ("0x1F", 31),
        ("9223372036854775807", LARGEST),
        ("-9223372036854775808", SMALLEST),
        ("0" * 900 + "7", 7),
        ("1e3", 1000.0),
        ("1e-3", 0.001),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.0", -0.0),
        ("+1.5", 1.5),
    ],
)
def test_core_words_and_numbers_have_their_type(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    "off on yes no y n Off nUll tRue 12:30 1:59:59 2024-10-21 1_000 0b1 0o8 0xg -0x1F +0o7 1e 1.2.3 "
    ". .. + - = << .e3 1e+ inf nan infinity 7d ٣ 0O17 0X1F".split(),
)
def test_everything_else_is_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN", ".inf", "-.Inf", "+.INF"])
def test_nan_and_infinities_are_refused(text: str) -> None:
    with pytest.raises(InvalidNumber) as caught:
        resolve(text)
    assert caught.value.code == "not-a-number"


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "0xFFFFFFFFFFFFFFFFF",
        "9" * 100_000,
        "1e309",
        "-1e999999999999",
        "1." + "0" * 100_000,
    ],
)
def test_numbers_out_of_range_are_refused_at_once(text: str) -> None:
    with pytest.raises(InvalidNumber) as caught:
        resolve(text)
    assert caught.value.code == "number-out-of-range"
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "openai/gpt-4o-mini",
        "http://localhost:11434",
        "~/.cache/lmconf",
        "./base",
        "7d",
        "500ms",
        "2GiB",
        "a b",
        "don't",
        "$env",
        "größe",
        "日本",
        "e5",
        "_azure",
    ],
)
def test_ordinary_texts_may_stand_bare(text: str) -> None:
    assert is_plain_safe(text)


@pytest.mark.parametrize(
    "text",
    [
        *"off On YES n Y true ~ null = << 1 017 0o17 1_000 1e3 1e-3 .5 5. 12:30 2024-10-21".split(),
        *"0b1 0x1F . .. ... --- .inf .NaN 1. -x ? a? %x @x `x & *x !x |x >x {{x}} [x] a,b #x".split(),
        *["", " a", "a ", "a: b", "a:", "a #b", "a\nb", "a\tb", "2001-1-1 1:1:1", '"', "'x'", "\\"],
        *["\x85", "a\u2028b", "a\xa0b", "\ufeffa", "\u202ea", "a\x7f", "\ud800", "\ue000"],
    ],
)
def test_what_some_reader_takes_for_something_else_may_not(text: str) -> None:
    assert not is_plain_safe(text)
