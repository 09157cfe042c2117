"""Where a running server's files are: one private folder for each start."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from lmconf.errors import LaunchError
from lmconf.system.paths import is_locked, state_folder

__all__ = ["KEPT", "is_in_use", "new_run_folder", "pid_in", "servers_folder", "state_folder"]

KEPT = 20
"""How many folders of ended servers are kept, for their logs."""
YOUNG = 60.0
"""Seconds for which a new folder is kept, whatever it is for."""


def servers_folder() -> Path:
    """Return the folder that holds one folder for each server."""
    return state_folder() / "servers"


def new_run_folder(kind: str) -> Path:
    """Return a new folder that only this user can read, in the state folder.

    Where the state folder cannot be written, it is made among the temporary files instead. The
    folders of servers that ended long ago are removed.

    Raises:
        LaunchError: neither place can be written, or `$LMCONF_STATE_DIR` cannot.
    """
    servers = servers_folder()
    try:
        servers.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget_old(servers)
        return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=servers))
    except OSError as error:
        if os.environ.get("LMCONF_STATE_DIR"):
            raise LaunchError(f"{servers} cannot be written: {error.strerror}") from None
    try:
        return Path(tempfile.mkdtemp(prefix=f"lmconf-{kind}-"))
    except OSError as error:
        raise LaunchError(f"no folder for the server's files: {error.strerror}") from None


def _forget_old(servers: Path) -> None:
    folders = [entry for entry in servers.iterdir() if entry.is_dir() and not entry.is_symlink()]
    by_age = sorted((_modified_time(folder), folder) for folder in folders)
    now = time.time()
    for when, folder in by_age[: -KEPT or None]:
        # In a young one the supervisor may not have come to hold the lock.
        if when + YOUNG < now and not is_in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _modified_time(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def is_in_use(folder: Path) -> bool:
    """Say whether a supervisor holds the folder's lock."""
    return is_locked(folder / "lock")


def pid_in(folder: Path) -> int:
    """Return the process id of the server in `folder`, 0 while there is none."""
    try:
        return int((folder / "pid").read_text("ascii"))
    except (OSError, ValueError):
        return 0
