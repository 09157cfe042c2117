"""What is printed where: text fit for a terminal, and colour only where it is wanted."""

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO, TypeAlias

import click

from lmconf.errors import Error
from lmconf.secrets.redaction import mask_key_shapes

__all__ = [
    "ColorChoice",
    "SoleWriter",
    "Terminal",
    "Unwritable",
    "fit",
    "format_bytes",
    "say",
    "tell",
    "visible",
    "write_file",
]


class Unwritable(Error):
    """A file or folder that was to be written cannot be; the message says which and why."""


def write_file(path: Path, text: str, *, make_folders: bool = False) -> None:
    """Replace the content of `path` by `text`, whole or not at all.

    Raises:
        Unwritable: it cannot be written; what was there is there still.
    """
    from lmconf.system.files import write_atomically

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


ColorChoice: TypeAlias = Literal["auto", "always", "never"]


class Terminal:
    """How this run of the command line prints; `color` is what `--color` said."""

    def __init__(self) -> None:
        self.color: ColorChoice = "auto"

    def colors(self, stream: TextIO) -> bool:
        """Say whether what is written to `stream` is coloured.

        `auto` is a terminal that is not dumb, unless NO_COLOR (no-color.org) is set.
        """
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        return stream.isatty()


def say(text: str, *, newline: bool = True) -> None:
    """Write `text`, a command's result, to standard output."""
    # click would take colours out by rules of its own.
    click.echo(text, nl=newline, color=True)


def tell(text: str) -> None:
    """Write `text`, something about the result, to standard error."""
    # What is said first must be seen first where both streams are one terminal.
    sys.stdout.flush()
    click.echo(text, err=True, color=True)


def fit(text: str) -> str:
    """Return `text`, which others wrote, fit for a message: keys masked, controls escaped."""
    return visible(mask_key_shapes(text))


def visible(text: str) -> str:
    """Return `text` with everything escaped that would steer a terminal, but newlines and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else _escape(letter) for letter in text)


def _is_harmless(letter: str) -> bool:
    # Format characters join emoji and scripts; only those that reorder a line are a disguise.
    category = unicodedata.category(letter)
    return letter in "\n\t" or not (category in ("Cc", "Cs") or letter in _REORDERING)


_REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def format_bytes(size: int) -> str:
    """Return so many bytes in a unit that people read."""
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"
