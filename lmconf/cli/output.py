"""Files that commands write: whole or not at all, and a failure told by the name that was given."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType

from lmconf.errors import Error

__all__ = ["SoleWriter", "Unwritable", "write_file"]


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


class SoleWriter:
    """Holds a file for this process alone, as a context; it is made where there is none.

    The file is locked, and the lock ends with the process. One that was made here is removed again
    when the context ends by an error before anything was written.

    Raises:
        Unwritable: another process holds the file, or it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._made = False

    def __enter__(self) -> SoleWriter:
        """Lock the file."""
        self._made = not self._path.exists()
        self.renew()
        return self

    def renew(self) -> None:
        """Lock the file that has the name now, for it may have been replaced; let go the other."""
        try:
            while self._handle < 0 or not self._is_named(self._handle):
                handle = os.open(
                    self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666
                )
                self._let_go()
                self._handle = handle
                _lock(handle)
        except BlockingIOError:
            self._let_go()
            raise Unwritable(
                f"{self._path} is being written by another process: wait until that has ended, or"
                " name another FILE"
            ) from None
        except OSError as error:
            self._let_go()
            reason = (error.strerror or type(error).__name__).lower()
            raise Unwritable(f"{self._path} cannot be written: {reason}") from None

    def _is_named(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def _let_go(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unlock the file."""
        if self._handle < 0:
            return
        empty = self._is_named(self._handle) and os.fstat(self._handle).st_size == 0
        if error is not None and self._made and empty:
            self._path.resolve().unlink(missing_ok=True)
        self._let_go()


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # on Windows
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some file systems have no locks: what they hold is written all the same.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
            raise
