"""Diagnostics are told with their place, for people and for programs, and never with a secret."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf.diagnostics.model import Diagnostic, Mark, Note, Source
from lmconf.diagnostics.render import to_json, to_text
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import ProfileError
from lmconf.secrets.redaction import (
    find_named_secrets,
    find_possible_secrets,
    mask_key_shapes,
    unended_span,
)

TEXT = "lms:\n  support:\n    model: x\n    temprature: 0.2\n"
SOURCE = Source(name="profiles/support.yaml", text=TEXT)


def unknown_key(mark: Mark | None, **more: object) -> Diagnostic:
    return Diagnostic(code="unknown-key", message="unknown key", mark=mark, **more)  # type: ignore[arg-type]


def at(text: str, word: str, **more: object) -> Mark:
    """Return the mark of the first `word` in `text`, which has one line."""
    source = Source(name="f.yaml", text=text, **more)  # type: ignore[arg-type]
    column = text.index(word) + 1
    return Mark(source, 1, column, column + len(word))


def caret_line(diagnostic: Diagnostic) -> tuple[str, str]:
    """Return the source line and the line with the caret, without the gutter."""
    lines = to_text([diagnostic]).split("\n")
    return lines[3].removeprefix(" 1 | "), lines[4].removeprefix("   | ")


def test_a_diagnostic_is_told_like_a_compiler_does() -> None:
    diagnostic = Diagnostic(
        code="unknown-key",
        message="unknown key `temprature` in an LM",
        mark=Mark(SOURCE, 4, 5, 15),
        path=("lms", "support", "temprature"),
        label="did you mean `temperature`?",
        help="one of: model, temperature\nor put it under `extra`",
    )
    expected = """\
error[unknown-key]: unknown key `temprature` in an LM
  --> profiles/support.yaml:4:5
   |
 4 |     temprature: 0.2
   |     ^^^^^^^^^^ did you mean `temperature`?
   |
   = help: one of: model, temperature
           or put it under `extra`

1 error"""
    assert to_text([diagnostic]) == expected
    assert str(ProfileError([diagnostic])) == expected


def test_notes_and_the_way_to_the_file_show_their_own_lines() -> None:
    child = Source(name="child.yaml", text="\n" * 11 + "extends: base\n")
    base = Source(name="base.yaml", text="a: 1\na: 2\n", reached=Mark(child, 12, 10, 14))
    diagnostic = Diagnostic(
        code="duplicate-key",
        message="the key `a` occurs a second time",
        mark=Mark(base, 2, 1, 2),
        notes=(Note("first given here", Mark(base, 1, 1, 2)), Note("keys are unique")),
        severity="warning",
    )
    assert (
        to_text([diagnostic])
        == """\
warning[duplicate-key]: the key `a` occurs a second time
   --> base.yaml:2:1
    |
  2 | a: 2
    | ^
    |
   --> base.yaml:1:1
    |
  1 | a: 1
    | - first given here
    |
   --> child.yaml:12:10
    |
 12 | extends: base
    |          ---- reached through `extends` here
    |
    = note: keys are unique

1 warning"""
    )
    (told,) = to_json([diagnostic])
    assert told["reached"] == [{"file": "child.yaml", "line": 12, "column": 10, "end_column": 14}]


def test_a_circle_of_extends_ends() -> None:
    a = Source(name="a", text="extends: b")
    b = Source(name="b", text="extends: a", reached=Mark(a, 1, 10, 11))
    loop = Source(name="a", text="extends: b", reached=Mark(b, 1, 10, 11))
    again = Source(name="b", text="extends: a", reached=Mark(loop, 1, 10, 11))
    assert to_text([unknown_key(Mark(again, 1, 1, 8))]).count("reached through") == 2


def test_diagnostics_stand_in_order_of_place_once_each_with_a_count() -> None:
    other = Source(name="a.yaml", text="x: 1\n")
    found = [
        unknown_key(Mark(SOURCE, 4, 5, 15)),
        unknown_key(Mark(SOURCE, 3, 5, 10), severity="warning"),
        unknown_key(None, path=("z",)),
        unknown_key(Mark(other, 1, 1, 2)),
        unknown_key(Mark(SOURCE, 4, 5, 15), path=("by", "alias")),
    ]
    told = to_json(found)
    assert [(d["file"], d["line"]) for d in told] == [
        ("a.yaml", 1),
        ("profiles/support.yaml", 3),
        ("profiles/support.yaml", 4),
        (None, None),
    ]
    assert to_text(found).endswith("\n\n3 errors, 1 warning")
    assert to_text([]) == ""


def test_values_without_text_are_told_by_their_path() -> None:
    mark = Mark(Source(name="<mapping>"))
    found = [
        unknown_key(mark, path=("lms", "gpt", "callbacks", 0, "a b"), help="remove it"),
        unknown_key(mark, path=("lms", "b")),
    ]
    assert (
        to_text(found)
        == """\
