"""Where lmconf keeps what outlives a process and is no cache: one private folder of the user's.

What runs beside its owner holds the lock of a file there; locks end with their processes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

__all__ = ["is_locked", "shipped_folder", "state_folder", "with_home"]


def shipped_folder(what: Literal["profiles", "schemas"]) -> Path:
    """Return the folder of the profiles or the JSON Schemas that came with lmconf."""
    package = Path(__file__).parents[1]
    inside = package / "_shipped" / what
    return inside if inside.is_dir() else package.parent / what


def state_folder() -> Path:
    """Return `$LMCONF_STATE_DIR`, else the user's state folder for lmconf."""
    stated = os.environ.get("LMCONF_STATE_DIR")
    if stated:
        return with_home(stated).absolute()
    import platformdirs

    return Path(platformdirs.user_state_path("lmconf", appauthor=False))


def with_home(path: str) -> Path:
    """Return `path` with a home folder for its `~`; as it is where there is no such home."""
    try:
        return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises
    except ValueError:  # no path holds a NUL
        return Path(path)


def is_locked(lock: Path) -> bool:
    """Say whether a process holds the file `lock`; one that vanished meanwhile is free.

    Several may ask at once: none of them takes another for a holder.
    """
    import fcntl  # there is none on Windows, where nothing is started

    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
