"""The command line, run in this process, in a project of its own."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from lmconf.cli import run
from tests.unit.cli.running import SUPPORT, Lmconf, Ran


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one profile, which is the working folder."""
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    (folder / "profiles").mkdir()
    (folder / "profiles/support.yaml").write_text(SUPPORT)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def lmconf(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Lmconf:
    """Runs a command line; `stdin` is what is piped in."""

    def command(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code = run(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command
