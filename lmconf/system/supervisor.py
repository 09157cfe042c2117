"""The program that runs one server or one training, and ends it with everything it started.

It is started by this file's path, with the standard library alone, and reads one JSON line (see
`Order`) from its standard input: arguments are public on a machine, and the line holds secrets.

An **attached** supervisor (`owner` is set) watches its owner, which keeps the writing end of that
pipe open. End-of-file there, which the kernel brings about however the owner ends, or another
parent process, which tells even when a fork of the owner holds the pipe open, ends the child's
process group: first politely, and soon by force. An owner that writes the line `STAY` lets go of
the child, which then runs until the supervisor receives SIGTERM.

A **detached** supervisor (`owner` is None) leaves its owner at once. A file that the owner passed on
with a lock stays open, and locked, as long as it runs. The file `cancel` or `timeout` ends the
child, and `report` says how it ended.
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
    from lmconf.secrets.masks import Redactor, last_of
else:  # this file is run by its path: there is no package around it
    from importlib.util import module_from_spec, spec_from_file_location

    _spec = spec_from_file_location("masks", Path(__file__).parents[1] / "secrets" / "masks.py")
    _module = module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    Redactor, last_of = _module.Redactor, _module.last_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypedDict

    class Order(TypedDict):
        """What is to be run, and how. Paths are absolute; times are in seconds, sizes in bytes.

        `input` is written to the child's standard input, which is closed then unless `keep_stdin`:
        its end tells the child that this supervisor is gone. The log holds `***` for each text in
        `hidden`; when it is full, it is moved to `<log>.1` if `log_rotates`, and what follows is
        left out otherwise. `pid_file` gets the child's process id. `lock` is locked as long as the
        supervisor runs, and `child_lock` as long as anything of the child does. `grace` is how long
        the child may take to end. `exit_file` is made by the owner, as large as what is written
        there may be, because a full disk has no room for it later; it is moved to `report` when it
        is whole. `remove_on_success` and `remove_on_failure` are folders.
        """

        argv: list[str]
        env: dict[str, str]
        cwd: str | None
        input: str
        keep_stdin: bool
        log: str
        log_size: int
        log_rotates: bool
        hidden: list[str]
        pid_file: str
        lock: str | None
        child_lock: str | None
        grace: float
        owner: int | None
        timeout: float | None
        cancel: str | None
        exit_file: str | None
        report: str | None
        remove_on_success: list[str]
        remove_on_failure: list[str]


STAY = b"stay\n"
"""What an owner writes that lets go of its server."""

CHUNK = 65536
TAIL = 2048
"""How many of the last bytes of the output are reported: the log may be full, or the disk."""

_INTERVAL = 0.25  # seconds between two looks at the owner and the child, when neither says anything
_ORPHAN_GRACE = 1.0  # the most seconds for a child whose owner is gone: nobody waits for it
_LAST_CHUNKS = 64  # of what is left in the pipe, or of one who writes on outside of the group
_CANNOT_START = 127
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def supervisor_argv() -> list[str]:
    """Return the command that runs this file: without site packages, the environment or the cwd."""
    return [sys.executable, "-I", "-S", str(Path(__file__))]


class BoundedLog:
    """A log of at most `size` bytes, without what is `hidden`; `tail` is the end of the output.

    One that `rotates` consists of a file and its predecessor, `<path>.1`, each of half the size.
    What it cannot write is lost: a full disk or a folder that was removed ends no child.
    """

    def __init__(
        self, path: Path, size: int, hidden: Iterable[str] = (), *, rotates: bool = True
    ) -> None:
        self.tail = b""
        self._path = path
        self._rotates = rotates
        self._limit = max(size // 2, 1) if rotates else size
        self._redactor = Redactor(map(os.fsencode, hidden))
        self._fd = -1
        self._open(os.O_APPEND)
        # A training that goes on has a log from before, and its own room beside that.
        self._room = self._limit - (os.fstat(self._fd).st_size if rotates else 0)

    def write(self, data: bytes) -> None:
        """Append `data`; what may be the beginning of a secret waits for what follows."""
        self._append(self._redactor(data))

    def close(self) -> None:
        """Append what still waits, and end the last line."""
        self._append(self._redactor.end())
        if self.tail and not self.tail.endswith(b"\n"):
            self._append(b"\n")

    def _append(self, text: bytes) -> None:
        self.tail = last_of(self.tail + text, TAIL)
        try:
            self._store(text)
        except OSError:
            return

    def _store(self, text: bytes) -> None:
        while text:
            if self._room <= 0:
                if not self._rotates:
                    return
                self._path.replace(f"{self._path}.1")
                self._open(os.O_TRUNC)
                self._room = self._limit
            written = os.write(self._fd, text[: self._room])
            self._room -= written
            text = text[written:]

    def _open(self, flag: int) -> None:
        previous = self._fd
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
        os.fchmod(self._fd, 0o600)
        if previous >= 0:
            os.close(previous)


class Supervisor:
    """The life of one child, from its start to the death of its process group."""

    def __init__(self, order: Order) -> None:
        self.order = order
        if order["lock"]:
            _lock(order["lock"])
        self.log = BoundedLog(
            Path(order["log"]), order["log_size"], order["hidden"], rotates=order["log_rotates"]
        )
        self.attached = order["owner"] is not None
        self.signalled = False
        timeout = order["timeout"]
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.wakeup, wake = os.pipe()
        for end in (self.wakeup, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._handle_signal)
        if not self.attached:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _handle_signal(self, number: int, frame: object) -> None:
        self.signalled = self.signalled or number != signal.SIGCHLD

    def run(self) -> int:
        """Return the child's exit status: 128 and the signal's number if one ended it."""
        try:
            child = self._start()
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "strerror", None) or "its process id cannot be written down"
            reason = f"cannot start {self.order['argv'][0]}: {why}"
            self.log.write(f"{reason}\n".encode())
            self.log.close()
            self._report({"error": reason})
            return _CANNOT_START
        reason = ""
        try:
            self._feed(child)
            while child.poll() is None and not reason:
                self._copy_output(child, _INTERVAL)
                reason = self._reason_to_end()
        finally:
            self._finish(child, reason)
        tail = self.log.tail.decode("utf-8", "replace")
        self._report({"code": child.returncode, "why": reason, "tail": tail})
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _start(self) -> subprocess.Popen[bytes]:
        child_lock = self.order["child_lock"]
        inherited = [_lock(child_lock)] if child_lock else []
        try:
            return subprocess.Popen(
                self.order["argv"],
                env=self.order["env"],
                cwd=self.order["cwd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherited,
                preexec_fn=self._child_setup(),  # noqa: PLW1509 - there is one thread here
            )
        finally:
            for fd in inherited:
                os.close(fd)

    def _child_setup(self) -> Callable[[], None]:
        """Return what the new process does before it is the child: note whom to end, and when.

        Where the owner does not outlive its child, Linux ends that politely should this process be
        killed (it looks at the thread that starts the process, and here there is only one). A
        detached child must live until its group is ended: it alone holds `child_lock`.
        """
        path = self.order["pid_file"]
        prctl: Callable[..., object] | None = None
        if sys.platform == "linux" and self.attached:
            import ctypes

            prctl = ctypes.CDLL(None, use_errno=True).prctl

        def set_up() -> None:
            if prctl is not None:
                prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(fd, str(os.getpid()).encode("ascii"))
            os.close(fd)

        return set_up

    def _feed(self, child: subprocess.Popen[bytes]) -> None:
        """Write its settings to the child."""
        assert child.stdin is not None
        try:
            child.stdin.write(os.fsencode(self.order["input"]))
            child.stdin.flush()
            if not self.order["keep_stdin"]:
                child.stdin.close()
        except BrokenPipeError:
            self.log.write(b"it ended before it read its settings\n")

    def _reason_to_end(self) -> str:
        """Return why the child is to end; an empty text while it is not."""
        cancel = self.order["cancel"]
        if cancel and os.path.exists(cancel):  # noqa: PTH110 - looked at often
            return "cancelled"
        if self.signalled:
            return "interrupted"
        if self.deadline is not None and time.monotonic() > self.deadline:
            return "timeout"
        return "orphaned" if self._owner_is_gone() else ""

    def _owner_is_gone(self) -> bool:
        if not self.attached:
            return False
        # What it wrote comes first: it may be gone since.
        gone = os.getppid() != self.order["owner"]
        readable, _, _ = select.select([0], [], [], 0)
        if not readable:
            return gone
        line = os.read(0, len(STAY))
        self.attached = line != STAY
        return self.attached and (gone or not line)

    def _copy_output(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        """Copy one chunk of output, waiting `seconds` for it, a signal or the owner.

        Returns:
            Whether there was one.
        """
        assert child.stdout is not None
        sources = [self.wakeup]
        if not child.stdout.closed:
            sources.append(child.stdout.fileno())
        if self.attached:  # a pipe that was let go of could always be read
            sources.append(0)
        readable, _, _ = select.select(sources, [], [], seconds)
        if self.wakeup in readable:
            os.read(self.wakeup, 64)
        if child.stdout.closed or child.stdout.fileno() not in readable:
            return False
        chunk = os.read(child.stdout.fileno(), CHUNK)
        if chunk:
            self.log.write(chunk)
        else:
            child.stdout.close()
        return bool(chunk)

    def _finish(self, child: subprocess.Popen[bytes], reason: str) -> None:
        """End the whole group, also what outlived the child itself, and log its last words."""
        self.attached = False
        _signal_group(child, signal.SIGTERM)
        grace = self.order["grace"]
        until = time.monotonic() + (min(grace, _ORPHAN_GRACE) if reason == "orphaned" else grace)
        while child.poll() is None and time.monotonic() < until:
            self._copy_output(child, 0.02)
        _signal_group(child, signal.SIGKILL)
        child.wait()
        for _ in range(_LAST_CHUNKS):
            if not self._copy_output(child, 0):
                break
        self.log.close()

    def _report(self, exit_data: dict[str, Any]) -> None:
        """Write down how the child ended, for an owner that comes later."""
        succeeded = exit_data.get("code") == 0 and not exit_data.get("why")
        if not succeeded:
            _remove_folders(self.order["remove_on_failure"])
        if self.order["exit_file"] and self.order["report"]:
            exit_file = Path(self.order["exit_file"])
            with exit_file.open("r+b") as file:
                file.write(fit_exit(exit_data, os.fstat(file.fileno()).st_size))
                file.flush()
                os.fsync(file.fileno())
            exit_file.replace(self.order["report"])
        if succeeded:
            _remove_folders(self.order["remove_on_success"])


def fit_exit(exit_data: dict[str, Any], size: int) -> bytes:
    """Return `exit_data` as JSON of `size` bytes, with less of the tail where that is too much."""
    text = json.dumps(exit_data).encode()
    while len(text) > size and exit_data.get("tail"):
        tail = exit_data["tail"].encode()
        shorter = last_of(tail, len(tail) // 2).decode("utf-8", "replace")
        exit_data = {**exit_data, "tail": shorter}
        text = json.dumps(exit_data).encode()
    return text.ljust(size)


def _lock(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        # Gone already; macOS answers EPERM for a group of which only zombies are left.
        return


def _remove_folders(folders: list[str]) -> None:
    if not folders:
        return
    import shutil  # it brings in what unpacks archives, and most children leave nothing to remove

    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _detach() -> None:
    """Leave the owner for good; it waits for the first process alone."""
    os.umask(0o077)
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)


def main() -> int:
    """Read the order, and carry it out."""
    with open(0, "rb", buffering=0, closefd=False) as owner:
        line = owner.readline()
    if not line:
        return 0
    order: Any = json.loads(line)
    if order["owner"] is None:
        _detach()
    return Supervisor(order).run()


if __name__ == "__main__":
    sys.exit(main())
