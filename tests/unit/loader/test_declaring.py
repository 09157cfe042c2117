"""An LM is added to a profile's file by lines of text, and everything else stays as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmconf
from lmconf.loader import add_lm
from lmconf.loader.add_lm import CannotAddLM, add_to_profile, check_can_add, insert_entry
from lmconf.system.paths import shipped_folder

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
    add_to_profile(profile, "new", NEW)
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
    add_to_profile(path, "new", NEW)
    now = lmconf.load(path)
    assert now["new"] == NEW
    assert all(now[name] == was[name] for name in was)
    assert now.spec.main == was.spec.main
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
    with pytest.raises(CannotAddLM, match=why) as caught:
        add_to_profile(path, "new", NEW)
    assert caught.value.entry.startswith("new:\n")
    assert path.read_text() == text
    assert not list(tmp_path.glob(".*"))


def test_the_only_lm_stays_the_one_that_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("lms:\n  a:\n    model: openai/a\n# the end\n")
    add_to_profile(path, "main", NEW)
    assert path.read_text().endswith("\nmain: a\n# the end\n")
    assert lmconf.lm(str(path)).model == "openai/a"
    add_to_profile(path, "more", NEW)
    assert path.read_text().count("main: a") == 1


def test_where_no_lm_is_meant_none_becomes_it(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("lms:\n  a: {model: openai/a}\n  b: {model: openai/b}\n")
    with pytest.raises(CannotAddLM, match="another LM would be the profile's main one"):
        add_to_profile(path, "main", NEW)


def test_what_is_declared_already_is_not_declared_again(profile: Path) -> None:
    add_to_profile(profile, "new", NEW)
    text = profile.read_text()
    add_to_profile(profile, "new", NEW)
    assert profile.read_text() == text
    with pytest.raises(CannotAddLM, match="has an LM named 'new' already"):
        check_can_add(profile, "new", NEW)
    with pytest.raises(CannotAddLM, match="has an LM named 'new' already"):
        add_to_profile(profile, "new", lmconf.LM("openai/another"))


def test_what_is_not_to_be_written_to_is_not_replaced(profile: Path) -> None:
    profile.chmod(0o444)
    with pytest.raises(CannotAddLM, match="is read-only"):
        add_to_profile(profile, "new", NEW)
    with pytest.raises(CannotAddLM, match="is shipped with lmconf"):
        add_to_profile(next(shipped_folder("profiles").glob("*.yaml")), "new", NEW)
    assert profile.read_text() == PLAIN


def test_processes_that_declare_at_once_all_do(profile: Path) -> None:
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            add_to_profile(profile, f"new{number}", NEW)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert {f"new{number}" for number in range(4)} < set(lmconf.load(profile))


def test_what_an_editor_saves_meanwhile_is_not_lost(
    profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = add_lm._find_problem

    def slowly(*arguments: Any) -> str:
        if profile.read_text() == PLAIN:
            profile.write_text(PLAIN + "# saved meanwhile\n")
        return problem(*arguments)

    monkeypatch.setattr(add_lm, "_find_problem", slowly)
    add_to_profile(profile, "new", NEW)
    assert profile.read_text().endswith("# saved meanwhile\n")
    assert "new" in lmconf.load(profile)


def test_a_name_that_is_none_is_refused(profile: Path) -> None:
    with pytest.raises(CannotAddLM, match="is not a valid name"):
        add_to_profile(profile, "a b", NEW)


@given(st.lists(st.sampled_from(["", "# c", "  # c", "    # deep", "  "]), max_size=4))
def test_every_line_of_before_is_there_in_its_order(between: list[str]) -> None:
    text = "\n".join(["lms:", "  a:", "    model: openai/a", *between, "main: a", ""])
    after = insert_entry(text, "new:\n  model: openai/b\n", Path("p.yaml"))
    rest = iter(after.splitlines())
    assert all(any(line == other for other in rest) for line in text.splitlines())
