"""Profiles that build on others: whole documents, and single LMs of another profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches.specs import DiskStore
from lmconf.callbacks.specs import CustomCallback, JsonlCallback
from lmconf.errors import ProfileError
from lmconf.loader.compile import compile_source
from lmconf.spec.lm import LMSpec


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


def examined(source: Any) -> dict[str, LMSpec]:
    """Return the whole specs of a profile; what is not carried out yet does not matter."""
    outcome = compile_source(source)
    assert outcome.profile is not None, outcome.diagnostics
    return {name: lm.spec for name, lm in outcome.profile.lms.items()}


def codes(error: pytest.ExceptionInfo[ProfileError]) -> list[str]:
    return [each.code for each in error.value.diagnostics]


# --- one LM of another profile ------------------------------------------------------------------

TEAM = """
stores: {answers: {backend: disk, path: ./cache}}
callbacks: {audit: {use: jsonl, path: runs/calls.jsonl}}
defaults:
  temperature: 0.0
  cache: {store: answers, ttl: 1d}
  callbacks: [audit]
lms:
  _backed: {fallbacks: [claude, think]}
  claude: {extends: _backed, model: anthropic/claude-x, max_tokens: 500}
  think: {model: openai/o3-mini, fallbacks: [{model: openai/gpt-4o, cache: {store: answers}}]}
"""


@pytest.fixture
def team(project: Path) -> Path:
    return put(project / "profiles/team/team.yaml", TEAM)


def test_an_lm_of_another_profile_brings_what_it_names(team: Path) -> None:
    lm = examined({"lms": {"grader": {"extends": f"{team}:claude", "max_tokens": 9}}})["grader"]
    answers = DiskStore(path=str(team.parent / "cache"))
    assert (lm.model, lm.max_tokens, lm.cache.ttl) == ("anthropic/claude-x", 9, 86400.0)
    assert lm.cache.store == answers
    assert lm.callbacks == (JsonlCallback(use="jsonl", path=str(team.parent / "runs/calls.jsonl")),)
    (fallback,) = lm.fallbacks
    assert not isinstance(fallback, str)
    assert (fallback.model, fallback.temperature) == ("openai/o3-mini", 1.0)
    assert fallback.cache.store == answers


def test_what_an_lm_of_another_profile_names_is_not_mistaken_for_ones_own(team: Path) -> None:
    lm = examined(
        {
            "stores": {"answers": {"backend": "memory"}},
            "callbacks": {"audit": {"use": "log"}},
            "lms": {"grader": {"extends": f"{team}:think"}},
        }
    )["grader"]
    assert lm.cache.store == DiskStore(path=str(team.parent / "cache"))
    assert isinstance(lm.callbacks[0], JsonlCallback)


def test_another_profiles_default_gives_way_there_and_here(team: Path) -> None:
    lms = examined({"lms": {"a": {"extends": f"{team}:think"}, "b": {"extends": f"{team}:claude"}}})
    assert (lms["a"].temperature, lms["a"].max_tokens) == (1.0, 16_000)
    assert (lms["b"].temperature, lms["b"].max_tokens) == (0.0, 500)


def test_an_lm_of_another_profile_lies_over_the_heirs_own_defaults(team: Path) -> None:
    document = {
        "defaults": {"seed": 1, "cache": {"ttl": "2d", "namespace": "mine"}},
        "lms": {"grader": {"extends": f"{team}:claude"}},
    }
    lm = examined(document)["grader"]
    assert (lm.seed, lm.cache.namespace, lm.cache.ttl) == (1, "mine", 86400.0)


def test_overrides_do_not_reach_into_another_profile(team: Path) -> None:
    document = {"lms": {"grader": {"extends": f"{team}:claude", "fallbacks": []}}}
    spec = lmconf.load(document, overrides={"lms.*.cache.mode": "disabled"})["grader"].spec
    assert (spec.cache.mode, spec.fallbacks) == ("disabled", ())
    with pytest.raises(ProfileError, match="set-path"):
        lmconf.load(document, overrides={"lms.think.seed": 1})


def test_what_was_allowed_holds_in_the_profiles_that_are_extended(project: Path) -> None:
    put(
        project / "hooked.yaml",
        "lms: {a: {model: openai/a, callbacks: [{use: 'acme.hooks:Meter'}]}}\n",
    )
    document = {"lms": {"b": {"extends": "hooked:a"}}}
    with pytest.raises(ProfileError) as caught:
        lmconf.load(document)
    assert codes(caught) == ["import-not-allowed"]
    spec = lmconf.load(document, allow_imports=["acme.hooks"])["b"].spec
    assert spec.callbacks == (CustomCallback(use="acme.hooks:Meter"),)


def test_names_that_an_application_may_register_pass_in_other_profiles_too(project: Path) -> None:
    put(project / "hooked.yaml", "lms: {a: {model: openai/a, callbacks: [{use: mine}]}}\n")
    document = {"lms": {"b": {"extends": "hooked:a"}}}
    assert compile_source(document, registered=False).profile is not None
    with pytest.raises(ProfileError, match="unknown-kind"):
        lmconf.load(document)


def test_profiles_that_extend_lms_of_each_other_are_a_circle(project: Path) -> None:
    put(project / "a.yaml", "lms: {x: {extends: 'b:x'}}\n")
    put(project / "b.yaml", "lms: {x: {extends: 'a:x'}}\n")
    with pytest.raises(ProfileError) as caught:
        lmconf.load("./a.yaml")
    assert "extends-cycle" in codes(caught)


def test_a_key_does_not_follow_an_lm_of_another_profile_to_another_provider(project: Path) -> None:
    put(project / "team.yaml", "lms: {a: {model: openai/a, api_key: {$env: TEAM_KEY}}}\n")
    with pytest.raises(ProfileError) as caught:
        lmconf.load({"lms": {"b": {"extends": "team:a", "model": "groq/b"}}})
    assert codes(caught) == ["credential-crosses"]
    same = lmconf.load({"lms": {"b": {"extends": "team:a", "model": "openai/b"}}})
    assert same["b"].spec.api_key == lmconf.Env("TEAM_KEY")


# --- whole documents ----------------------------------------------------------------------------


def test_one_lm_may_extend_one_lm(project: Path) -> None:
    put(project / "profiles/base.yaml", "model: openai/a\ntemperature: 0.3\nstop: [x]\n")
    put(project / "profiles/mine.yaml", "extends: base\nmodel: openai/b\nstop: {$append: [y]}\n")
    spec = lmconf.load("mine").lm.spec
    assert (spec.model, spec.temperature, spec.stop) == ("openai/b", 0.3, ("x", "y"))


def test_a_new_model_in_a_later_file_resets_what_belongs_to_the_old_one(project: Path) -> None:
    put(
        project / "profiles/base.yaml",
        "lms:\n  a:\n    model: azure/reasoner\n    base_model: openai/o3\n    seed: 1\n"
        "    pricing: {input: 1, output: 2}\n    finetuning_model: openai/o3-ft\n"
        "    train_kwargs: {n_epochs: 3}\n",
    )
    put(project / "profiles/mine.yaml", "extends: base\nlms: {a: {model: azure/writer}}\n")
    spec = lmconf.load("mine").lm.spec
    assert (spec.base_model, spec.pricing, spec.finetuning_model) == (None, None, None)
    assert (spec.train_kwargs, spec.seed, spec.temperature) == (None, 1, 0.0)
    put(project / "profiles/mine.yaml", "extends: base\nlms: {a: {model: azure/reasoner}}\n")
    assert lmconf.load("mine").lm.spec.base_model == "openai/o3"


def test_paths_belong_to_the_file_that_states_them(project: Path) -> None:
    put(
        project / "shared/base.yaml",
        """
