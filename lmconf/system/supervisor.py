"""Runs one server and ends it, with everything it started, when its owner is gone.

The owner starts this file by its path with the standard library alone, keeps the writing end of its
standard input open, and writes one JSON line (see `Order`). End-of-file there, which the kernel
brings about however the owner ends, or another parent process, which tells even when a fork of the
owner holds the pipe open, ends the server's whole process group: first politely, and soon by force.
SIGTERM does the same and leaves it `grace` seconds. An owner that writes the line `STAY` lets go of
the server, which then runs until the supervisor is told to end (SIGTERM). What the server writes
goes to a log that is bounded in size.

The order travels by the pipe and not in arguments because arguments are public on a machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from lmconf.secrets.redactor import Redactor
else:  # this file is run by its path: there is no package around it
    from importlib.util import module_from_spec, spec_from_file_location

    _spec = spec_from_file_location(
        "redactor", Path(__file__).parents[1] / "secrets" / "redactor.py"
    )
    _module = module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    Redactor = _module.Redactor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict

    class Order(TypedDict):
        """What the owner wants: `input` is written to the server's own standard input.

        `log_size` is in bytes, `grace` in seconds. `folder` gets a file `pid` with the server's
        process id, and a file `lock` that is locked as long as the supervisor runs. `owner` is
        the owner's process id; the texts in `hidden` are secrets that the log must not hold.
        """

        argv: list[str]
        env: dict[str, str]
        cwd: str | None
        input: str
        log: str
        log_size: int
        hidden: list[str]
        grace: float
        folder: str
        owner: int


STAY = b"stay\n"
"""What an owner writes that lets go of its server."""

LOOK = 0.25
"""Seconds between two looks at the owner and the server when neither says anything."""
ORPHANED = 1.0
"""The most seconds that a server has for its end when its owner is gone: nobody waits for it."""
CANNOT_START = 127
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class BoundedLog:
    """A file of at most half of `size` bytes, and its predecessor, `<path>.1`, of as much.

    What it cannot write is lost: a full disk or a folder that was removed ends no server.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.half = max(size // 2, 1)
        self.written = 0
        self.fd = -1
        self._open(os.O_APPEND)

    def _open(self, how: int) -> None:
        before = self.fd
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | how, 0o600)
        os.fchmod(self.fd, 0o600)
        self.written = os.fstat(self.fd).st_size
        if before >= 0:
            os.close(before)

    def write(self, data: bytes) -> None:
        """Append `data`, moving on to a new file as often as one is full."""
        try:
            self._append(data)
        except OSError:
            return

    def _append(self, data: bytes) -> None:
        while data:
            if self.written >= self.half:
                self.path.replace(f"{self.path}.1")
                self._open(os.O_TRUNC)
            part = data[: self.half - self.written]
            done = os.write(self.fd, part)
            self.written += done
            data = data[done:]


class ServerSupervisor:
    """One server's life, from its start to the death of its process group."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.folder = Path(order["folder"])
        self.lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.log = BoundedLog(Path(order["log"]), order["log_size"])
        self.redactor = Redactor(map(os.fsencode, order["hidden"]))
        self.owned = True
        self.told_to_end = False
        self.woken, wake = os.pipe()
        for end in (self.woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._handle_signal)

    def _handle_signal(self, number: int, frame: object) -> None:
        self.told_to_end = self.told_to_end or number != signal.SIGCHLD

    def run(self) -> int:
        """Return the server's exit status: 128 and the signal's number if one ended it."""
        try:
            child = self._start()
        except OSError as error:
            reason = f"cannot start {self.order['argv'][0]}: {error.strerror}\n"
            self.log.write(reason.encode())
            return CANNOT_START
        try:
            while child.poll() is None and not self._is_over():
                self._copy(child, LOOK)
        finally:
            self._finish(child)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            self.order["argv"],
            env=self.order["env"],
            cwd=self.order["cwd"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - there is one thread here
        )
        try:
            self._tell(child)
        except OSError:
            self._signal(child, signal.SIGKILL)
            child.wait()
            raise
        return child

    def _tell(self, child: subprocess.Popen[bytes]) -> None:
        """Write down the server's process id, and tell the server its settings."""
        told = os.open(self.folder / "pid", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(told, str(child.pid).encode())
        os.close(told)
        assert child.stdin is not None
        try:
            child.stdin.write(os.fsencode(self.order["input"]))
            child.stdin.close()
        except BrokenPipeError:
            self.log.write(b"the server ended before it read its settings\n")

    def _is_over(self) -> bool:
        """Say whether the server is to end: it was told, or its owner is gone."""
        if self.told_to_end or not self.owned:
            return self.told_to_end
        # What it said comes first: it may be gone since.
        gone = os.getppid() != self.order["owner"]
        readable, _, _ = select.select([0], [], [], 0)
        if not readable:
            return gone
        said = os.read(0, len(STAY))
        self.owned = said != STAY
        return self.owned and (gone or not said)

    def _copy(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        """Copy one piece of what the server says, waiting `seconds` for it, its end or the owner."""
        assert child.stdout is not None
        sources = [self.woken]
        if not child.stdout.closed:
            sources.append(child.stdout.fileno())
        if self.owned:  # a pipe that was let go of could always be read
            sources.append(0)
        readable, _, _ = select.select(sources, [], [], seconds)
        if self.woken in readable:
            os.read(self.woken, 64)
        if child.stdout.closed or child.stdout.fileno() not in readable:
            return False
        said = os.read(child.stdout.fileno(), 65536)
        if said:
            self.log.write(self.redactor(said))
        else:
            child.stdout.close()
        return bool(said)

    def _finish(self, child: subprocess.Popen[bytes]) -> None:
        """End the whole group, also what outlived the server itself, and keep its last words."""
        self.owned = False
        self._signal(child, signal.SIGTERM)
        grace = self.order["grace"] if self.told_to_end else min(self.order["grace"], ORPHANED)
        until = time.monotonic() + grace
        while child.poll() is None and time.monotonic() < until:
            self._copy(child, 0.02)
        self._signal(child, signal.SIGKILL)
        child.wait()
        for _ in range(64):
            if not self._copy(child, 0):
                break
        self.log.write(self.redactor.end())

    @staticmethod
    def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone already; macOS answers EPERM for a group of which only zombies are left.
            return


def _end_with_parent() -> Callable[[], object] | None:
    """Return what makes a new process end politely should this one be killed; None elsewhere.

    The kernel looks at the thread that starts the process, and here there is only one.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def main() -> int:
    """Read the order, and see it through."""
    with open(0, "rb", buffering=0, closefd=False) as owner:
        line = owner.readline()
    if not line:
        return 0
    order: Any = json.loads(line)
    return ServerSupervisor(order).run()


if __name__ == "__main__":
    sys.exit(main())
