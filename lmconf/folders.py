"""Where lmconf keeps what outlives a process and is no cache: one private folder of the user's."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["state_folder"]


def state_folder() -> Path:
    """Return `$LMCONF_STATE_DIR`, else the user's state folder for lmconf."""
    stated = os.environ.get("LMCONF_STATE_DIR")
    if stated:
        return Path(stated).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_state_path("lmconf", appauthor=False))
