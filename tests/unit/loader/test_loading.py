"""Finding, gathering, reloading and remembering profiles, and writing them back to files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lmconf
from lmconf.errors import ProfileError, UsageError
from lmconf.loader.discovery import default_profile, find_all, find_profile

FLAT = "model: openai/{}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a folder in it, which is the working folder."""
    root = tmp_path / "repo"
    (root / ".git").mkdir(parents=True)
    (root / "profiles").mkdir()
    (root / "below/profiles").mkdir(parents=True)
    monkeypatch.chdir(root / "below")
    return root


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_nearest_profile_of_a_name_wins(project: Path, tmp_path: Path, machine: Path) -> None:
    user = machine / ".config/lmconf/profiles"
    listed = tmp_path / "listed"
    order = [user, project / "profiles", project / "below/profiles", listed]
    for folder in order:
        put(folder / "gpt.yaml", FLAT.format(folder.name))
        assert find_profile("gpt", {"LMCONF_PATH": str(listed)}) == folder / "gpt.yaml"
    names = [found.path for found in find_all({"LMCONF_PATH": str(listed)}) if found.name == "gpt"]
    assert names == [folder / "gpt.yaml" for folder in reversed(order)]


def test_nothing_above_the_repository_is_searched(project: Path) -> None:
    put(project.parent / "profiles/out.yaml", FLAT.format("x"))
    with pytest.raises(ProfileError, match="no-profile"):
        find_profile("out", {})


def test_no_name_means_the_variable_or_the_nearest_file(project: Path) -> None:
    with pytest.raises(ProfileError, match="no profile was named"):
        default_profile({})
    put(project / "lmconf.yaml", FLAT.format("x"))
    assert default_profile({}) == str(project / "lmconf.yaml")
    assert default_profile({"LMCONF_PROFILE": "named"}) == "named"


def test_a_misspelt_name_is_told_what_is_near(project: Path) -> None:
    put(project / "profiles/support.yaml", FLAT.format("x"))
    with pytest.raises(ProfileError, match="did you mean `support`"):
        lmconf.load("suport")
    with pytest.raises(ProfileError, match=r"did you mean .*support\.yaml"):
        lmconf.load("../profiles/suport.yaml")
    with pytest.raises(ProfileError, match=r'lmconf\.LM\("openai/gpt-4o"\)'):
        lmconf.load("openai/gpt-4o")


def test_a_folder_and_an_unreadable_file_are_told_as_such(project: Path) -> None:
    (project / "profiles/dir.yaml").mkdir()
    with pytest.raises(ProfileError, match="is a folder"):
        lmconf.load(str(project / "profiles/dir.yaml"))
    if os.geteuid() != 0:
        closed = put(project / "profiles/closed.yaml", FLAT.format("x"))
        closed.chmod(0)
        with pytest.raises(ProfileError, match="unreadable"):
            lmconf.load(str(closed))


def test_a_parent_is_looked_up_beside_its_child_alone(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "listed/base.yaml", FLAT.format("listed"))
    monkeypatch.setenv("LMCONF_PATH", str(tmp_path / "listed"))
    child = put(project / "profiles/child.yaml", "extends: base\nseed: 1\n")
    with pytest.raises(ProfileError, match="unknown-parent"):
        lmconf.load(str(child))
    put(project / "profiles/base.yaml", FLAT.format("beside"))
    spec = lmconf.load(str(child)).lm.spec
    assert (spec.model, spec.seed) == ("openai/beside", 1)


def test_a_circle_of_documents_is_shown_as_a_chain(project: Path) -> None:
    put(project / "profiles/a.yaml", "extends: b\n")
    put(project / "profiles/b.yaml", "extends: ./a.yaml\n")
    with pytest.raises(ProfileError) as caught:
        lmconf.load("a")
    (only,) = caught.value.diagnostics
    assert only.code == "extends-cycle"
    assert only.message.count("->") == 2
    assert len(only.notes) == 1


def test_each_document_is_folded_once_and_the_last_parent_wins(project: Path) -> None:
    put(project / "profiles/root.yaml", FLAT.format("root") + "seed: 1\nn: 1\n")
    put(project / "profiles/left.yaml", "extends: root\nseed: 2\n")
    put(project / "profiles/right.yaml", "extends: root\nn: 3\n")
    put(project / "profiles/top.yaml", "extends: [left, right]\n")
    spec = lmconf.load("top").lm.spec
    assert (spec.model, spec.seed, spec.n) == ("openai/root", 2, 3)


