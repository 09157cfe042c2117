"""Runs one training apart from whoever asked for it, and says in the job's folder how it ended.

The owner starts this file by its path with the standard library alone and writes one JSON line to
its standard input (see `Order`); the line holds what is secret, which neither a file nor an
argument may. It then leaves the owner for good. `watch` in the folder stays locked as long as it
runs, and `running` as long as anything of the training does: locks end with their processes,
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

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Order(TypedDict):
        """What is to be run: `input` is written to its standard input.

        `hidden` never gets into the log. `timeout` and `grace` are in seconds, `log_size` in
        bytes. `partial` is the folder that is removed unless the training ends well.
        """

        argv: list[str]
        env: dict[str, str]
        input: str
        folder: str
        cwd: str
        partial: str
        hidden: list[str]
        timeout: float | None
        grace: float
        log_size: int


LOOK = 0.25
LINE = 65536


class Log:
    """The job's log, bounded: when it is full, what follows is left out."""

    def __init__(self, path: Path, size: int, hidden: list[str]) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.left = size
        self.hidden = [text.encode() for text in hidden if text]
        self.line = b""

    def write(self, data: bytes) -> None:
        """Append the whole lines of `data`, without what is hidden."""
        self.line += data
        whole, end, rest = self.line.rpartition(b"\n")
        if not end and len(rest) > LINE:
            whole, end, rest = rest, b"\n", b""
        self.line = rest
        self._append(whole + end)

    def close(self) -> None:
        """Append what is left of the last line."""
        if self.line:
            self._append(self.line + b"\n")
            self.line = b""

    def _append(self, text: bytes) -> None:
        for secret in self.hidden:
            text = text.replace(secret, b"***")
        if text and self.left > 0:
            try:
                self.left -= os.write(self.fd, text[: self.left])
            except OSError:
                self.left = 0  # a full disk: the training itself goes on as it can


class Supervision:
    """One training's life."""

    def __init__(self, order: Order, watch: int) -> None:
        self.order = order
        self.folder = Path(order["folder"])
        self.watch = watch
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
            )
        except OSError as error:
            reason = f"{self.order['argv'][0]} cannot be started: {(error.strerror or '').lower()}"
            self._write_down({"error": reason})
            return
        os.close(running)
        (self.folder / "pid").write_text(str(child.pid), "ascii")
        self._write_down(self._seen_through(child))

    def _seen_through(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert child.stdin is not None
        try:
            child.stdin.write(self.order["input"].encode())
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
            if self.told_to_end or (self.folder / "cancel").exists():
                why = "cancelled"
            elif until is not None and time.monotonic() > until:
                why = "timeout"
            if why:
                break
        self._finish(child)
        return {"code": child.returncode, "why": why}

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
        while self._copy(child, 0):
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
        if ended.get("code") != 0 or ended.get("why"):
            shutil.rmtree(self.order["partial"], ignore_errors=True)
        beside = self.folder / ".ended"
        beside.write_text(json.dumps(ended), "utf-8")
        beside.replace(self.folder / "ended.json")


def main() -> int:
    """Read the order, leave the owner, and see the order through."""
    line = sys.stdin.buffer.readline()
    if not line:
        return 1
    order: Any = json.loads(line)
    os.umask(0o077)
    watch = os.open(Path(order["folder"]) / "watch", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(watch, fcntl.LOCK_EX)
    if os.fork():
        # The owner waits for this process alone; the lock goes on in the other.
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    Supervision(order, watch).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
