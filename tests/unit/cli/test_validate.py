"""`lmconf validate`: which files are checked, what is told, and what it never does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.running import Lmconf

BROKEN = """\
model: openai/gpt-4o
temprature: 1
api_key: hunter2
"""
TOLD = """\
error[unknown-key]: unknown key `temprature`
  --> wrong.yaml:2:1
   |
 2 | temprature: 1
   | ^^^^^^^^^^ did you mean `temperature`?
"""


def test_a_valid_project_is_one_line_and_exit_code_0(lmconf: Lmconf) -> None:
    assert lmconf("validate") == (0, "profiles/support.yaml is valid\n", "")


def test_every_mistake_is_told_and_secrets_are_not(project: Path, lmconf: Lmconf) -> None:
    (project / "wrong.yaml").write_text(BROKEN)
    ran = lmconf("validate", "wrong.yaml", "support")
    assert ran.code == 1
    assert ran.out.startswith(TOLD)
    assert "error[literal-secret]" in ran.out
    assert "hunter2" not in ran.out + ran.err
    assert ran.out.endswith("2 errors\n\n1 of 2 profiles valid; not valid: wrong.yaml\n")


def test_the_default_is_lmconf_yaml_and_profiles_of_the_project(
    project: Path, lmconf: Lmconf
) -> None:
    (project / "lmconf.yaml").write_text("model: openai/gpt-4o\n")
    (project / "elsewhere.yaml").write_text(BROKEN)
    (project / "deeper").mkdir()
    assert lmconf("validate").out == "2 profiles, all valid\n"


def test_folders_are_searched_and_files_that_are_no_profiles_passed_over(
    project: Path, lmconf: Lmconf
) -> None:
    for name, text in {
        "conf/deep/good.yml": "model: openai/gpt-4o\n",
        "conf/state.json": '{"lmconf": 1, "model": "openai/gpt-4o"}',
        "conf/compose.yaml": "services: {}\n",
        "conf/package.json": '{"main": "x.js"}',
        "conf/.hidden/wrong.yaml": BROKEN,
        "conf/node_modules/wrong.yaml": BROKEN,
        "conf/profiles/anything.yaml": "oops: 1\n",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    ran = lmconf("validate", "conf", "--format", "json")
    assert ran.code == 1
    assert [(found["path"], found["valid"]) for found in ran.json["profiles"]] == [
        ("conf/state.json", True),
        ("conf/deep/good.yml", True),
        ("conf/profiles/anything.yaml", False),
    ]
    assert ran.json["passed_over"] == ["conf/compose.yaml", "conf/package.json"]
    text = lmconf("validate", "conf").out
    assert "skipped, not profiles: conf/compose.yaml, conf/package.json\n" in text


def test_a_file_that_is_named_twice_is_checked_once(lmconf: Lmconf) -> None:
    ran = lmconf("validate", "support", "profiles/", "profiles/support.yaml", "--format", "json")
    assert len(ran.json["profiles"]) == 1


def test_a_mistake_in_a_shared_parent_is_told_once(project: Path, lmconf: Lmconf) -> None:
    (project / "profiles/base.yaml").write_text("defaults: {temprature: 1}\n")
    for name in ("one", "two"):
        (project / f"profiles/{name}.yaml").write_text(
            "extends: base\nlms: {a: {model: openai/gpt-4o}}\n"
        )
    ran = lmconf("validate", "one", "two")
    assert ran.code == 1
    assert ran.out.count("unknown key `temprature`") == 1
    assert "0 of 2 profiles valid" in ran.out


@pytest.mark.parametrize("name", ["suport", "./suport.yaml", "support:gpt"])
def test_what_is_not_found_is_one_of_the_mistakes(project: Path, lmconf: Lmconf, name: str) -> None:
    (project / "support.yaml").write_text("model: openai/gpt-4o\n")
    ran = lmconf("validate", "support", name, "--format", "json")
    assert ran.code == 1
    missing = ran.json["profiles"][1]
    assert (missing["path"], missing["valid"]) == (name, False)
    assert "support" in missing["diagnostics"][0]["help"]


@pytest.mark.parametrize("arguments", [["empty"], []])
def test_nothing_to_check_is_a_failure(project: Path, lmconf: Lmconf, arguments: list[str]) -> None:
    (project / "empty").mkdir()
    (project / "profiles/support.yaml").unlink()
    ran = lmconf("validate", *arguments)
    assert ran.code == 1
    assert "error[no-profile]" in ran.err


def test_a_store_that_two_profiles_declare_differently_is_told_with_both_places(
    project: Path, lmconf: Lmconf
) -> None:
    store = "stores: {kept: {backend: disk, path: ./kept, max_size: %s}}\nlms: {}\n"
    for name, size in (("a", "1GiB"), ("b", "2GiB"), ("c", "1GiB")):
        (project / f"{name}.yaml").write_text(store % size)
    ran = lmconf("validate", "a.yaml", "c.yaml")
    assert ran.code == 0
    ran = lmconf("validate", "a.yaml", "b.yaml")
    assert ran.code == 1
    assert "error[store-conflict]: another store of this folder is declared differently" in ran.out
    assert "--> b.yaml:1:16" in ran.out
    assert "--> a.yaml:1:16" in ran.out
    assert ran.out.endswith("1 of 2 profiles valid; not valid: b.yaml\n")


def test_strict_makes_warnings_count(project: Path, lmconf: Lmconf) -> None:
    (project / "later.yaml").write_text(
        "model: replicate/meta/llama-2-70b-chat\napi_key: {$env: REPLICATE_API_KEY}\n"
    )
    relaxed, strict = lmconf("validate", "later.yaml"), lmconf("validate", "later.yaml", "--strict")
    assert (relaxed.code, strict.code) == (0, 1)
    assert "warning[foreign-wire]" in relaxed.out
    assert relaxed.out.endswith("later.yaml is valid\n")
    assert strict.out.endswith("later.yaml is not valid\n")


def test_json_tells_each_profile_with_its_diagnostics(project: Path, lmconf: Lmconf) -> None:
    (project / "wrong.yaml").write_text(BROKEN)
    told = lmconf("validate", "wrong.yaml", "support", "--format", "json").json
    assert (told["valid"], told["errors"], told["warnings"]) == (False, 2, 0)
    assert told["profiles"][0]["diagnostics"][0]["line"] == 2
    assert told["profiles"][1] == {
        "path": "profiles/support.yaml",
        "valid": True,
        "diagnostics": [],
    }


def test_kinds_that_an_application_registers_are_not_mistakes(
    project: Path, lmconf: Lmconf
) -> None:
    (project / "own.yaml").write_text("model: openai/gpt-4o\ncallbacks: [{use: ours}]\n")
    assert lmconf("validate", "own.yaml").code == 0


def test_code_that_a_document_names_is_allowed_by_name_and_never_imported(
    project: Path, lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(project)
    (project / "hooks_of_ours.py").write_text("raise AssertionError('imported')\n")
    (project / "own.yaml").write_text(
        "model: openai/gpt-4o\ncallbacks: [{use: 'hooks_of_ours:Meter'}]\n"
    )
    refused = lmconf("validate", "own.yaml")
    assert refused.code == 1
    assert "--allow-import hooks_of_ours:Meter" in refused.out
    assert lmconf("validate", "own.yaml", "--allow-import", "hooks_of_ours").code == 0
    assert "hooks_of_ours" not in sys.modules


ROOT = Path(__file__).parents[3]
LOADED = """\
import sys
from lmconf.cli import run
code = run(["validate", *sys.argv[1:]])
heavy = {"litellm", "jinja2", "jsonschema", "structlog", "httpx", "asyncio", "lmconf.runtime.lm"}
heavy |= {"subprocess", "http.client", "ssl"}
print(code, *sorted(heavy & set(sys.modules)))
"""


def test_only_what_checking_needs_is_imported(project: Path) -> None:
    (project / "plain.yaml").write_text("model: openai/gpt-4o\n")
    (project / "template.yaml").write_text(
        "vars: {a: 1}\nmodel: openai/gpt-4o\nuser: 'u{{ vars.a }}'\n"
    )
    (project / "served.yaml").write_text(
        "model: openai/tiny\nprovider: llama_cpp\n"
        "launch_kwargs: {weights: tiny.gguf, args: {ctx-size: 512}}\n"
    )
    loaded = {
        name: subprocess.run(
            [sys.executable, "-c", LOADED, name],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ).stdout.splitlines()[-1]
        for name in ("plain.yaml", "template.yaml", "served.yaml")
    }
    assert loaded["plain.yaml"] == loaded["served.yaml"] == "0"
    assert "litellm" not in loaded["template.yaml"]
    assert "lmconf.runtime.lm" not in loaded["template.yaml"]


def test_a_kind_that_is_a_slip_of_a_built_in_one_is_warned_of(
    project: Path, lmconf: Lmconf
) -> None:
    """The command line cannot know what an application registers, and most slips are slips."""
    (project / "slips.yaml").write_text(
        "lms:\n"
        "  slip: {model: openai/x, transport: litelm, callbacks: [{use: logg}]}\n"
        "  own: {model: openai/x, transport: echo, callbacks: [{use: cost}, {use: house_log}]}\n"
    )
    ran = lmconf("validate", "slips.yaml")
    assert ran.code == 0
    assert "warning[unknown-kind]: no transport of the kind `litelm`" in ran.out
    assert "slips.yaml:2:38" in ran.out
    assert "did you mean `log`?" in ran.out
    assert "2 warnings" in ran.out
    assert lmconf("validate", "slips.yaml", "--strict").code == 1
