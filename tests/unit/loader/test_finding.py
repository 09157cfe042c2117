"""What a profile's name means: the kinds of files, what shadows what, and project settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lmconf
from lmconf.diagnostics.model import Mark, Source
from lmconf.errors import ProfileError
from lmconf.loader.discovery import (
    default_profile,
    find_all,
    find_parent,
    find_profile,
    is_path,
    split_name,
    upwards,
)
from lmconf.loader.project import project_allow_imports
from lmconf.system.paths import shipped_folder

ONE = "model: openai/one\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, which is the working folder."""
    root = tmp_path / "repo"
    (root / ".git").mkdir(parents=True)
    monkeypatch.chdir(root)
    return root


def put(path: Path, text: str = ONE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def told(error: pytest.ExceptionInfo[ProfileError]) -> str:
    (only,) = error.value.diagnostics
    return f"{only.code}: {only.message} ({only.help})"


# --- names and paths ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["./a", "a/b", "a.yaml", "a.yml", "a.json", "~/a", "/a", "../a"])
def test_what_is_written_as_a_path_is_one(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize("text", ["a", "gpt-4.1", "a.b", "support:gpt"])
def test_everything_else_is_a_name(text: str) -> None:
    assert not is_path(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("support", ("support", None)),
        ("support:gpt", ("support", "gpt")),
        ("./a/b.yaml:gpt", ("./a/b.yaml", "gpt")),
        (":gpt", (":gpt", None)),
        ("support:", ("support:", None)),
        ("support:5", ("support:5", None)),
        ("a:b:c", ("a:b", "c")),
        ("C:\\profiles\\a.yaml", ("C:\\profiles\\a.yaml", None)),
    ],
)
def test_an_lm_is_named_after_the_last_colon(text: str, parts: tuple[str, str | None]) -> None:
    assert split_name(text) == parts


def test_a_path_is_taken_as_it_stands_whatever_else_has_its_name(project: Path) -> None:
    put(project / "profiles/a.yaml", "model: openai/named\n")
    put(project / "a.yaml", "model: openai/here\n")
    assert lmconf.load("a").lm.spec.model == "openai/named"
    assert lmconf.load("a.yaml").lm.spec.model == "openai/here"
    assert lmconf.load(Path("a.yaml")).lm.spec.model == "openai/here"


def test_a_path_may_begin_at_the_home_folder(machine: Path) -> None:
    put(machine / "mine/a.yaml")
    assert find_profile("~/mine/a.yaml", {}) == machine / "mine/a.yaml"


# --- the search ---------------------------------------------------------------------------------


def test_a_file_may_be_yaml_yml_or_json_and_the_first_of_these_is_meant(project: Path) -> None:
    folder = project / "profiles"
    put(folder / "a.json", '{"model": "openai/json"}')
    assert lmconf.load("a").lm.spec.model == "openai/json"
    put(folder / "a.yml", "model: openai/yml\n")
    assert lmconf.load("a").lm.spec.model == "openai/yml"
    put(folder / "a.yaml", "model: openai/yaml\n")
    assert lmconf.load("a").lm.spec.model == "openai/yaml"
    put(folder / "a.toml", "model = 'x'")
    listed = [found.path.name for found in find_all({}) if found.name == "a"]
    assert listed == ["a.yaml", "a.yml", "a.json"]


def test_a_name_means_the_first_of_those_that_are_listed(project: Path, tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    environment = {"LMCONF_PATH": os.pathsep.join(["", str(tmp_path / "none"), str(listed)])}
    for folder in (listed, project / "profiles", project / "below/profiles"):
        for name in ("lmconf.yaml", "openai.yaml", "demo.json", "both.yml", "both.json"):
            put(folder / name, '{"model": "openai/x"}')
    put(project / "lmconf.yaml")
    first: dict[str, Path] = {}
    for found in find_all(environment):
        first.setdefault(found.name, found.path)
    assert {"lmconf", "openai", "demo", "both", "anthropic"} <= {*first}
    for name, path in first.items():
        assert find_profile(name, environment) == path


def test_what_the_variable_lists_outranks_the_projects_own_lmconf_yaml(
    project: Path, tmp_path: Path
) -> None:
    own = put(project / "lmconf.yaml")
    assert find_profile("lmconf", {}) == own
    listed = put(tmp_path / "listed/lmconf.yaml")
    assert find_profile("lmconf", {"LMCONF_PATH": str(listed.parent)}) == listed


def test_each_folder_is_listed_once(project: Path) -> None:
    put(project / "profiles/a.yaml")
    found = find_all({"LMCONF_PATH": str(project / "profiles")})
    assert [(each.name, each.place) for each in found if each.name == "a"] == [("a", "LMCONF_PATH")]


def test_shipped_profiles_are_found_last(project: Path) -> None:
    assert find_profile("openai", {}) == shipped_folder("profiles") / "openai.yaml"
    own = put(project / "profiles/openai.yaml")
    assert find_profile("openai", {}) == own
    assert [found.place for found in find_all({}) if found.name == "openai"] == [
        "project",
        "shipped",
    ]


def test_the_working_folder_outranks_those_above_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = put(project / "lmconf.yaml")
    (project / "below/deeper").mkdir(parents=True)
    monkeypatch.chdir(project / "below/deeper")
    assert default_profile({}) == str(above)
    here = put(project / "below/lmconf.yaml")
    assert default_profile({}) == str(here)
    assert [found.path for found in find_all({}) if found.name == "lmconf"] == [here, above]


def test_outside_a_repository_only_the_working_folder_is_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "a/b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert [*upwards()] == [here]
    put(tmp_path / "a/lmconf.yaml")
    with pytest.raises(ProfileError) as caught:
        default_profile({})
    assert told(caught).startswith("no-profile")


def test_a_worktree_whose_git_is_a_file_is_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "tree/.git", "gitdir: elsewhere\n")
    (tmp_path / "tree/a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tree/a/b")
    assert [*upwards()][-1] == tmp_path / "tree"


def test_no_name_means_what_the_variable_names(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project / "lmconf.yaml", "model: openai/nearest\n")
    assert lmconf.load().lm.spec.model == "openai/nearest"
    put(project / "profiles/a.yaml", "model: openai/named\n")
    monkeypatch.setenv("LMCONF_PROFILE", "a")
    assert lmconf.load().lm.spec.model == "openai/named"
    monkeypatch.setenv("LMCONF_PROFILE", "./lmconf.yaml")
    assert lmconf.load().lm.spec.model == "openai/nearest"


def test_links_and_folders_that_lead_nowhere_are_passed_over(project: Path, tmp_path: Path) -> None:
    folder = project / "profiles"
    folder.mkdir()
    (folder / "dangling.yaml").symlink_to(tmp_path / "none.yaml")
    (folder / "circle.yaml").symlink_to(folder / "circle.yaml")
    (folder / "folder.yaml").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    environment = {"LMCONF_PATH": str(tmp_path / "circle")}
    assert [found for found in find_all(environment) if found.place == "project"] == []
    with pytest.raises(ProfileError) as caught:
        find_profile("dangling", environment)
    assert "no profile named `dangling`" in told(caught)


def test_a_name_that_is_not_found_says_where_it_was_looked_for(
    project: Path, tmp_path: Path
) -> None:
    with pytest.raises(ProfileError) as caught:
        find_profile("nothing-alike", {"LMCONF_PATH": str(tmp_path / "listed")})
    text = told(caught)
    places = [str(tmp_path / "listed"), "profiles", ".config/lmconf/profiles"]
    assert [text.find(place) for place in places] == sorted(text.find(place) for place in places)
    assert "lmconf list" in text


@pytest.mark.parametrize(
    "name", ["", ".", "a" * 5000, "./" + "a" * 5000, "a\0b", "./a\0b", "~nobody-of-this-name/a"]
)
def test_a_name_that_no_file_can_have_is_told_as_not_found(project: Path, name: str) -> None:
    with pytest.raises(ProfileError, match="no-profile"):
        lmconf.load(name)


def test_one_lm_is_not_a_profile(project: Path) -> None:
    put(project / "profiles/support.yaml")
    with pytest.raises(ProfileError) as caught:
        lmconf.load("support:gpt")
    assert "lmconf.lm('support:gpt')" in told(caught)


# --- parents ------------------------------------------------------------------------------------


def test_a_bare_parent_stands_beside_its_child_or_in_a_folder_of_the_project(
    project: Path, machine: Path
) -> None:
    child = put(project / "teams/one/child.yaml", "extends: base\n")
    put(machine / ".config/lmconf/profiles/base.yaml")
    mark = Mark(Source("child.yaml"))
    with pytest.raises(ProfileError):
        find_parent("base", child, mark)
    with pytest.raises(ProfileError):
        find_parent("openai", child, mark)
    top = put(project / "profiles/base.yaml")
    assert find_parent("base", child, mark) == top
    nearer = put(project / "teams/profiles/base.yaml")
    assert find_parent("base", child, mark) == nearer
    beside = put(project / "teams/one/base.yml")
    assert find_parent("base", child, mark) == beside


def test_a_parent_of_a_linked_child_stands_beside_the_file_itself(
    project: Path, tmp_path: Path
) -> None:
    real = put(tmp_path / "real/child.yaml", "extends: base\nseed: 1\n")
    put(tmp_path / "real/base.yaml", "model: openai/real\n")
    put(project / "base.yaml", "model: openai/other\n")
    (project / "child.yaml").symlink_to(real)
    assert lmconf.load("./child.yaml").lm.spec.model == "openai/real"


# --- the project's settings ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '[tool.lmconf]\nallow-imports = ["acme.hooks"]\n',
        '[tool]\nlmconf = {allow-imports = ["acme.hooks"]}\n',
        '[ tool . "lmconf" ]\nallow-imports = ["acme.hooks"]\n',
        'tool.lmconf.allow-imports = ["acme.hooks"]\n',
    ],
)
def test_imports_are_allowed_however_the_table_is_spelt(project: Path, text: str) -> None:
    put(project / "pyproject.toml", text)
    assert project_allow_imports() == {"acme.hooks"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# see [tool.lmconf]\n[project]\nname = 'x'\n",
        "[project]\ndependencies = ['lmconf']\n",
        "[tool.lmconf]\n",
        "[tool.other]\nallow-imports = ['acme']\n",
    ],
)
def test_a_project_that_allows_nothing_is_read_as_that(project: Path, text: str) -> None:
    put(project / "pyproject.toml", text)
    assert project_allow_imports() == frozenset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.lmconf]\nallow_imports = ['a']\n", "did you mean `allow-imports`"),
        ("[tool.lmconf]\nallow-imports = 'a'\n", "must be a list of texts"),
        ("[tool.lmconf]\nallow-imports = [5]\n", "must be a list of texts"),
        ("[tool]\nlmconf = 5\n", "must be a table"),
        ("[tool.lmconf\n", "not valid TOML"),
    ],
)
def test_settings_that_make_no_sense_are_told(project: Path, text: str, said: str) -> None:
    put(project / "pyproject.toml", text)
    with pytest.raises(ProfileError, match="project-settings") as caught:
        lmconf.load({"model": "openai/x"})
    assert said in told(caught)


def test_settings_that_are_no_text_are_told(project: Path) -> None:
    (project / "pyproject.toml").write_bytes(b"[tool.lmconf]\n# \xff\n")
    with pytest.raises(ProfileError, match="cannot be read"):
        lmconf.load({"model": "openai/x"})


def test_only_the_nearest_pyproject_counts_and_none_above_the_repository(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project.parent / "pyproject.toml", '[tool.lmconf]\nallow-imports = ["above"]\n')
    assert project_allow_imports() == frozenset()
    put(project / "pyproject.toml", '[tool.lmconf]\nallow-imports = ["root"]\n')
    put(project / "part/pyproject.toml", "")
    monkeypatch.chdir(project / "part")
    assert project_allow_imports() == frozenset()
