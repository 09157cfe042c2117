"""Completion: what is offered, and that bash takes it as it stands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.running import Lmconf

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lmconf va", ["validate"]),
        ("lmconf show --or", ["--origin"]),
        ("lmconf show supp", ["support", "support:gpt", "support:think"]),
        ("lmconf call support:c", ["support:claude"]),
        ("lmconf show ./profiles/support.yaml:gr", ["./profiles/support.yaml:grader"]),
        ("lmconf show support:gpt --set top_", ["top_p=", "top_logprobs="]),
        ("lmconf show support --set lms.gpt.temp", ["lms.gpt.temperature="]),
        ("lmconf --color al", ["always"]),
        ("lmconf completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_what_is_offered(
    lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]
) -> None:
    monkeypatch.setenv("_LMCONF_COMPLETE", "bash_complete")
    monkeypatch.setenv("LMCONF_LINE", line)
    ran = lmconf()
    found = [row.partition(",")[2] for row in ran.out.splitlines()]
    assert found[: len(offered)] == offered
    assert (ran.code, ran.err) == (0, "")


def test_a_broken_profile_offers_nothing_and_says_nothing(
    project: Path, lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "profiles/broken.yaml").write_text("{")
    monkeypatch.setenv("_LMCONF_COMPLETE", "bash_complete")
    monkeypatch.setenv("LMCONF_LINE", "lmconf show broken:")
    assert lmconf() == (0, "\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(lmconf: Lmconf, shell: str) -> None:
    ran = lmconf("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_LMCONF_COMPLETE={shell}_complete" in ran.out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("line", "breaks", "reply"),
    [
        ("lmconf call support:cl", " :=", "claude"),
        ("lmconf call support:cl", " ", "support:claude"),
        ("lmconf show support --set lms.gpt.temp", " :=", "lms.gpt.temperature="),
        ("lmconf valid", " :=", "validate"),
    ],
)
def test_bash_is_told_only_what_follows_the_last_break_of_words(
    project: Path, lmconf: Lmconf, line: str, breaks: str, reply: str
) -> None:
    command = project / "lmconf"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m lmconf "$@"\n')
    command.chmod(0o755)
    script = f"""
    compopt() {{ :; }}
    {lmconf("completion", "bash").out}
    COMP_WORDBREAKS={breaks!r} COMP_LINE={line!r} COMP_POINT={len(line)}
    _lmconf_completion {command}
    echo "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == (f"{reply}\n", "")
