"""Live profiles: asking for LMs, reloading, remembering, closing, and what is not carried out."""

from __future__ import annotations

import gc
import threading
import warnings
from pathlib import Path

import pytest

import lmconf
from lmconf.errors import Closed, ProfileError, UsageError
from lmconf.loader.api import ProfileWarning

TWO = "lms: {a: {model: openai/a}, b: {model: openai/b}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, which is the working folder."""
    root = tmp_path / "repo"
    (root / ".git").mkdir(parents=True)
    monkeypatch.chdir(root)
    return root


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- a profile ----------------------------------------------------------------------------------


def test_a_profile_is_a_mapping_of_its_lms() -> None:
    loaded = lmconf.load({"lms": {"a": {"model": "openai/a"}, "b": {"model": "openai/b"}}})
    assert ([*loaded], len(loaded)) == (["a", "b"], 2)
    assert "a" in loaded
    assert "c" not in loaded
    assert 5 not in loaded
    assert loaded["a"] is loaded["a"]
    assert repr(loaded) == "<lmconf.Profile <mapping>: a, b>"


def test_an_lm_that_is_not_there_is_told_with_what_is_near() -> None:
    loaded = lmconf.load({"lms": {"grader": {"model": "openai/a"}, "b": {"model": "openai/b"}}})
    with pytest.raises(ProfileError, match="did you mean `grader`"):
        loaded["gradr"]
    with pytest.raises(ProfileError, match="it has: grader, b"):
        loaded["something-else"]
    with pytest.raises(ProfileError, match="did you mean `grader`"):
        loaded.place("gradr", "model")
    with pytest.raises(UsageError):
        loaded[0]  # type: ignore[index]


def test_a_profile_without_a_main_lm_says_how_to_name_one(project: Path) -> None:
    put(project / "profiles/two.yaml", TWO)
    with pytest.raises(ProfileError, match="two:a"):
        _ = lmconf.load("two").lm


def test_profiles_are_equal_when_their_specs_are(project: Path) -> None:
    path = put(project / "p.yaml", TWO)
    loaded = lmconf.load(path)
    same = lmconf.load({"lms": {"b": {"model": "openai/b"}, "a": {"model": "openai/a"}}})
    other = lmconf.load(path, overrides={"lms.a.seed": 1})
    assert loaded == same
    assert hash(loaded) == hash(same)
    assert loaded != other
    assert loaded != "p"
    assert len({loaded, same, other}) == 2


