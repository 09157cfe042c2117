"""What is written looks like what a person would write, and never says something else."""

from __future__ import annotations

from typing import Any

import pytest

from lmconf.document import write
from lmconf.document.yaml.limits import DEPTH, NODES
from lmconf.errors import UsageError


def test_a_profile_is_written_in_block_style_with_short_things_on_one_line() -> None:
    value: Any = {
        "lmconf": 1,
        "lms": {
            "gpt": {
                "model": "openai/gpt-4o-mini",
                "api_key": {"$env": "OPENAI_API_KEY"},
                "temperature": 0.0,
                "stop": ["END", "no", "a, b"],
                "headers": {"X-Team": {"$env": "TEAM", "format": "team {}"}},
                "callbacks": {"$append": ["meter"]},
                "fallbacks": [{"model": "a/b"}, ["x", ["y"]]],
                "cache": {},
                "tags": [],
                "seed": None,
                "on": True,
            }
        },
    }
    assert write(value) == (
        "lmconf: 1\n"
        "lms:\n"
        "  gpt:\n"
        "    model: openai/gpt-4o-mini\n"
        "    api_key: {$env: OPENAI_API_KEY}\n"
        "    temperature: 0.0\n"
        '    stop: [END, "no", "a, b"]\n'
        "    headers:\n"
        '      X-Team: {$env: TEAM, format: "team {}"}\n'
        "    callbacks: {$append: [meter]}\n"
        "    fallbacks:\n"
        "      - model: a/b\n"
        "      - - x\n"
        '        - ["y"]\n'
        "    cache: {}\n"
        "    tags: []\n"
        "    seed: null\n"
        '    "on": true\n'
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\nb", "k: |-\n  a\n  b\n"),
        ("a\nb\n", "k: |\n  a\n  b\n"),
        ("a\n\n  b", 'k: "a\\n\\n  b"\n'),
        ("a\n\nb\n", "k: |\n  a\n\n  b\n"),
        ("a\nb\n\n", 'k: "a\\nb\\n\\n"\n'),
        (" a\nb", 'k: " a\\nb"\n'),
        ("a \nb", 'k: "a \\nb"\n'),
        ("a\n\tb", 'k: "a\\n\\tb"\n'),
        ("a\r\nb", 'k: "a\\r\\nb"\n'),
        ("a\x85\nb", 'k: "a\\x85\\nb"\n'),
        ("\n", 'k: "\\n"\n'),
        ("größe 日本 😀", "k: größe 日本 😀\n"),
        ("\x85\u2028\ufeff\U0010ffff", 'k: "\\x85\\u2028\\ufeff\\U0010ffff"\n'),
        ('say "hi"', "k: 'say \"hi\"'\n"),
        ("""it's "x\"""", "k: 'it''s \"x\"'\n"),
        ("{{ vars['x'] }}", "k: \"{{ vars['x'] }}\"\n"),
        ("", 'k: ""\n'),
        ("# no", 'k: "# no"\n'),
    ],
)
def test_texts_are_quoted_where_they_must_be_and_blocks_where_they_can(
    text: str, written: str
) -> None:
    assert write({"k": text}) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1e-5, "1.0e-5"),
        (1e16, "1.0e+16"),
        (1.5e300, "1.5e+300"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (1, "1"),
        (True, "true"),
        (None, "null"),
        (2**63 - 1, "9223372036854775807"),
        (5e-324, "5.0e-324"),
    ],
)
def test_numbers_are_short_and_keep_their_type(value: Any, written: str) -> None:
    assert write(value) == written + "\n"


def test_what_does_not_fit_one_line_stands_on_several() -> None:
    assert write({"k": ["x" * 40, "y" * 52]}) == f"k: [{'x' * 40}, {'y' * 52}]\n"
    assert write({"k": ["x" * 40, "y" * 60]}) == f"k:\n  - {'x' * 40}\n  - {'y' * 60}\n"
    assert write({"$env": "x" * 100}) == f"$env: {'x' * 100}\n"
    assert all(len(line) <= 100 for line in write({"k": ["word"] * 50}).splitlines())


def test_a_key_too_long_for_one_line_is_written_with_a_question_mark() -> None:
    key = "k" * 1100
    assert write({key: {"a": 1}, "b": 2}) == f"? {key}\n:\n  a: 1\nb: 2\n"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**63,
        -(2**63) - 1,
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {None: 1},
        {"a": {1, 2}},
        b"bytes",
        object(),
        [0] * NODES,
        "x" * (2 * 1024 * 1024),
    ],
)
def test_what_a_document_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(UsageError):
        write(value)


def test_more_depth_than_reading_accepts_is_refused() -> None:
    value: Any = []
    for _ in range(DEPTH - 1):
        value = [value]
    write(value)
    with pytest.raises(UsageError, match="64"):
        write([value])
    loop: Any = []
    loop.append(loop)
    with pytest.raises(UsageError, match="64"):
        write(loop)
