"""Opening, locking and setting aside the SQLite file in which answers are kept.

The file is made elsewhere and linked into its place whole, so that nobody ever sees half of it.
Every process that has it open holds a shared lock on a file beside it; a corrupt file is renamed
only under the exclusive lock. SQLite finds its write-ahead log by *name*, so that a process which
still had the renamed file open could write into the log of the new one, or delete it
("How To Corrupt An SQLite Database File", section 2.5).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

__all__ = [
    "FILE",
    "NotOurs",
    "OpenFile",
    "StorageFault",
    "fault_of",
    "inode_in",
    "open_file",
    "set_aside",
    "transaction",
]

FILE = "answers.v1.sqlite3"
_LOCK = "answers.v1.lock"
_VERSION = 1
_MAGIC = b"SQLite format 3\0"
_APPLICATION = int.from_bytes(b"LMcf", "big")
# Answers are 1 to 3 KB mostly: on pages of 4 KB a third of the file would stay empty.
_PAGE = 8192
_LOG_SIZE = 8 * 2**20
_KEPT_CORRUPT = 2

# `key` and `used` have an index each; `expires` has one of the few rows that expire.
_SCHEMA = """
CREATE TABLE answers (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  created REAL NOT NULL,
  expires REAL,
  used REAL NOT NULL,
  checksum BLOB NOT NULL,
  value BLOB NOT NULL
);
CREATE INDEX answers_used ON answers (used);
CREATE INDEX answers_expires ON answers (expires) WHERE expires IS NOT NULL;
"""

StorageFault = Literal["corrupt", "foreign", "full", "read-only", "busy", "other"]


class NotOurs(sqlite3.DatabaseError):
    """A file that lmconf did not make stands in the place of the answers; it is left alone."""


class WrongVersion(sqlite3.DatabaseError):
    """The file is one of lmconf's and says a version that its name does not."""