stores: {answers: {backend: disk, path: ../cache}}
callbacks: {audit: {use: jsonl, path: runs/calls.jsonl}}
lms:
  _local:
    launch_kwargs: {use: llama_cpp, weights: ./tiny.gguf, log: {path: logs/tiny.log}}
  a: {model: openai/a, api_key: {$file: keys/a}, cache: {store: answers}, callbacks: [audit]}
""",
    )
    put(
        project / "profiles/mine.yaml",
        """
extends: ../shared/base.yaml
lms:
  a: {api_key: {$file: keys/mine}}
  tiny: {extends: _local, model: openai/tiny}
  named: {extends: _local, model: openai/tiny, launch_kwargs: {weights: org/tiny}}
""",
    )
    lms = examined("mine")
    shared = project / "shared"
    assert lms["a"].cache.store == DiskStore(path=str(project / "cache"))
    assert getattr(lms["a"].callbacks[0], "path", None) == str(shared / "runs/calls.jsonl")
    assert lms["a"].api_key == lmconf.File(str(project / "profiles/keys/mine"))
    server = lms["tiny"].launch_kwargs
    assert server is not None
    assert (server.weights, server.log.path) == (
        str(shared / "tiny.gguf"),
        str(shared / "logs/tiny.log"),
    )
    named = lms["named"].launch_kwargs
    assert named is not None
    assert named.weights == "org/tiny"


def test_programs_of_commands_stand_beside_the_file_that_names_them(project: Path) -> None:
    put(
        project / "profiles/own.yaml",
        """