def test_lms_are_made_once_though_many_threads_ask(project: Path) -> None:
    loaded = lmconf.load({"model": "openai/a"})
    found: list[lmconf.LM] = []
    threads = [threading.Thread(target=lambda: found.append(loaded.lm)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert {id(lm) for lm in found} == {id(loaded.lm)}


def test_leaving_a_profile_closes_its_lms() -> None:
    with lmconf.load({"model": "openai/a"}) as loaded:
        lm = loaded.lm
    with pytest.raises(Closed):
        lm("hi")
    assert loaded.lm is not lm


@pytest.mark.parametrize("source", [5, ["support"], b"support", object()])
def test_only_a_name_a_path_or_a_mapping_can_be_loaded(source: object) -> None:
    with pytest.raises(UsageError, match="a name, a path or a mapping"):
        lmconf.load(source)  # type: ignore[arg-type]


def test_a_mapping_that_no_document_could_be_is_a_mistake_of_the_code() -> None:
    for content in ({"model": object()}, {5: "x"}, {"model": "openai/x", "extra": {"x": {1, 2}}}):
        with pytest.raises(UsageError, match="<mapping>"):
            lmconf.load(content)  # type: ignore[arg-type]


def test_loading_does_not_change_what_it_is_given(project: Path) -> None:
    content = {"vars": {"t": 1}, "lms": {"a": {"model": "openai/a", "seed": "{{ vars.t }}"}}}
    overrides, given = {"lms": {"a": {"n": 2}}}, {"t": 3}
    before = repr((content, overrides, given))
    loaded = lmconf.load(content, overrides=overrides, vars=given)
    assert (loaded["a"].spec.seed, loaded["a"].spec.n) == (3, 2)
    assert repr((content, overrides, given)) == before


def test_a_wrong_override_and_a_wrong_variable_are_told() -> None:
    document = {"vars": {"tier": "a"}, "lms": {"a": {"model": "openai/{{ vars.tier }}"}}}
    with pytest.raises(ProfileError, match="did you mean `tier`"):
        lmconf.load(document, vars={"teir": "b"})
    with pytest.raises(ProfileError, match="set-path"):
        lmconf.load(document, overrides={"lms.b.seed": 1})
    with pytest.raises(ProfileError, match="set-path"):
        lmconf.load(document, overrides={"": 1})
    with pytest.raises(ProfileError, match="set-value"):
        lmconf.load(document, overrides={"lms.a.seed": object()})


# --- reloading ----------------------------------------------------------------------------------


def test_a_reload_sees_parents_overrides_and_the_environment_as_they_are_now(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = put(project / "base.yaml", "vars: {r: {$env: MY_R, default: x}}\nseed: 1\n")
    put(project / "p.yaml", 'extends: base\nmodel: "openai/{{ vars.r }}"\n')
    overrides = {"n": 2}
    loaded = lmconf.load("./p.yaml", overrides=overrides)
    overrides["n"] = 3
    put(base, base.read_text().replace("seed: 1", "seed: 9"))
    monkeypatch.setenv("MY_R", "y")
    loaded.reload()
    assert (loaded.lm.spec.model, loaded.lm.spec.seed, loaded.lm.spec.n) == ("openai/y", 9, 2)


def test_an_lm_that_is_gone_after_a_reload_is_closed_and_a_new_one_can_be_asked(
    project: Path,
) -> None:
    path = put(project / "p.yaml", TWO)
    loaded = lmconf.load(path)
    kept, gone = loaded["a"], loaded["b"]
    put(path, TWO.replace("b:", "c:"))
    loaded.reload()
    assert [*loaded] == ["a", "c"]
    assert loaded["a"] is kept
    with pytest.raises(Closed):
        gone("hi")
    with pytest.raises(ProfileError):
        loaded["b"]
    assert loaded["c"].spec.model == "openai/b"


def test_a_reload_keeps_the_last_good_profile_when_its_file_is_gone(project: Path) -> None:
    path = put(project / "p.yaml", TWO)
    loaded = lmconf.load(path)
    live = loaded["a"]
    path.unlink()
    with pytest.raises(ProfileError, match="no-profile"):
        loaded.reload()
    path.mkdir()
    with pytest.raises(ProfileError):
        loaded.reload()
    assert loaded["a"] is live


def test_what_a_kept_lm_says_of_itself_is_what_the_file_says_now(project: Path) -> None:
    path = put(project / "p.yaml", "lms: {a: {model: openai/a}}\n")
    loaded = lmconf.load(path)
    live = loaded["a"]
    put(path, "# More is said, and nothing else is meant.\nlms: {a: {model: openai/a, n: null}}\n")
    loaded.reload()
    assert loaded["a"] is live
    assert loaded.dump_state("minimal")["lms"]["a"] == {"model": "openai/a", "n": None}
    mark = loaded.place("a", "model")
    assert mark is not None
    assert mark.line == 2


# --- remembering --------------------------------------------------------------------------------


def test_a_name_is_remembered_by_where_it_was_asked(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project / "profiles/p.yaml", "model: openai/one\n")
    first = lmconf.lm("p")
    assert lmconf.lm("p") is first
    put(project / "below/profiles/p.yaml", "model: openai/two\n")
    monkeypatch.chdir(project / "below")
    assert lmconf.lm("p").spec.model == "openai/two"
    monkeypatch.chdir(project)
    assert lmconf.lm("p") is first
    put(project / "listed/p.yaml", "model: openai/three\n")
    monkeypatch.setenv("LMCONF_PATH", str(project / "listed"))
    assert lmconf.lm("p").spec.model == "openai/three"


def test_no_name_means_the_main_lm_of_what_the_variable_names(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project / "lmconf.yaml", "main: b\n" + TWO)
    assert lmconf.lm() is lmconf.lm()
    assert lmconf.lm().spec.model == "openai/b"
    put(project / "profiles/p.yaml", "model: openai/p\n")
    monkeypatch.setenv("LMCONF_PROFILE", "p")
    assert lmconf.lm().spec.model == "openai/p"


def test_an_lm_of_a_file_is_named_after_a_colon(project: Path) -> None:
    path = put(project / "p.yaml", TWO)
    assert lmconf.lm(f"{path}:b").spec.model == "openai/b"
    assert lmconf.lm("./p.yaml:a").spec.model == "openai/a"


def test_a_profile_that_was_wrong_is_read_again(project: Path) -> None:
    path = put(project / "profiles/p.yaml", "modle: openai/a\n")
    with pytest.raises(ProfileError):
        lmconf.lm("p")
    put(path, "model: openai/a\n")
    assert lmconf.lm("p").spec.model == "openai/a"


def test_a_remembered_lm_lives_on_without_anyone_holding_it(project: Path) -> None:
    put(project / "profiles/p.yaml", "model: openai/a\n")
    number = id(lmconf.lm("p"))
    gc.collect()
    assert id(lmconf.lm("p")) == number


# --- warnings -----------------------------------------------------------------------------------


def test_a_warning_points_to_the_line_that_loads() -> None:
    foreign = {"model": "replicate/meta/llama-2-70b-chat", "api_key": {"$env": "KEY"}}
    with pytest.warns(ProfileWarning, match="sent by LiteLLM's own client") as said:
        loaded = lmconf.load(foreign)
    assert len(said) == 1
    assert said[0].filename == __file__
    with pytest.warns(ProfileWarning) as said:
        state = lmconf.load_state(loaded.dump_state())
    assert said[0].filename == __file__
    assert isinstance(state, lmconf.Profile)
    assert state == loaded


def test_what_holds_together_loads_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lmconf.load(
            {
                "stores": {"one": {"backend": "memory"}, "two": {"backend": "disk"}},
                "callbacks": {"log": {"use": "log"}, "file": {"use": "jsonl", "path": "calls"}},
                "lms": {
                    "a": {"model": "openai/a", "callbacks": ["log", "file"], "cache": {"ttl": 5}},
                    "b": {"model": "openai/b", "model_type": "text", "fallbacks": ["a"]},
                    "c": {"model": "openai/c", "launch_kwargs": {"use": "llama_cpp"}},
                },
            }
        )


def test_an_lm_that_was_closed_is_made_anew_when_it_is_asked_for_again(project: Path) -> None:
    put(project / "lmconf.yaml", "model: openai/a\n")
    first = lmconf.lm()
    first.close()
    second = lmconf.lm()
    assert first.closed
    assert not second.closed
    assert second is lmconf.lm()
    assert second == first
