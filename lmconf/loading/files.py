"""Writing files: whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of `path` by `text`, keeping its mode; a link is followed.

    Raises:
        OSError: the file cannot be written; its name is `path`, and the old content is still there.
    """
    target = path.resolve()
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        _replace(target, text, mode)
    except OSError as error:
        # The name of the temporary file would mean nothing to whoever asked for `path`.
        failure = type(error)(error.errno, error.strerror, str(path))
    else:
        return
    raise failure


def _replace(target: Path, text: str, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    # The process's umask can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