def test_overrides_and_variables_reach_what_inherits(project: Path) -> None:
    text = """
vars: {tier: mini}
lms:
  _base: {model: "openai/{{ vars.tier }}"}
  a: {extends: _base}
  b: {extends: _base, seed: 1}
"""
    put(project / "profiles/p.yaml", text)
    loaded = lmconf.load("p", overrides={"lms._base.n": 2, "lms.*.seed": 7}, vars={"tier": "full"})
    assert [(lm.spec.model, lm.spec.n, lm.spec.seed) for lm in map(loaded.__getitem__, loaded)] == [
        ("openai/full", 2, 7),
        ("openai/full", 2, 7),
    ]


def test_the_same_name_is_the_same_live_lm(project: Path) -> None:
    put(project / "profiles/p.yaml", "lms: {a: {model: openai/a}, b: {model: openai/b}}\nmain: b\n")
    assert lmconf.lm("p:a") is lmconf.lm("p:a")
    assert lmconf.lm("p") is lmconf.lm("p:b")
    with pytest.raises(ProfileError, match="no LM named"):
        lmconf.lm("p:c")
    with pytest.raises(UsageError):
        lmconf.lm(5)  # type: ignore[arg-type]


def test_reloading_swaps_what_changed_and_keeps_the_rest(project: Path) -> None:
    path = put(
        project / "profiles/p.yaml", "lms: {a: {model: openai/a}, b: {model: openai/b}}\nmain: a\n"
    )
    loaded = lmconf.load(str(path))
    a, b = loaded["a"], loaded["b"]
    put(path, "lms: {a: {model: openai/a}, b: {model: openai/b2}}\nmain: a\n")
    loaded.reload()
    assert loaded["a"] is a
    assert loaded["b"] is not b
    assert loaded["b"].spec.model == "openai/b2"


def test_a_reload_that_fails_keeps_the_last_good_profile(project: Path) -> None:
    path = put(project / "profiles/p.yaml", FLAT.format("a"))
    loaded = lmconf.load(str(path))
    live, spec = loaded.lm, loaded.spec
    put(path, "model: openai/a\ntemprature: 1\n")
    with pytest.raises(ProfileError, match="temprature"):
        loaded.reload()
    assert loaded.lm is live
    assert loaded.spec is spec


def test_a_dumped_file_loads_as_the_same_profile(project: Path, tmp_path: Path) -> None:
    text = "lms: {a: {model: openai/a, cache: {store: {backend: disk, path: ./c}}}}\n"
    loaded = lmconf.load(str(put(project / "profiles/p.yaml", text)))
    lmconf.dump(loaded, tmp_path / "elsewhere.yaml")
    again = lmconf.load(str(tmp_path / "elsewhere.yaml"))
    assert again == loaded
    assert lmconf.dumps(again) == lmconf.dumps(loaded)
    lmconf.dump(loaded["a"], tmp_path / "one.yaml", "minimal")
    assert lmconf.load(str(tmp_path / "one.yaml")).lm.spec == loaded["a"].spec


def test_a_state_loads_as_what_was_dumped() -> None:
    lm = lmconf.LM("openai/gpt-4o-mini", temperature=0.9, stop=None, cache=False)
    assert lmconf.load_state(lm.dump_state()).spec == lm.spec
    loaded = lmconf.load({"lms": {"a": {"model": "openai/a"}}})
    assert lmconf.load_state(loaded.dump_state()) == loaded
    with pytest.raises(UsageError, match="made from a state"):
        state = lmconf.load_state(loaded.dump_state())
        assert isinstance(state, lmconf.Profile)
        state.reload()


def test_an_untrusted_document_stays_in_its_own_folder(project: Path) -> None:
    put(project / "base.yaml", FLAT.format("x"))
    child = put(project / "profiles/child.yaml", "extends: ../base.yaml\n")
    assert lmconf.load(str(child)).lm.spec.model == "openai/x"
    with pytest.raises(ProfileError, match="untrusted"):
        lmconf.load(str(child), untrusted=True)
    keyed = put(project / "profiles/keyed.yaml", FLAT.format("x") + "api_key: {$env: MINE}\n")
    with pytest.raises(ProfileError, match="MINE"):
        lmconf.load(str(keyed), untrusted=True)
    assert lmconf.load(str(keyed), untrusted=True, allow_env=["MINE"]).lm.spec.model == "openai/x"