model: openai/own
api_key: ""
launch_kwargs: {command: [./serve.sh, --config, ../serve.toml, .hidden, "{port}"]}
train_kwargs: {use: command, command: [./train.sh, "{output}"]}
""",
    )
    spec = lmconf.load("own").lm.spec
    assert spec.launch_kwargs is not None
    assert spec.launch_kwargs.command == (
        str(project / "profiles/serve.sh"),
        "--config",
        str(project / "serve.toml"),
        ".hidden",
        "{port}",
    )
    assert spec.train_kwargs is not None
    assert spec.train_kwargs.command == (str(project / "profiles/train.sh"), "{output}")


def test_paths_in_overrides_and_mappings_start_at_the_working_folder(project: Path) -> None:
    put(project / "profiles/mine.yaml", "model: openai/a\ncache: {store: {backend: disk}}\n")
    loaded = lmconf.load("mine", overrides={"cache.store.path": "mine", "api_key": {"$file": "k"}})
    assert loaded.lm.spec.cache.store == DiskStore(path=str(project / "mine"))
    assert loaded.lm.spec.api_key == lmconf.File(str(project / "k"))
    stored = {"model": "openai/a", "cache": {"store": {"backend": "disk", "path": "./c"}}}
    assert lmconf.load(stored).lm.spec.cache.store == DiskStore(path=str(project / "c"))


def test_a_mapping_extends_from_the_working_folder(project: Path) -> None:
    put(project / "profiles/base.yaml", "model: openai/base\n")
    put(project / "near.yaml", "seed: 2\n")
    spec = lmconf.load({"extends": ["base", "./near.yaml"]}).lm.spec
    assert (spec.model, spec.seed) == ("openai/base", 2)


def test_every_parent_that_is_missing_is_told_at_once(project: Path) -> None:
    put(project / "profiles/base.yaml", "extends: [nothing, ./none.yaml]\nmodel: openai/x\n")
    put(project / "profiles/mine.yaml", "extends: [base, neither]\n")
    with pytest.raises(ProfileError) as caught:
        lmconf.load("mine")
    assert codes(caught) == ["unknown-parent"] * 3


@pytest.mark.parametrize(
    "parent",
    ["~nobody-of-this-name/x", "./circle.yaml", "./" + "a" * 5000, "a" * 5000, "a\0b", "./a\0b"],
)
@pytest.mark.parametrize("untrusted", [False, True])
def test_a_parent_that_cannot_be_is_told_like_one_that_is_not(
    project: Path, parent: str, untrusted: bool
) -> None:
    (project / "circle.yaml").symlink_to(project / "circle.yaml")
    for document in (
        {"extends": parent, "model": "openai/x"},
        {"lms": {"a": {"extends": f"{parent}:b", "model": "openai/x"}}},
    ):
        with pytest.raises(ProfileError, match=r"unknown-parent|extends-unknown"):
            lmconf.load(document, untrusted=untrusted)


# --- trust --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parent", ["../outside.yaml", "./../outside.yaml", "{folder}/outside.yaml"]
)
def test_an_untrusted_mapping_reads_no_file_outside_the_working_folder(
    project: Path, parent: str
) -> None:
    put(project.parent / "outside.yaml", "model: openai/outside\n")
    document = {"extends": parent.format(folder=project.parent), "seed": 1}
    assert lmconf.load(document).lm.spec.model == "openai/outside"
    with pytest.raises(ProfileError) as caught:
        lmconf.load(document, untrusted=True)
    assert codes(caught) == ["untrusted"]


def test_an_untrusted_document_learns_nothing_of_files_outside_its_folder(project: Path) -> None:
    """Neither of one that is there nor of one that is not, by a path or by a link."""
    put(project / "secret.yaml", "model: openai/x\n")
    for parent in ("../secret.yaml", "../none.yaml", "./link.yaml"):
        child = put(project / "given/child.yaml", f"extends: {parent}\n")
        (project / "given/link.yaml").unlink(missing_ok=True)
        (project / "given/link.yaml").symlink_to(project / "secret.yaml")
        with pytest.raises(ProfileError) as caught:
            lmconf.load(child, untrusted=True)
        assert codes(caught) == ["untrusted"]


def test_an_untrusted_document_extends_no_lm_of_another_profile(project: Path) -> None:
    put(project / "given/team.yaml", "lms: {a: {model: openai/a}}\n")
    child = put(project / "given/child.yaml", "lms: {b: {extends: 'team:a', model: openai/b}}\n")
    with pytest.raises(ProfileError) as caught:
        lmconf.load(child, untrusted=True)
    assert codes(caught) == ["extends-unknown"]


def test_a_projects_allowed_imports_are_not_for_untrusted_documents(project: Path) -> None:
    put(project / "pyproject.toml", '[tool.lmconf]\nallow-imports = ["acme"]\n')
    child = put(project / "a.yaml", "model: openai/x\ncallbacks: [{use: 'acme:Meter'}]\n")
    assert lmconf.load(child).lm.spec.callbacks == (CustomCallback(use="acme:Meter"),)
    with pytest.raises(ProfileError) as caught:
        lmconf.load(child, untrusted=True)
    assert codes(caught) == ["untrusted"]
