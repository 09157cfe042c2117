"""Writing files: whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of `path` by `text`, keeping its mode; a link is followed.

    Raises:
        OSError: the file cannot be written; its name is `path`, and the old content is still there.
    """
    try:
        target = path.resolve()
        _replace(target, text, target.stat().st_mode & 0o777 if target.exists() else None)
    except OSError as error:
        # The name of the temporary file would mean nothing to whoever asked for `path`.
        failure = type(error)(error.errno, error.strerror, str(path))
    except RuntimeError:
        # Until Python 3.13, what `resolve` says of links that lead in a circle.
        failure = OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    else:
        return
    raise failure


def _replace(target: Path, text: str, mode: int | None) -> None:
    """Write a file beside `target` and move it there; without a `mode` the umask decides."""
    beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(beside, flags, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
