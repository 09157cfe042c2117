"""What the README shows is what happens: its YAML is valid, its Python runs, its output is real.

The blocks of a language are read in order and share one project. In Python, a comment
`# -> value` at the end of an expression is what it must come to. In a console block, the lines
below `$ command` are its output; a line `…` stands for the rest of it, and `$ cat file` says what
the file holds. The providers' models of `profiles/support.yaml` are played by the model that ships.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import NAMED, blocks, commands, lmconf, with_assertions

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WEIGHTS = ROOT / "profiles/models/lmconf-tiny-f16.gguf"
NOT_RUN = {"make demo", "make test", "pip install .[local]"}
"""Commands that install or run these tests; that `make` knows them is checked."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, which is the working folder."""
    assert importlib.util.find_spec("xllamacpp"), "what the README shows needs the extra `local`"
    folder = tmp_path / "project"
    (folder / "profiles").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


@pytest.mark.parametrize(
    "block", blocks(README, "yaml"), ids=lambda block: block.splitlines()[0][:30]
)
def test_every_profile_shown_is_valid(block: str, project: Path) -> None:
    # The base that the README's example extends.
    (project / "profiles/base.yaml").write_text("lmconf: 1\ndefaults: {seed: 7}\n")
    named = NAMED.match(block)
    path = named.group(1) if named else "lmconf.yaml"
    (project / path).write_text(block, encoding="utf-8")
    assert lmconf("validate", "--strict", path) == f"{path} is valid\n"


@pytest.mark.slow
def test_every_command_prints_what_is_shown(project: Path) -> None:
    ran = []
    for words, shown in [each for block in blocks(README, "console") for each in commands(block)]:
        if words[0] == "cat":
            (project / words[1]).write_text(shown, encoding="utf-8")
        elif words[0] == "lmconf":
            printed = lmconf(*words[1:])
            if shown.endswith("…\n"):
                assert printed.startswith(shown.removesuffix("…\n"))
            else:
                assert printed == shown
            ran.append(words[1])
        else:
            assert " ".join(words) in NOT_RUN
    assert ran == ["call", "validate", "show"]


@pytest.mark.slow
def test_the_python_shown_runs_and_comes_to_what_is_shown(project: Path) -> None:
    (support,) = [block for block in blocks(README, "yaml") if NAMED.match(block)]
    server = f"launch_kwargs: {{use: llama_cpp, weights: {WEIGHTS}}}"
    played = re.sub(r"model: openai/[\w.-]+", f"model: openai/lmconf-tiny, {server}", support)
    (project / "profiles/support.yaml").write_text(played, encoding="utf-8")
    script = "".join(map(with_assertions, blocks(README, "python")))
    assert script.count("assert repr(") == README.count("# -> ") > 0
    (project / "shown.py").write_text(script, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "shown.py"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("Once upon a time")


def test_the_table_of_commands_is_the_help() -> None:
    table = re.findall(r"^\| `lmconf (\w+)", README, re.MULTILINE)
    ran = subprocess.run(
        [sys.executable, "-m", "lmconf", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = ran.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert set(table) == set(re.findall(r"^  (\w+)", listed, re.MULTILINE))


def test_the_readme_names_the_profiles_that_ship_and_the_targets_that_exist() -> None:
    for path in (ROOT / "profiles").glob("*.yaml"):
        assert f"`{path.stem}`" in README
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make\s+(\w+)", README)) | {"demo", "test"} <= targets


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_what_is_not_carried_out_is_said() -> None:
    from lmconf import callbacks, launchers
    from lmconf.callbacks.specs import CALLBACK_SPECS

    text = README.partition("## What this version does not do yet")[2].partition("\n## ")[0]
    waiting = set(CALLBACK_SPECS) - set(callbacks.KINDS) - {"*"}
    assert {name for name in waiting if f"`{name}`" not in text} == set()
    assert set(launchers.LAUNCHER_NAMES) == set(launchers.KINDS)
