"""Files that commands write: whole or not at all, and a failure told by the name that was given."""

from __future__ import annotations

from pathlib import Path

from lmconf.errors import Error

__all__ = ["Unwritable", "write_file"]


class Unwritable(Error):
    """A file or folder that was to be written cannot be; the message says which and why."""


def write_file(path: Path, text: str, *, make_folders: bool = False) -> None:
    """Replace the content of `path` by `text`, whole or not at all.

    Raises:
        Unwritable: it cannot be written; what was there is there still.
    """
    from lmconf.loading.files import write_atomically

    try:
        if make_folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise Unwritable(f"{path} cannot be written: {reason}") from None