class OpenFile(NamedTuple):
    """A connection, what the file was when it was opened, and the lock that says it is open."""

    connection: sqlite3.Connection
    writable: bool
    inode: int
    lock: int | None

    def close(self) -> None:
        """Close the connection, then let go of the lock."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        if self.lock is not None:
            os.close(self.lock)


def fault_of(error: sqlite3.Error | OSError) -> StorageFault:
    """Return what kind of trouble `error` tells of."""
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return "full" if full else "other"
    # Python 3.10 has no error codes; these words are SQLite's own (sqlite3_errstr).
    words = str(error)
    if isinstance(error, NotOurs):
        return "foreign"
    if isinstance(error, WrongVersion) or "malformed" in words or "not a database" in words:
        return "corrupt"
    if "is full" in words:
        return "full"
    if "readonly" in words:
        return "read-only"
    return "busy" if "locked" in words else "other"


def open_file(folder: Path, max_size: int, patience: float) -> OpenFile:
    """Return the file of `folder`, open, made if need be; at most `max_size` bytes large.

    `patience` is how many seconds to wait for other processes. A folder or file that may not be
    written is opened for reading.

    Raises:
        OSError, sqlite3.Error: it cannot be opened.
    """
    path = folder / FILE
    if path.exists() and not _may_write(path):
        _see_that_it_is_ours(path, None)
        return _open_for_reading(path, patience)
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(folder, exclusive=False, patience=patience)
    try:
        if not path.exists():
            _make(path, lock)
        _see_that_it_is_ours(path, lock)
        _close_to_others(path)
        connection = _connect(path, "mode=rw", patience)
        try:
            _create_tables(connection, max_size)
            return OpenFile(connection, True, path.stat().st_ino, lock)
        except BaseException:
            connection.close()
            raise
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make what is done inside happen wholly or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def inode_in(folder: Path) -> int | None:
    """Return the inode of the file that is in its place in `folder`; None where there is none."""
    try:
        return (folder / FILE).stat().st_ino
    except OSError:
        return None


def set_aside(folder: Path, inode: int | None, patience: float) -> bool:
    """Rename the corrupt file of `folder` to `….corrupt-<n>`; say whether its place is free now.

    `inode` is the file that was found corrupt: another process may have replaced it since. It
    must be closed here; while other processes have it open it stays where it is.
    """
    path = folder / FILE
    try:
        lock = _lock(folder, exclusive=True, patience=patience)
    except OSError:
        return False
    if lock is None:
        return False
    try:
        if inode_in(folder) != inode:
            return True
        number = 1 + max((_number(old) for old in path.parent.glob(f"{FILE}.corrupt-*")), default=0)
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{path}.corrupt-{number}{suffix}")
        for old in path.parent.glob(f"{FILE}.corrupt-*"):
            if _number(old) <= number - _KEPT_CORRUPT:
                old.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _number(corrupt: Path) -> int:
    text = corrupt.name.rpartition(".corrupt-")[2].partition("-")[0]
    return int(text) if text.isdecimal() else 0


def _may_write(path: Path) -> bool:
    return os.access(path.parent, os.W_OK | os.X_OK) and os.access(path, os.W_OK)


def _connect(path: Path, how: str, patience: float) -> sqlite3.Connection:
    # Statements are few and always the same; each runs under the store's own lock.
    made = sqlite3.connect(
        f"file:{quote(str(path))}?{how}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
    )
    # A damaged row may hold any bytes as text: they are no error, and stand in no message.
    made.text_factory = bytes
    return made


def _open_for_reading(path: Path, patience: float) -> OpenFile:
    # A clean close leaves no log. Then nothing but the file itself is needed, and `immutable`
    # asks for nothing else; a log that is left must be read, and `immutable` would skip it.
    ways = ["mode=ro"]
    if not Path(f"{path}-wal").exists():
        ways.append("mode=ro&immutable=1")
    for way in ways:
        connection = _connect(path, way, patience)
        try:
            _check_version(connection)
            return OpenFile(connection, False, path.stat().st_ino, None)
        except BaseException as error:
            connection.close()
            if not isinstance(error, sqlite3.OperationalError) or way == ways[-1]:
                raise
    raise AssertionError("the last way returns or raises")


def _create_tables(connection: sqlite3.Connection, max_size: int) -> None:
    _check_version(connection)
    # NORMAL: after a power cut the last answers may be missing, the file is never damaged.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_SIZE}")
    connection.execute(f"PRAGMA max_page_count = {max(16, max_size // _PAGE)}")


def _check_version(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        raise WrongVersion(f"it has version {version}, not {_VERSION}")


def _see_that_it_is_ours(path: Path, lock: int | None) -> None:
    """Raise `NotOurs` where lmconf did not make the file at `path`.

    Its header says so (SQLite's file format, section 1.3); where that is gone, the file beside it
    which every process locks says which file was made. An empty file is nobody's loss.
    """
    with path.open("rb") as file:
        head = file.read(100)
    if head.startswith(_MAGIC):
        ours = head[68:72] == _APPLICATION.to_bytes(4, "big")
    else:
        said = b"" if lock is None else os.pread(lock, 32, 0)
        ours = said == str(path.stat().st_ino).encode()
    if head and not ours:
        raise NotOurs(f"{path.name} is not a cache of lmconf")


def _make(path: Path, lock: int | None) -> None:
    """Make an empty file for answers at `path`, unless somebody else does so first."""
    # Made by mkstemp with mode 0600, which SQLite gives its log and shared memory, too.
    handle, name = tempfile.mkstemp(prefix=f"{FILE}.new-", dir=path.parent)
    os.close(handle)
    try:
        connection = _connect(Path(name), "mode=rw", 0)
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION};"
                f" PRAGMA user_version = {_VERSION}; COMMIT;"
            )
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
            if lock is not None:
                os.ftruncate(lock, 0)
                os.pwrite(lock, str(path.stat().st_ino).encode(), 0)
    finally:
        Path(name).unlink(missing_ok=True)


def _close_to_others(path: Path) -> None:
    mode = path.stat().st_mode
    if mode & 0o077 and path.stat().st_uid == os.geteuid():
        path.chmod(mode & 0o700)


def _lock(folder: Path, *, exclusive: bool, patience: float) -> int | None:
    """Return a descriptor that holds the lock of `folder`; None where there are no locks."""
    import fcntl

    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            return handle
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(handle)
                return None
            if time.monotonic() >= end:
                os.close(handle)
                raise
        time.sleep(0.01)
