"""Every start has a private folder of its own; old ones are removed, those in use are kept."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from lmconf.errors import LaunchError
from lmconf.launchers.folders import KEPT, new_run_folder, state_folder


def test_the_state_folder_is_the_users_own(machine: Path) -> None:
    assert state_folder().is_relative_to(machine)


def test_a_variable_moves_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))
    folder = new_run_folder("kind")
    assert folder.parent == tmp_path / "state" / "servers"


def test_a_run_folder_is_private_and_new() -> None:
    one, other = new_run_folder("kind"), new_run_folder("kind")
    assert one != other
    for folder in (one, one.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_old_folders_are_removed_unless_a_server_uses_them() -> None:
    folders = [new_run_folder("kind") for _ in range(KEPT + 5)]
    for age, folder in enumerate(reversed(folders)):
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    used = folders[0]
    with (used / "lock").open("w") as lock:
        os.utime(used, (1, 1))
        fcntl.flock(lock, fcntl.LOCK_EX)
        new_run_folder("kind")
        assert used.exists()
        assert not folders[1].exists()
        assert folders[-1].exists()
    new_run_folder("kind")
    assert not used.exists()


def test_a_folder_whose_server_is_just_being_started_is_no_old_one() -> None:
    folders = [new_run_folder("kind") for _ in range(KEPT + 5)]
    assert all(folder.exists() for folder in folders)


def test_a_stated_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "file"))
    with pytest.raises(LaunchError, match=r"file/servers cannot be written"):
        new_run_folder("kind")


def test_without_a_state_folder_the_temporary_files_take_it(
    machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (machine / "blocked").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(machine / "blocked"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = new_run_folder("kind")
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