error[unknown-key]: unknown key
 --> <mapping>: lms.gpt.callbacks[0]."a b"
  = help: remove it

error[unknown-key]: unknown key
 --> <mapping>: lms.b

2 errors""".replace(" -->", "  -->").replace("  = ", "   = ")
    )


def test_json_has_every_field_and_is_json() -> None:
    note = Note("there", Mark(SOURCE, 1, 1, 4))
    told = to_json([unknown_key(Mark(SOURCE, 4, 5, 15), path=("lms", 0), notes=(note,))])
    assert json.loads(json.dumps(told)) == [
        {
            "code": "unknown-key",
            "severity": "error",
            "message": "unknown key",
            "file": "profiles/support.yaml",
            "line": 4,
            "column": 5,
            "end_column": 15,
            "path": ["lms", 0],
            "label": "",
            "help": "",
            "notes": [
                {
                    "message": "there",
                    "file": "profiles/support.yaml",
                    "line": 1,
                    "column": 1,
                    "end_column": 4,
                }
            ],
            "reached": [],
        }
    ]


def test_colour_adds_escapes_and_nothing_else() -> None:
    found = [unknown_key(Mark(SOURCE, 4, 5, 15), help="x", label="y")]
    colored = to_text(found, color=True)
    assert "\x1b[1;31merror[unknown-key]\x1b[0m" in colored
    plain = colored
    for code in ("\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == to_text(found)


# --- the caret


@pytest.mark.parametrize(
    ("text", "word", "line", "caret"),
    [
        ("a: bad", "bad", "a: bad", "   ^^^"),
        ("\ta: bad", "bad", "    a: bad", "       ^^^"),
        ("日本: bad", "bad", "日本: bad", "      ^^^"),
        ("k: 日本 # c", "日本", "k: 日本 # c", "   ^^^^"),
        ("e\u0301e\u0301: bad", "bad", "e\u0301e\u0301: bad", "    ^^^"),
        ("\x1b[31m: bad", "bad", "\\x1b[31m: bad", "          ^^^"),
        ("\u202e: bad", "bad", "\\u202e: bad", "        ^^^"),
        ("\ud800: bad", "bad", "\\ud800: bad", "        ^^^"),
        ("a\x85: bad", "bad", "a\\x85: bad", "       ^^^"),
    ],
)
def test_the_caret_stands_under_what_it_means(text: str, word: str, line: str, caret: str) -> None:
    assert caret_line(unknown_key(at(text, word))) == (line, caret)


def test_long_lines_are_cut_around_the_caret() -> None:
    for before, after in ((500, 500), (0, 500), (500, 0), (3000, 10)):
        line, caret = caret_line(unknown_key(at("x" * before + "BAD" + "y" * after, "BAD")))
        assert len(line) <= 122
        start = caret.index("^")
        assert line[start : start + caret.count("^")] == "BAD"
        assert line.startswith("…") == (before > 0)
        assert line.endswith("…") == (after > 10)


def test_a_mark_longer_than_the_window_is_cut_too() -> None:
    line, caret = caret_line(unknown_key(at("a: " + "日" * 500, "日" * 500)))
    assert len(caret) <= 122
    assert line.endswith("…")


@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_any_mark_in_any_line_can_be_told(text: str, start: int, length: int) -> None:
    source = Source(name="f", text=text)
    told = to_text([unknown_key(Mark(source, 1, start + 1, start + 1 + length))])
    assert all(c.isprintable() or c == "\n" or ord(c) >= 0xA0 for c in told)
    assert "^" in told


WORDS = st.sampled_from(
    [
        *'api_key x-token 9password -secret a . - _ 1 : = " \' null "" { } , # eyJabc'.split(),
        *[" ", "\u2028", "\x85", "token: ", "key: "],
    ]
)


@given(st.lists(WORDS, max_size=14).map("".join))
def test_the_first_value_after_a_secret_name_is_found_alike_by_both_ways(text: str) -> None:
    spans = find_named_secrets(text)
    found = unended_span(text, {})
    assert (found and found[0]) == (spans[0][0] if spans else None)


def test_values_whose_ends_are_known_are_passed_over() -> None:
    text = "{api_key: abcdefgh, x: 1, token: 123}"
    first, second = text.index("abc"), text.index("123")
    assert unended_span(text, {}) == (first, len(text))
    assert unended_span(text, {first: first + 8}) == (second, len(text))
    assert unended_span(text, {first: first + 8, second: second + 3}) is None


def test_a_mark_beyond_the_text_can_be_told() -> None:
    assert "^" in to_text([unknown_key(Mark(Source(name="f", text="a"), 9, 9, 12))])


# --- secrets


def test_hidden_spans_are_masked_and_the_caret_follows() -> None:
    text = "{api_key: hunter22, x: bad}"
    start = text.index("hunter22")
    hidden = ((start, start + 8),)
    line, caret = caret_line(unknown_key(at(text, "bad", hidden=hidden)))
    assert (line, caret) == ("{api_key: ***, x: bad}", "                  ^^^")
    # Where nobody says where the secret ends, nothing after its name is trusted.
    line, caret = caret_line(unknown_key(at(text, "bad")))
    assert (line, caret) == ("{api_key: ***", "             ^")
    line, caret = caret_line(unknown_key(at("{plain: hunter22, x: bad}", "bad", hidden=((8, 16),))))
    assert (line, caret) == ("{plain: ***, x: bad}", "                ^^^")
    line, caret = caret_line(unknown_key(at("{plain: hunter22}", "hunter22", hidden=((8, 16),))))
    assert (line, caret) == ("{plain: ***}", "        ^^^")


def test_a_hidden_span_over_several_lines_hides_each() -> None:
    source = Source(name="f", text="key: |\n  one\n  two\nx: 1\n", hidden=((5, 19),))
    for line in (1, 2, 3):
        told = to_text([unknown_key(Mark(source, line, 1, 2))])
        assert "one" not in told
        assert "two" not in told
    assert "x: 1" in to_text([unknown_key(Mark(source, 4, 1, 2))])


KEYS = [
    "sk-abcdefgh12345678",
    "sk-ant-api03-abcdefgh",
    "ghp_abcdefghijklmnop1234",
    "github_pat_abcdefghijklmnop_1234",
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-1234567890-abc",
    "hf_abcdefghijklmnopqrstuv",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz12345",
    "dapi0123456789abcdef0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
    "Bearer abcdefgh1234",
    "https://user:hunter22@example.com",
]


@pytest.mark.parametrize("key", KEYS)
def test_what_looks_like_a_key_is_masked_wherever_it_stands(key: str) -> None:
    secret = key.removeprefix("Bearer ").replace("https://user:", "").replace("@example.com", "")
    diagnostic = Diagnostic(
        code="c",
        message=f"m {key}",
        mark=at(f"a: {key} # x", "a"),
        path=("a", key),
        label=f"l {key}",
        help=f"h {key}",
        notes=(Note(f"n {key}"),),
    )
    assert secret not in to_text([diagnostic])
    assert secret not in json.dumps(to_json([diagnostic]))
    pathless = Diagnostic(code="c", message="m", mark=Mark(Source(name=key)), path=(key,))
    assert secret not in to_text([pathless])


@pytest.mark.parametrize(
    "text",
    ["risk-adjusted-returns", "Bearer {}", "http://host:8080/a@b", "task-oriented", "gpt-4o-mini"],
)
def test_ordinary_words_are_not_masked(text: str) -> None:
    assert mask_key_shapes(text) == text


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("api_key: abc def", "api_key: "),
        ("lms.gpt.api_key=abc", "lms.gpt.api_key="),
        ('  "clientSecret" : "abc"', '  "clientSecret" : '),
        ("x: 1 # password: abc", "x: 1 # password: "),
        ("max_tokens: 5", None),
        ("api_key: {$env: X}", None),
        ('api_key: ""', None),
        ("api_key: # later", None),
        ("token: null", None),
    ],
)
def test_a_value_after_a_secret_name_is_found(text: str, rest: str | None) -> None:
    spans = find_named_secrets(text)
    assert spans == ([] if rest is None else [(len(rest), len(text))])


def test_in_a_text_that_cannot_be_parsed_deeper_lines_are_hidden_too() -> None:
    text = "private_key: |\n  one\n\n  two\nmodel: x\ntoken: {a: three}\nauth:\n  $env: NAME\n"
    shown = text
    for start, end in sorted(find_possible_secrets(text), reverse=True):
        shown = shown[:start] + "*" + shown[end:]
    assert shown == "private_key: *\n  *\n\n  *\nmodel: x\ntoken: *\nauth:\n  $env: NAME\n"


# --- spelling

FIELDS = "model temperature max_tokens top_p stop api_key api_base cache callbacks n seed".split()


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        ("max-tokens", "max_tokens"),
        ("maxtokens", "max_tokens"),
        ("top_k", "top_p"),
        ("tpo_p", "top_p"),
        ("modle", "model"),
        ("temp", "temperature"),
        ("tokens", "max_tokens"),
        ("apikey", "api_key"),
        ("callback", "callbacks"),
        ("sto", "stop"),
        ("x", None),
        ("", None),
        ("zzz", None),
        ("api", None),
        ("frequency_penalty", None),
        ("y" * 100_000, None),
    ],
)
def test_the_word_that_was_meant_is_found_or_none(word: str, meant: str | None) -> None:
    assert did_you_mean(word, FIELDS) == meant
