"""Runs one training apart from whoever asked for it, and says in the job's folder how it ended.

The owner starts this file by its path with the standard library alone and writes one JSON line to
its standard input (see `Order`); the line holds what is secret, which neither a file nor an
argument may. It then leaves the owner for good. The lock of `watch`, which the owner took, stays
with it as long as it runs, and that of `running` with the training: locks end with their processes,
however those end. `cancel` in the folder, a signal, or `timeout` ends the whole process group.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from lmconf.secrets.redactor import Redactor, last_of
else:  # this file is run by its path: there is no package around it
    from importlib.util import module_from_spec, spec_from_file_location

    _spec = spec_from_file_location(
        "redactor", Path(__file__).parents[1] / "secrets" / "redactor.py"
    )
    _module = module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    Redactor, last_of = _module.Redactor, _module.last_of

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Order(TypedDict):
        """What is to be run: `input` is written to its standard input.

        `watch` is the open file with the lock. `hidden` never gets into the log. `timeout` and
        `grace` are in seconds, `log_size` in bytes. The folder `partial` is removed unless the
        training ends well, and the folder `checkpoints` if it does.
        """

        argv: list[str]
        env: dict[str, str]
        input: str
        folder: str
        cwd: str
        partial: str
        checkpoints: str
        watch: int
        hidden: list[str]
        timeout: float | None
        grace: float
        log_size: int


LOOK = 0.25
LINE = 65536
TAIL = 2048
"""How much of what was said last is written down with the end: the log may be full, or the disk."""
DRAINING = 1.0
"""Seconds that are left to what writes on after its group was ended."""


class Log:
    """The job's log, bounded: when it is full, what follows is left out. `tail` is its end."""

    def __init__(self, path: Path, size: int, hidden: list[str]) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.left = size
        self.redactor = Redactor(map(os.fsencode, hidden))
        self.tail = b""

    def write(self, data: bytes) -> None:
        """Append `data` without what is hidden."""
        self._append(self.redactor(data))

    def close(self) -> None:
        """Append what is left, and the end of the last line."""
        self._append(self.redactor.end())
        if self.tail and not self.tail.endswith(b"\n"):
            self._append(b"\n")

    def _append(self, text: bytes) -> None:
        self.tail = last_of(self.tail + text, TAIL)
        if text and self.left > 0:
            try:
                self.left -= os.write(self.fd, text[: self.left])
            except OSError:
                self.left = 0  # a full disk: the training itself goes on as it can


class TrainingSupervisor:
    """One training's life."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.folder = Path(order["folder"])
        self.log = Log(self.folder / "log", order["log_size"], order["hidden"])
        self.told_to_end = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _end(self, number: int, frame: object) -> None:
        self.told_to_end = True

    def run(self) -> None:
        """See the training through, and write down how it ended."""
        running = os.open(self.folder / "running", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(running, fcntl.LOCK_EX)
        try:
            child = subprocess.Popen(
                self.order["argv"],
                env=self.order["env"],
                cwd=self.order["cwd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(running,),
                preexec_fn=self._note_pid,  # noqa: PLW1509 - this process has one thread
            )
        except (OSError, subprocess.SubprocessError) as error:
            told = getattr(error, "strerror", None) or "its process id cannot be written down"
            reason = f"{self.order['argv'][0]} cannot be started: {told.lower()}"
            self._write_down({"error": reason})
            return
        os.close(running)
        try:
            ended = self._seen_through(child)
        except BaseException:
            self._signal(child, signal.SIGKILL)
            raise
        self._write_down(ended)

    def _note_pid(self) -> None:
        """Write down whom to end. It is the new process that does, before it is the training."""
        fd = os.open(self.folder / "pid", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, str(os.getpid()).encode("ascii"))
        os.close(fd)

    def _seen_through(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert child.stdin is not None
        try:
            child.stdin.write(os.fsencode(self.order["input"]))
            child.stdin.flush()
            if not self.order["input"]:
                child.stdin.close()  # others keep it open: its end tells them that this one died
        except BrokenPipeError:
            self.log.write(b"it ended before it read its settings\n")
        limit = self.order["timeout"]
        until = None if limit is None else time.monotonic() + limit
        why = ""
        while child.poll() is None:
            self._copy(child, LOOK)
            if (self.folder / "cancel").exists():
                why = "cancelled"
            elif self.told_to_end:
                why = "interrupted"
            elif until is not None and time.monotonic() > until:
                why = "timeout"
            if why:
                break
        self._finish(child)
        tail = self.log.tail.decode("utf-8", "replace")
        return {"code": child.returncode, "why": why, "tail": tail}

    def _copy(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        assert child.stdout is not None
        if child.stdout.closed:
            time.sleep(seconds)
            return False
        readable, _, _ = select.select([child.stdout], [], [], seconds)
        if not readable:
            return False
        said = os.read(child.stdout.fileno(), LINE)
        if said:
            self.log.write(said)
        else:
            child.stdout.close()
        return bool(said)

    def _finish(self, child: subprocess.Popen[bytes]) -> None:
        """End the whole group, also what outlived the training itself."""
        self._signal(child, signal.SIGTERM)
        until = time.monotonic() + self.order["grace"]
        while child.poll() is None and time.monotonic() < until:
            self._copy(child, 0.02)
        self._signal(child, signal.SIGKILL)
        child.wait()
        until = time.monotonic() + DRAINING
        while self._copy(child, 0) and time.monotonic() < until:
            pass
        self.log.close()

    @staticmethod
    def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone already; macOS answers EPERM for a group of which only zombies are left.
            return

    def _write_down(self, ended: dict[str, Any]) -> None:
        well = ended.get("code") == 0 and not ended.get("why")
        if not well:
            shutil.rmtree(self.order["partial"], ignore_errors=True)
        beside = self.folder / ".ended"
        # The owner took the room for it, which a full disk has no more of.
        with beside.open("r+b") as file:
            file.write(_fitting(ended, os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.folder / "ended.json")
        if well:
            shutil.rmtree(self.order["checkpoints"], ignore_errors=True)


def _fitting(ended: dict[str, Any], size: int) -> bytes:
    """Return `ended` as JSON of `size` bytes, with less of the tail where that is too much."""
    text = json.dumps(ended).encode()
    while len(text) > size and ended.get("tail"):
        tail = ended["tail"].encode()
        ended = {**ended, "tail": last_of(tail, len(tail) // 2).decode("utf-8", "replace")}
        text = json.dumps(ended).encode()
    return text.ljust(size)


def main() -> int:
    """Read the order, leave the owner, and see the order through."""
    line = sys.stdin.buffer.readline()
    if not line:
        return 1
    order: Any = json.loads(line)
    os.umask(0o077)
    if os.fork():
        # The owner waits for this process alone; its lock goes on in the other.
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    TrainingSupervisor(order).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
