"""Which answers the processes of one machine are waiting for: locks on single bytes of one file.

A claim is an open-file-description lock (fcntl(2), `F_OFD_SETLK`) on the byte whose place is the
key's digest. The kernel lets go of it when the process that holds it ends, however it ends, so no
claim is ever stale. Where there are no such locks, claims hold between the threads of this process
alone.

The beginning of the file holds when the last claims ended with an answer, one number for many
keys: whoever looked for an answer before that looks again.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path

from lmconf.system.fork import Mutex, register_forkable
from lmconf.system.tracebacks import is_interrupt

__all__ = ["CLAIMS", "ProcessLocks"]

CLAIMS = "answers.v1.claims"
_ENDS = 8192
_END = struct.Struct("=q")  # nanoseconds of the monotonic clock; negative: nobody else may use it
_END_SPACE = _ENDS * _END.size
# struct flock of Linux with 64-bit offsets: type, whence, start, length, pid (0 for these locks).
_LOCK = "hhqqi4x"
_HERE = os.SEEK_SET
_LOOKS = 1.0
"""Seconds between looks whether the file is still in its place."""


class ProcessLocks:
    """The claims in `folder`; nothing is touched before the first one.

    One process asks for one key at a time only: its threads agree among themselves before.
    """

    def __init__(self, folder: str | Path) -> None:
        # pathlib's expanduser raises where there is no home folder.
        self._path = Path(os.path.abspath(os.path.expanduser(folder))) / CLAIMS  # noqa: PTH100, PTH111
        self._handle: int | None = None
        self._looked = 0.0
        self._given_up = not _are_there()
        self._lock = Mutex()  # a dropped stream lets go in a finalizer
        register_forkable(self)

    def take(self, key: str) -> bool:
        """Claim `key`, and say whether it is ours: another process may be asking for it.

        What cannot be claimed, for want of a folder or of such locks, is ours.
        """
        with self._lock:
            handle = self._opened()
            return handle is None or self._set(handle, key, taken=True)

    def let_go(self, key: str, *, stored: bool = False, unshared: bool = False) -> None:
        """Give up the claim on `key`.

        Args:
            key: what was claimed.
            stored: the answer can be found now.
            unshared: there is an answer, and nobody else may use it.
        """
        with self._lock:
            handle = self._handle
            if handle is None:
                return
            if stored or unshared:
                with contextlib.suppress(OSError):
                    now = time.monotonic_ns()
                    os.pwrite(handle, _END.pack(-now if unshared else now), _end_of(key))
            self._set(handle, key, taken=False)

    def answered_since(self, key: str, since: float) -> tuple[bool, bool]:
        """Say whether a claim may have ended with an answer, and whether with an unshared one.

        Args:
            key: what was claimed; some other keys are not told from it.
            since: seconds of `time.monotonic`, the same in all processes of a machine.
        """
        with self._lock:
            handle, found = self._opened(), b""
            if handle is not None:
                with contextlib.suppress(OSError):
                    found = os.pread(handle, _END.size, _end_of(key))
        ended = _END.unpack(found)[0] if len(found) == _END.size else 0
        # What is to come was noted before the machine was started anew.
        answered = ended != 0 and int(since * 1e9) <= abs(ended) <= time.monotonic_ns()
        return answered, answered and ended < 0

    def close(self) -> None:
        """Give up every claim."""
        with self._lock:
            self._close()

    def __del__(self) -> None:
        self._close()

    def _opened(self) -> int | None:
        now = time.monotonic()
        if self._handle is not None:
            if now < self._looked + _LOOKS:
                return self._handle
            with contextlib.suppress(OSError):
                if os.fstat(self._handle).st_nlink:
                    self._looked = now
                    return self._handle
            self._close()  # somebody removed the file: others lock another one
        if self._given_up:
            return None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._handle = os.open(self._path, flags, 0o600)
            self._looked = now
            if os.fstat(self._handle).st_size < _END_SPACE:
                os.ftruncate(self._handle, _END_SPACE)
        except OSError as error:
            if is_interrupt(error):
                raise
            # A read-only folder, or no folder: each process asks for itself.
            self._given_up = True
            self._close()
        return self._handle

    def _set(self, handle: int, key: str, *, taken: bool) -> bool:
        import fcntl

        kind = fcntl.F_WRLCK if taken else fcntl.F_UNLCK
        command: int = fcntl.F_OFD_SETLK  # type: ignore[attr-defined, unused-ignore]
        try:
            fcntl.fcntl(handle, command, struct.pack(_LOCK, kind, _HERE, _place_of(key), 1, 0))
        except BlockingIOError:
            return False
        except OSError as error:  # a file system without such locks
            if is_interrupt(error):
                raise
            self._given_up = True
            self._close()
        return True

    def _close(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)

    # --- forks ---

    def before_fork(self) -> None:
        """Do nothing: what is held stays held."""

    def after_fork(self, in_child: bool) -> None:
        """Go on; the child lets go of the parent's open file, whose claims are the parent's."""
        if in_child:
            self._close()


def _are_there() -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    return hasattr(fcntl, "F_OFD_SETLK") and struct.calcsize("P") == 8


def _place_of(key: str) -> int:
    return _END_SPACE + int(key[:15], 16)


def _end_of(key: str) -> int:
    return int(key[15:19], 16) % _ENDS * _END.size
