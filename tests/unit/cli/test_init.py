"""`lmconf init` and `schema`: what they write is valid, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from referencing import Registry

from lmconf.system.paths import shipped_folder
from tests.unit.cli.running import Lmconf


def test_what_init_writes_is_valid_here_and_in_an_editor(project: Path, lmconf: Lmconf) -> None:
    ran = lmconf("init")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(
        "wrote lmconf.yaml\n"
        "wrote .lmconf/lmconf.v1.json (completion and checks in your editor)\n"
        "\nnext:\n"
    )
    assert lmconf("validate", "--strict").code == 0
    text = (project / "lmconf.yaml").read_text()
    modeline = "# yaml-language-server: $schema="
    assert text.startswith(modeline)
    schema = json.loads((project / text.splitlines()[0].removeprefix(modeline)).read_text())
    jsonschema.Draft202012Validator(schema, registry=Registry()).validate(yaml.safe_load(text))


def test_the_next_steps_of_init_are_commands_that_exist(project: Path, lmconf: Lmconf) -> None:
    told = lmconf("init").out.partition("next:\n")[2]
    assert "lmconf validate" in told
    assert lmconf("show", "lmconf:gpt").code == 0
    assert lmconf("show", "lmconf:claude").code == 0


def test_what_the_starter_shows_in_comments_is_valid_too(project: Path, lmconf: Lmconf) -> None:
    lmconf("init")
    lines = (project / "lmconf.yaml").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  # house:"))
    opened = [
        line.replace("  # ", "  ", 1) for line in lines[start:] if "extends another" not in line
    ]
    (project / "lmconf.yaml").write_text("\n".join([*lines[:start], *opened]) + "\n")
    ran = lmconf("show", "lmconf:grader")
    assert "max_tokens: 200" in ran.out, ran.err
    assert lmconf("show", "lmconf:house").code == 0


def test_init_replaces_nothing_unless_forced(project: Path, lmconf: Lmconf) -> None:
    (project / "lmconf.yaml").write_text("mine\n")
    ran = lmconf("init")
    assert ran.code == 1
    assert "lmconf.yaml already exists and was not changed" in ran.err
    assert (project / "lmconf.yaml").read_text() == "mine\n"
    assert not (project / ".lmconf").exists()
    assert lmconf("init", "--force").code == 0
    assert (project / "lmconf.yaml").read_text() != "mine\n"


def test_init_makes_a_folder_and_says_to_go_there(project: Path, lmconf: Lmconf) -> None:
    ran = lmconf("init", "new/one")
    assert "wrote new/one/lmconf.yaml" in ran.out
    assert "  cd new/one\n" in ran.out
    assert (project / "new/one/.lmconf/lmconf.v1.json").is_file()


def test_init_where_nothing_can_be_written_says_so(project: Path, lmconf: Lmconf) -> None:
    (project / ".lmconf").write_text("a file")
    ran = lmconf("init")
    assert ran.code == 1
    assert ran.err == "error: .lmconf/lmconf.v1.json cannot be written: file exists\n"
    assert not (project / "lmconf.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [([], "lmconf.v1.json"), (["--resolved"], "lmconf.resolved.v1.json")],
)
def test_schema_prints_what_came_with_lmconf(
    lmconf: Lmconf, arguments: list[str], name: str
) -> None:
    ran = lmconf("schema", *arguments)
    assert ran.out == (shipped_folder("schemas") / name).read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(ran.json)


def test_the_resolved_schema_takes_what_dump_writes(lmconf: Lmconf) -> None:
    schema = lmconf("schema", "--resolved").json
    for name in ("support", "support:claude"):
        dumped = lmconf("dump", name, "--format", "json").json
        jsonschema.Draft202012Validator(schema, registry=Registry()).validate(dumped)


def test_schema_writes_both_into_a_folder(project: Path, lmconf: Lmconf) -> None:
    ran = lmconf("schema", "--out", "a/b")
    assert (ran.code, ran.out) == (0, "")
    assert {path.name for path in (project / "a/b").iterdir()} == {
        "lmconf.v1.json",
        "lmconf.resolved.v1.json",
    }
