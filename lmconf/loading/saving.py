"""Writing states to files: whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lmconf.document.writing import write
from lmconf.loading.live import Profile
from lmconf.profile.state import Style
from lmconf.runtime.lm import LM

__all__ = ["dump", "dumps"]


def dumps(what: LM | Profile, style: Style = "resolved") -> str:
    """Return the state of an LM or a profile as a YAML document."""
    return write(what.dump_state(style))


def dump(what: LM | Profile, path: str | os.PathLike[str], style: Style = "resolved") -> None:
    """Write the state of an LM or a profile to `path`, as a YAML document.

    The file is replaced as a whole: a reader sees the old content or the new, and a failure
    leaves the old.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(Path(path), dumps(what, style))


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of `path` by `text`, keeping its mode; a link is followed.

    Raises:
        OSError: the file cannot be written; the old content is still there.
    """
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
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
