"""An LM is added to a profile's file by lines of text, and everything else stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmconf
from lmconf.loading.declaring import Undeclared, declare, inserted

PLAIN = """\
# My profile.   (kept)
lms:
  # the small one
  a: {model: openai/a}    # flow
  b:
    model: openai/b
    stop:
    - x
    # the end of b

# after
main: a
"""
NEW = lmconf.LM("openai/new", temperature=0.5, stop=["{{", "a: b"], extra={"k": "multi\nline"})


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "lmconf.yaml"
    path.write_text(PLAIN)
    return path


def test_the_entry_stands_at_the_end_of_lms_and_nothing_else_changes(profile: Path) -> None:
    declare(profile, "new", NEW)
    text = profile.read_text()
    head, tail = PLAIN.split("\n# after")
    assert text.startswith(head)
    assert text.endswith("\n# after" + tail)
    assert lmconf.load(profile)["new"] == NEW
    assert not list(profile.parent.glob(".*"))


@pytest.mark.parametrize(
    "text",
    [
        "lms:\n  a:\n    model: openai/a",
        "lms:\n    a:\n        model: openai/a\n\n\n",
        "lms:\r\n  a:\r\n    model: openai/a\r\nmain: a\r\n",
        "main: a\nlms:\n  a:\n    model: openai/a\n    extra:\n      text: |\n        one\n\n        two\n",
        "lms:\n  a: &x {model: openai/a}\n  b: *x\n",
        "lms:\n  a:\n    model: openai/a\n    stop: [\n      x,\n      y]\n# end\n",
        'lms:\n  a:\n    model: "openai/\n      a"\n',
        "vars: {m: a}\nlms:\n  _base: {seed: 1}\n  a: {extends: _base, model: 'openai/{{ vars.m }}'}\n",
        "---\nlms:\n  a:\n    model: openai/a\n...\n",
    ],
)
def test_ways_of_writing_profiles(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(text.encode())
    was = lmconf.load(path)
    declare(path, "new", NEW)
    now = lmconf.load(path)
    assert now["new"] == NEW
    assert all(now[name] == was[name] for name in was)
    kept = path.read_bytes().decode()
    assert all(line in kept for line in text.splitlines())
    assert ("\r\n" in text) == ("\r\n" in kept)
    if "\r\n" in text:
        assert "\n" not in kept.replace("\r\n", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("model: openai/a\n", "is a profile of one LM"),
        ("lms: {a: {model: openai/a}}\n", "do not stand on lines of their own"),
        ("{lms: {a: {model: openai/a}}}\n", "cannot be added to"),
        ("lms:\n  new: {model: openai/a}\n", "has an LM named 'new' already"),
        ("defaults: {seed: 7}\nlms:\n  a: {model: openai/a}\n", "`defaults` of the profile"),
        ("lms:\n  a: {model: nowhere/a}\n", "would not be valid"),
        ("lms:\n  a: [\n", "cannot be added to"),
    ],
)
def test_what_cannot_be_done_safely_is_refused_with_the_entry(
    text: str, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(Undeclared, match=why) as caught:
        declare(path, "new", NEW)
    assert caught.value.entry.startswith("new:\n")
    assert path.read_text() == text
    assert not list(tmp_path.glob(".*"))


def test_a_name_that_is_none_is_refused(profile: Path) -> None:
    with pytest.raises(Undeclared, match="is no name"):
        declare(profile, "a b", NEW)


@given(st.lists(st.sampled_from(["", "# c", "  # c", "    # deep", "  "]), max_size=4))
def test_every_line_of_before_is_there_in_its_order(between: list[str]) -> None:
    text = "\n".join(["lms:", "  a:", "    model: openai/a", *between, "main: a", ""])
    after = inserted(text, "new:\n  model: openai/b\n", Path("p.yaml"))
    rest = iter(after.splitlines())
    assert all(any(line == other for other in rest) for line in text.splitlines())
