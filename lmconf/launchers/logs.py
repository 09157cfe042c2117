"""Where a server's output goes, and the end of it, which tells what happened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lmconf.errors import LaunchError
from lmconf.secrets.masks import last_of
from lmconf.secrets.redaction import mask_secrets

__all__ = ["LINES", "log_tail", "open_log"]

TAIL = 4096
"""How many bytes of the log an error shows at most."""
BEFORE = 4096
"""How many more are read: a key that ends in what is shown is known by how it begins."""
LINES = 25
"""How many lines of it."""


def log_tail(path: Path, hidden: tuple[str, ...] = (), lines: int = LINES) -> str:
    """Return the last lines of a log, without anything that is known or looks to be secret."""
    # The file may just have been begun anew, with all that matters in its predecessor.
    longest = TAIL * max(lines // LINES, 1)
    pieces = [_end_of(Path(f"{path}.1"), longest + BEFORE), _end_of(path, longest + BEFORE)]
    text = last_of(b"".join(pieces), longest + BEFORE).decode("utf-8", "replace")
    tail = last_of(mask_secrets(text, hidden).encode(), longest).decode("utf-8", "replace")
    return "\n".join(tail.strip().splitlines()[-lines:]) or "(it is empty)"


def _end_of(path: Path, longest: int) -> bytes:
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(log.tell() - longest, 0))
            return log.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        return f"({path} cannot be read: {error.strerror})".encode()


def open_log(path: Path) -> int:
    """Return a descriptor that appends to the log at `path`, which only this user can read.

    Raises:
        LaunchError: it cannot be written, or is something else than a file.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A pipe that nobody reads would be waited for.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise LaunchError(f"the log {path} cannot be written: {error.strerror}") from None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        os.fchmod(fd, 0o600)
        return fd
    os.close(fd)  # the rights of a device are everybody's, and it cannot be begun anew
    raise LaunchError(f"the log {path} is not a regular file")
