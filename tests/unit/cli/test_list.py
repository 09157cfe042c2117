"""`lmconf list`: every profile, where it is, what shadows it, and what is wrong with it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.unit.cli.running import Lmconf


@pytest.fixture
def shadows(project: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Profiles of one name in the project, the user's folder and LMCONF_PATH."""
    user = machine / ".config/lmconf/profiles"
    path = machine / "first"
    for folder in (user, path):
        folder.mkdir(parents=True)
    (user / "support.yaml").write_text("model: openai/gpt-4o\n")
    (path / "extra.yaml").write_text("model: openai/gpt-4o-mini\n")
    (project / "profiles/broken.yaml").write_text("temprature: 1\nmodel: 3\n")
    (project / "profiles/base.yaml").write_text("defaults: {temperature: 1}\n")
    monkeypatch.setenv("LMCONF_PATH", str(path))
    return user


def test_the_list_tells_place_lms_shadows_and_mistakes(shadows: Path, lmconf: Lmconf) -> None:
    ran = lmconf("list")
    assert ran.code == 0
    own = "".join(itertools.takewhile(lambda line: "shipped" not in line, ran.out.splitlines(True)))
    assert own == (
        "extra              LMCONF_PATH  ~/first/extra.yaml\n"
        "                   openai/gpt-4o-mini\n"
        "base               project      profiles/base.yaml\n"
        "    no LMs: other profiles extend it\n"
        "broken             project      profiles/broken.yaml\n"
        "    broken: profiles/broken.yaml:1:1: unknown key `temprature`"
        " (and 1 more: `lmconf validate profiles/broken.yaml`)\n"
        "support            project      profiles/support.yaml\n"
        "  * gpt            openai/gpt-4o-mini\n"
        "    think          openai/o3-mini\n"
        "    claude         anthropic/claude-3-opus-20240229\n"
        "    grader         anthropic/claude-3-opus-20240229\n"
        "support            user         ~/.config/lmconf/profiles/support.yaml\n"
        "    shadowed by profiles/support.yaml\n"
        "                   openai/gpt-4o\n"
    )


def test_json_tells_the_same(shadows: Path, lmconf: Lmconf, project: Path) -> None:
    found = {(row["name"], row["place"]): row for row in lmconf("list", "--format", "json").json}
    nearest, far = found["support", "project"], found["support", "user"]
    assert nearest["main"] == "gpt"
    assert nearest["lms"]["think"] == "openai/o3-mini"
    assert nearest["shadowed_by"] is None
    assert far["shadowed_by"] == nearest["path"] == str(project / "profiles/support.yaml")
    broken = found["broken", "project"]
    assert not broken["valid"]
    assert [told["line"] for told in broken["diagnostics"]] == [1, 2]


def test_a_name_with_the_name_of_an_lm_alone_is_told_its_profile(lmconf: Lmconf) -> None:
    ran = lmconf("show", "claude")
    assert ran.code == 1
    assert "`support:claude`" in ran.err


@pytest.mark.parametrize(
    ("name", "near"),
    [("suport", "`support`"), ("support:cloude", "`support:claude`"), ("./profiles", "folder")],
)
def test_a_wrong_name_is_told_with_a_near_one(lmconf: Lmconf, name: str, near: str) -> None:
    ran = lmconf("show", name)
    assert (ran.code, ran.out) == (1, "")
    assert near in ran.err
