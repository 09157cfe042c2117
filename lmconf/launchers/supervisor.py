"""Runs one server and ends it, with everything it started, when its owner is gone.

The owner starts this file by its path with the standard library alone, keeps the writing end of
its standard input open, and writes one JSON line (see `Order`). End-of-file there, which the
kernel brings about however the owner ends, or another parent process, which tells even when a
fork of the owner holds the pipe open, ends the server's whole process group: first politely, and
after `grace` seconds by force. What the server writes goes to a log that is bounded in size.

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

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Order(TypedDict):
        """What the owner wants: `input` is written to the server's own standard input.

        `log_size` is in bytes, `grace` in seconds. `folder` gets a file `pid` with the server's
        process id, and a file `lock` that is locked as long as the supervisor runs. An `owner`
        of 0 is none: the server then runs until the supervisor is told to end (SIGTERM).
        """

        argv: list[str]
        env: dict[str, str]
        cwd: str | None
        input: str
        log: str
        log_size: int
        grace: float
        folder: str
        owner: int


LOOK = 0.25
"""Seconds between two looks at the owner and the server when neither says anything."""
CANNOT_START = 127


class BoundedLog:
    """A file of at most half of `size` bytes, and its predecessor, `<path>.1`, of as much."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.half = max(size // 2, 1)
        self.written = 0
        self.fd = self._open(os.O_APPEND)

    def _open(self, how: int) -> int:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | how, 0o600)
        os.fchmod(fd, 0o600)
        self.written = os.fstat(fd).st_size
        return fd

    def write(self, data: bytes) -> None:
        """Append `data`, moving on to a new file as often as one is full."""
        while data:
            if self.written >= self.half:
                os.close(self.fd)
                self.path.replace(f"{self.path}.1")
                self.fd = self._open(os.O_TRUNC)
            part = data[: self.half - self.written]
            done = os.write(self.fd, part)
            self.written += done
            data = data[done:]


class Supervision:
    """One server's life, from its start to the death of its process group."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.folder = Path(order["folder"])
        self.lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.log = BoundedLog(Path(order["log"]), order["log_size"])
        self.told_to_end = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)

    def _end(self, number: int, frame: object) -> None:
        self.told_to_end = True

    def run(self) -> int:
        """Return the server's exit status: 128 and the signal's number if one ended it."""
        try:
            child = self._start()
        except OSError as error:
            reason = f"cannot start {self.order['argv'][0]}: {error.strerror}\n"
            self.log.write(reason.encode())
            return CANNOT_START
        try:
            while child.poll() is None and not self._owner_gone():
                self._copy(child, LOOK, 0)
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
        )
        told = os.open(self.folder / "pid", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(told, str(child.pid).encode())
        os.close(told)
        assert child.stdin is not None
        try:
            child.stdin.write(self.order["input"].encode())
            child.stdin.close()
        except BrokenPipeError:
            self.log.write(b"the server ended before it read its settings\n")
        return child

    def _owner_gone(self) -> bool:
        if self.told_to_end or not self.order["owner"]:
            return self.told_to_end
        if os.getppid() != self.order["owner"]:
            return True
        readable, _, _ = select.select([0], [], [], 0)
        return bool(readable) and not os.read(0, 4096)

    def _copy(self, child: subprocess.Popen[bytes], seconds: float, *wake: int) -> bool:
        """Copy one piece of what the server says, waiting `seconds` for it or for `wake`."""
        assert child.stdout is not None
        sources = [*wake] if child.stdout.closed else [*wake, child.stdout.fileno()]
        readable, _, _ = select.select(sources, [], [], seconds)
        if child.stdout.closed or child.stdout.fileno() not in readable:
            return False
        said = os.read(child.stdout.fileno(), 65536)
        if said:
            self.log.write(said)
        else:
            child.stdout.close()
        return bool(said)

    def _finish(self, child: subprocess.Popen[bytes]) -> None:
        """End the whole group, also what outlived the server itself, and keep its last words."""
        self._signal(child, signal.SIGTERM)
        until = time.monotonic() + self.order["grace"]
        while child.poll() is None and time.monotonic() < until:
            self._copy(child, 0.02)
        self._signal(child, signal.SIGKILL)
        child.wait()
        for _ in range(64):
            if not self._copy(child, 0):
                break

    @staticmethod
    def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone already; macOS answers EPERM for a group of which only zombies are left.
            return


def main() -> int:
    """Read the order, and see it through."""
    with open(0, "rb", buffering=0, closefd=False) as owner:
        line = owner.readline()
    if not line:
        return 0
    order: Any = json.loads(line)
    return Supervision(order).run()


if __name__ == "__main__":
    sys.exit(main())
