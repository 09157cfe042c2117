"""What hides secrets by their looks is quick on any text, and finds them wherever they stand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import lmconf
from lmconf.errors import ProfileError
from lmconf.secrets import redaction
from lmconf.secrets.masks import MASK

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w"  # its key is "secret"

UNITS = [
    *(
        "a",
        "1",
        "a1_",
        "-",
        ".",
        "_",
        " ",
        " \t",
        "é",
        "eyJ-",
        "eyJ",
        "eyJaaaaaaaa.",
        "key ",
        "key: ",
    ),
    *("bearer ", "Bearer\t", "://a:", "a:b@", "gsk-", "-----BEGIN ", "'a' ", "a: ", "=a", "sk-"),
    *("AKIA ", "a9", "ya29.", "hf_", "a-", "a.", "key1", "_1"),
]
FUNCTIONS: list[Callable[[str], object]] = [
    redaction.find_key_shapes,
    redaction.find_named_secrets,
    redaction.find_possible_secrets,
    lambda text: redaction.blank_spans(text, []),
    redaction.mask_key_shapes,
    lambda text: redaction.mask_secrets(text, ["a-secret"]),
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_long_line_is_searched_in_time_that_grows_with_its_length(unit: str) -> None:
    """Were it with the square of that, each of these would take minutes."""
    text = (unit * 300_000)[:300_000]
    begun = time.process_time()
    for function in FUNCTIONS:
        function(text)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("unit", ["a", "eyJ-", "key ", "a1_"])
def test_a_mistake_beside_a_long_line_is_told_at_once(unit: str) -> None:
    line = (unit * 200_000)[:200_000]
    begun = time.process_time()
    with pytest.raises(ProfileError, match="unknown-key"):
        lmconf.load({"model": "openai/tiny", "temprature": 1, "stop": [line]})
    assert time.process_time() - begun < 5


def test_a_mistake_on_a_long_line_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"model: openai/tiny\nextra: {{a: {'a' * 200_000}, b: 1, b: 2}}\n")
    begun = time.process_time()
    with pytest.raises(ProfileError, match="duplicate"):
        lmconf.load(path)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"x-{TOKEN}",
        f"jwt_{TOKEN}",
        f"0123456789ab.{TOKEN}",
        f"a={TOKEN};",
        f"({TOKEN})",
        f"eyJ {TOKEN}",
        f"{TOKEN} {TOKEN}",
    ],
)
def test_a_token_is_hidden_wherever_it_stands(text: str) -> None:
    shown = redaction.mask_key_shapes(text)
    assert MASK in shown
    assert "dozjg" not in shown
    assert "eyJhb" not in shown


@pytest.mark.parametrize("text", ["eyJabc.def.ghi", "reyJhbGciOiJI.eyJzdWIiOiIx.dozjgNry", "eyJ"])
def test_what_is_no_token_is_shown(text: str) -> None:
    assert redaction.mask_key_shapes(text) == text


@pytest.mark.parametrize(
    "name", ["api_key", "9api_key", "x.api_key", "-api_key", "X-Api-Key", "_api_key", "a1api_key"]
)
def test_what_follows_a_secrets_name_is_hidden(name: str) -> None:
    line = f"{name}: the-value"
    spans = redaction.find_named_secrets(line)
    expected = [] if name == "a1api_key" else [(len(name) + 2, len(line))]
    assert spans == expected
