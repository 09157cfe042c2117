"""`lmconf show` and `dump`: what is written, where it comes from, and that no secret is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lmconf.cli.value_origins import WIDEST
from lmconf.loader.api import load
from tests.unit.cli.running import Lmconf

ORIGINS = """\
lmconf: 1                                   # default
model: openai/o3-mini                       # profiles/support.yaml:12
model_type: chat                            # default
temperature: 1.0                            # family openai-reasoning
max_tokens: 9000                            # --set
api_key: {$env: OPENAI_API_KEY}             # provider
allow_http: false                           # default
num_retries: 8                              # default
"""


def test_origins_name_the_line_the_option_or_the_kind_of_default(lmconf: Lmconf) -> None:
    ran = lmconf("show", "support:think", "--origin", "--set", "max_tokens=9000")
    lines = {tuple(line.split("  # ")) for line in ran.out.splitlines() if "  # " in line}
    told = {pair[0].strip(): pair[1] for pair in lines if len(pair) == 2}
    for line in ORIGINS.splitlines():
        value, origin = line.split("  # ")
        assert told[value.strip()] == origin, value
    assert told["backend: disk"] == "profiles/support.yaml:4"
    assert told["ttl: 7d"] == "profiles/support.yaml:7"
    assert told["use: auto"] == "default"
    assert ran.code == 0


def test_origins_stand_in_one_column_and_the_text_is_still_the_state(lmconf: Lmconf) -> None:
    plain = lmconf("show", "support:claude")
    ran = lmconf("show", "support:claude", "--origin")
    columns = [line.index("  # ") for line in ran.out.splitlines() if "  # " in line]
    assert set(columns) - {column for column in columns if column > WIDEST} == {WIDEST}
    assert yaml.safe_load(ran.out) == yaml.safe_load(plain.out)


def test_an_inherited_value_is_told_at_its_parents_line(lmconf: Lmconf) -> None:
    rows = lmconf("show", "support:grader", "--origin", "--format", "json").json
    told = {tuple(row["path"]): row for row in rows}
    assert told["model",]["line"] == 13
    assert told["max_tokens",]["line"] == 14
    assert told["max_tokens",]["value"] == 200
    assert told["deadline",] == {
        "path": ["deadline"],
        "value": "30min",
        "origin": "default",
        "file": None,
        "line": None,
    }


def test_a_whole_profile_tells_the_origins_of_all_its_parts(lmconf: Lmconf) -> None:
    rows = lmconf("show", "support", "--origin", "--format", "json").json
    told = {tuple(row["path"]): row["origin"] for row in rows}
    assert told["main",] == "profiles/support.yaml:8"
    assert told["stores", "disk", "backend"] == "profiles/support.yaml:4"
    assert told["lms", "grader", "max_tokens"] == "profiles/support.yaml:14"
    assert told["lms", "gpt", "api_key"] == "provider"


def test_an_environment_value_that_was_baked_in_says_so(project: Path, lmconf: Lmconf) -> None:
    (project / "one.yaml").write_text(
        "vars: {who: {$env: WHO, default: me}}\nmodel: openai/gpt-4o\nuser: '{{ vars.who }}'\n"
    )
    told = lmconf("show", "one.yaml", "--origin").out
    assert "user: me" in told
    assert "# one.yaml:3" in told


def test_minimal_says_only_what_was_said(lmconf: Lmconf) -> None:
    shown = yaml.safe_load(lmconf("show", "support:claude", "--minimal").out)
    assert set(shown) == {"lmconf", "model", "api_key", "temperature", "cache"}


def test_a_document_of_one_lm_is_shown_as_one_lm(project: Path, lmconf: Lmconf) -> None:
    (project / "one.yaml").write_text("model: openai/gpt-4o\n")
    assert yaml.safe_load(lmconf("show", "one.yaml").out)["model"] == "openai/gpt-4o"


def test_without_a_name_the_nearest_lmconf_yaml_is_shown(project: Path, lmconf: Lmconf) -> None:
    (project / "lmconf.yaml").write_text("model: openai/gpt-4o\n")
    shown = lmconf("show").out
    assert yaml.safe_load(shown)["model"] == "openai/gpt-4o"
    assert lmconf("show", "lmconf").out == shown


@pytest.mark.parametrize(
    ("arguments", "temperatures"),
    [
        (["support:claude", "--set", "temperature=1"], 1.0),
        (["support:claude", "--set", "lms.claude.temperature=1"], 1.0),
        (["support:claude", "--set", "defaults.temperature=1"], 1.0),
        (["support:claude", "--set", "lms.gpt.temperature=1"], 0.2),
    ],
)
def test_a_bare_field_is_that_of_the_lm_that_is_named(
    lmconf: Lmconf, arguments: list[str], temperatures: float
) -> None:
    assert yaml.safe_load(lmconf("show", *arguments).out)["temperature"] == temperatures


def test_a_bare_field_of_a_whole_profile_is_refused_with_the_path_to_all(lmconf: Lmconf) -> None:
    ran = lmconf("show", "support", "--set", "temperature=1")
    assert ran.code == 1
    assert "lms.*.temperature" in ran.err


def test_a_variable_chooses(lmconf: Lmconf) -> None:
    shown = lmconf("show", "support:gpt", "--var", "tier=full").out
    assert "model: openai/gpt-4o\n" in shown


@pytest.mark.parametrize("value", ["sk-abcdefghijklmnop1234", "hunter2"])
@pytest.mark.parametrize("command", ["show", "dump"])
@pytest.mark.parametrize("path", ["api_key", "lms.gpt.api_key", "headers.X-Api-Key"])
def test_a_literal_secret_is_refused_without_being_printed(
    lmconf: Lmconf, command: str, path: str, value: str
) -> None:
    ran = lmconf(command, "support:gpt", "--set", f"{path}={value}")
    assert ran.code == 1
    assert value not in ran.out + ran.err
    assert "literal secret" in ran.err


def test_a_secret_at_a_wrong_path_is_not_printed_either(lmconf: Lmconf) -> None:
    ran = lmconf("show", "support", "--set", "api_key=hunter2")
    assert (ran.code, ran.out) == (1, "")
    assert "hunter2" not in ran.err


def test_a_malformed_set_is_wrong_usage_and_hides_its_value(lmconf: Lmconf) -> None:
    ran = lmconf("show", "support", "--set", "=hunter2", "--var", "tier")
    assert ran.code == 2
    assert "hunter2" not in ran.err
    assert ran.err.count("error[") == 2


def test_a_dump_loads_as_what_was_dumped(project: Path, lmconf: Lmconf) -> None:
    ran = lmconf("dump", "support", "-o", "whole.yaml")
    assert (ran.code, ran.out, ran.err) == (0, "", "wrote whole.yaml\n")
    assert load("whole.yaml") == load("support")


def test_a_dump_for_dspy_tells_what_it_cannot_carry(lmconf: Lmconf) -> None:
    ran = lmconf("dump", "support:claude", "--format", "dspy")
    assert ran.json["model"] == "anthropic/claude-3-opus-20240229"
    assert "api_key" not in ran.json
    assert "warning: dspy.LM has no argument for: " in ran.err


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(lmconf: Lmconf) -> None:
    ran = lmconf("dump", "support", "-o", "no/such/folder.yaml")
    assert ran.code == 1
    assert ran.err == "error: no/such/folder.yaml cannot be written: no such file or directory\n"
