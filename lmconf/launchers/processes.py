"""Starts a server as a child process under a supervisor, and holds on to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from lmconf.errors import LaunchError
from lmconf.forking import Mutex
from lmconf.launchers.contract import PLAIN, Manner, Status
from lmconf.launchers.explaining import PORT_TAKEN, explanation
from lmconf.launchers.ports import check_port, reserved
from lmconf.launchers.ready import Waiting, await_ready
from lmconf.launchers.records import Record, write_record
from lmconf.launchers.specs import LaunchSpec
from lmconf.masking import mask
from lmconf.secrets import MASK, Env, File, Given, Missing, Public, resolve

__all__ = [
    "PASSED_ON",
    "Command",
    "ServerProcess",
    "environment",
    "log_tail",
    "resolved",
    "start",
    "start_listening",
]

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""What a server sees of its owner's environment; `env` in the profile adds to it."""

TAIL = 4096
"""How many bytes of the log an error shows at most."""
LINES = 25
"""How many lines of it."""


class Command(Struct, frozen=True, kw_only=True):
    """A server that can be started: everything that differs between the kinds.

    `input` is what it reads from its standard input; `find` returns its origin once it is known;
    `ready_path` answers with the list of served models, to those that show the `key` if there is
    one; with `ready_names` they must be among them (left out: the model), and with none of them
    an answer is enough. `prepare` is called with the origin once it answers, and may raise
    `LaunchError`. `cwd` is the folder it starts in (left out: the owner's). `hidden` are the secret values that neither errors nor representations may show.
    """

    argv: tuple[str, ...]
    model: str
    folder: Path
    env: Mapping[str, str]
    find: Callable[[], str | None]
    input: str = ""
    ready_path: str = "/v1/models"
    key: str = ""
    hidden: tuple[str, ...] = ()
    kind: str = ""
    cwd: str | None = None
    ready_names: tuple[str, ...] | None = None
    prepare: Callable[[str], None] | None = None

    def __repr__(self) -> str:
        return f"Command(model={self.model!r}, folder={str(self.folder)!r})"


def environment(
    spec: LaunchSpec, given: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the server's environment, and the values in it that are secret.

    Raises:
        LaunchError: a reference in `spec.env` leads nowhere.
    """
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if spec.gpus is not None:
        visible = [gpu for gpu in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        visible = visible or [str(number) for number in range(spec.gpus)]
        if len(visible) < spec.gpus:
            raise LaunchError(
                f"`gpus: {spec.gpus}` but CUDA_VISIBLE_DEVICES names only {len(visible)}"
            )
        env["CUDA_VISIBLE_DEVICES"] = ",".join(visible[: spec.gpus])
    hidden = []
    for name, value in spec.env.items():
        env[name] = resolved(value, given)
        if not isinstance(value, str | Public) and env[name]:
            hidden.append(env[name])
    return env, tuple(hidden)


def resolved(value: object, given: Mapping[str, str]) -> str:
    """Return the text that a literal or a reference stands for.

    Raises:
        LaunchError: the reference leads nowhere.
    """
    match value:
        case Public(value=public):
            return str(public)
        case Given(name=name):
            if name not in given:
                raise LaunchError(f"no value was given for {name!r}: pass it in code")
            return given[name]
        case Env() | File():
            try:
                return resolve(value)
            except Missing as missing:
                reason = str(missing)
            raise LaunchError(reason)
        case _:
            return str(value)


def log_tail(path: Path, hidden: tuple[str, ...] = (), lines: int = LINES) -> str:
    """Return the last lines of a log, without anything that is known or looks to be secret."""
    # The file may just have been begun anew, with all that matters in its predecessor.
    longest = TAIL * max(lines // LINES, 1)
    pieces = [_end_of(Path(f"{path}.1"), longest), _end_of(path, longest)]
    text = b"".join(pieces)[-longest:].decode("utf-8", "replace")
    for secret in hidden:
        text = text.replace(secret, MASK)
    return mask("\n".join(text.strip().splitlines()[-lines:])) or "(it is empty)"


def _end_of(path: Path, longest: int) -> bytes:
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(log.tell() - longest, 0))
            return log.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        return f"({path} cannot be read: {error.strerror})".encode()


class ServerProcess:
    """A server in its own process group, ended when it is stopped or its owner is gone.

    Only the process that started it can stop it: in a fork, `stop` does nothing.
    """

    def __init__(
        self,
        supervisor: subprocess.Popen[bytes],
        command: Command,
        log: Path,
        grace: float,
        manner: Manner = PLAIN,
    ) -> None:
        self._supervisor = supervisor
        self._command = command
        self._grace = grace
        self._owner = os.getpid()
        self._lock = Mutex()
        self._stopped = False
        self._log = log
        self._url = ""
        self._manner = manner

    def __repr__(self) -> str:
        return f"<server for {self.model!r} at {self._url or '?'}: {self.status()}>"

    @property
    def url(self) -> str:
        """Its origin: `http://127.0.0.1:40123`."""
        return self._url

    @property
    def api_base(self) -> str:
        """Where its OpenAI-compatible routes begin."""
        return f"{self._url}/v1"

    @property
    def model(self) -> str:
        """The name under which it serves the model."""
        return self._command.model

    @property
    def pid(self) -> int:
        """The process id of the server itself.

        Raises:
            LaunchError: it has not been started yet.
        """
        try:
            return int((self._command.folder / "pid").read_text("ascii"))
        except (OSError, ValueError):
            reason = f"the server for {self.model!r} has no process id yet"
        raise LaunchError(reason)

    @property
    def log(self) -> Path:
        """The file that holds the latest of what it wrote."""
        return self._log

    def logs(self, lines: int = LINES) -> str:
        """Return the last lines that it wrote, without anything that is secret."""
        return log_tail(self._log, self._command.hidden, lines)

    def record(self) -> Record:
        """Return what other processes of this user may know of it.

        Raises:
            LaunchError: it has not been started yet.
        """
        return Record.of(
            self._manner,
            folder=self._command.folder,
            kind=self._command.kind,
            model=self.model,
            url=self._url,
            pid=self.pid,
            supervisor=self._supervisor.pid,
            log=str(self._log),
        )

    def status(self) -> Status:
        """Say whether it is running now."""
        if self._stopped:
            return "stopped"
        return "died" if self._ended() else "running"

    def _ended(self) -> bool:
        if os.getpid() == self._owner:
            return self._supervisor.poll() is not None
        try:
            os.kill(self._supervisor.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def stop(self) -> None:
        """End it and everything it started; nothing happens the second time."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._stopped = True
            self._end_supervisor()

    def _end_supervisor(self) -> None:
        """Close the pipe, which tells the supervisor to end the group; make sure that it did."""
        assert self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._supervisor.stdin.close()
        if self._manner.detached:
            self._supervisor.terminate()  # it looks at no pipe
        try:
            self._supervisor.wait(self._grace + 10.0)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
        if self._supervisor.returncode < 0:
            self._kill_group()

    def _kill_group(self) -> None:
        """End a server whose supervisor was killed and could not do it."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError, LaunchError):
            return

    def wait_until_ready(self, timeout: float, interval: float) -> None:
        """Return once the server lists its model.

        Raises:
            LaunchError: see `lmconf.launchers.ready.await_ready`.
        """
        names = self._command.ready_names
        self._url = await_ready(
            Waiting(
                names=(self.model,) if names is None else names,
                path=self._command.ready_path,
                timeout=timeout,
                interval=interval,
                find=self._command.find,
                death=self._death,
                key=self._command.key,
            )
        )

    def _death(self) -> str | None:
        code = self._supervisor.poll()
        if code is None:
            return None
        if code < 0:
            return f"the supervisor of the server for {self.model!r} was ended by signal {-code}"
        how = f"by signal {code - 128}" if code > 128 else f"with status {code}"
        why = explanation(self.logs(), killed=code == 128 + signal.SIGKILL)
        told = f"the server for {self.model!r} ended {how} before it was ready"
        return f"{told}: {why}" if why else told


class _PortTaken(LaunchError):
    """The port that was free a moment ago no longer is."""


def start_listening(
    make: Callable[[int], Command], spec: LaunchSpec, manner: Manner = PLAIN
) -> ServerProcess:
    """Start the command that `make` returns for a port, and return it when it is ready.

    The port is that of `spec`, else a free one that nobody is given meanwhile; should a server
    not take one that is held for it, it gets another that is not.

    Raises:
        LaunchError: as `start`; or the port that `spec` states is taken.
    """
    if spec.port:
        check_port(spec.host, spec.port)
        return start(make(spec.port), spec, manner)
    reason = ""
    for attempt in range(3):
        try:
            with reserved(spec.host, hold=attempt == 0) as port:
                return start(make(port), spec, manner)
        except _PortTaken as taken:  # noqa: PERF203 - each attempt is a process
            reason = str(taken)
    raise LaunchError(reason)


def start(command: Command, spec: LaunchSpec, manner: Manner = PLAIN) -> ServerProcess:
    """Start `command` and return it when it is ready.

    Raises:
        LaunchError: it did not become ready; the message ends with the last lines of its log, and
            nothing of it is left running.
    """
    log = Path(spec.log.path).expanduser() if spec.log.path else command.folder / "server.log"
    supervisor = _supervise(command, spec, log, manner)
    server = ServerProcess(supervisor, command, log, spec.stop_grace, manner)
    if manner.told is not None:
        manner.told(log)
    reason = ""
    try:
        server.wait_until_ready(spec.ready.timeout, spec.ready.interval)
        if command.prepare is not None:
            command.prepare(server.url)
        write_record(command.folder, server.record())
    except LaunchError as error:
        server.stop()
        reason = str(error)
    except BaseException:
        server.stop()
        raise
    if reason:
        tail = log_tail(log, command.hidden)
        failure = _PortTaken if PORT_TAKEN.search(tail) else LaunchError
        raise failure(f"{reason}\nlog {log}:\n{tail}")
    return server


def _supervise(
    command: Command, spec: LaunchSpec, log: Path, manner: Manner
) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise LaunchError("a server needs a Python interpreter to watch it, and there is none")
    order = {
        "argv": command.argv,
        "env": dict(command.env),
        "cwd": command.cwd,
        "input": command.input,
        "log": str(log.absolute()),
        "log_size": spec.log.size,
        "grace": spec.stop_grace,
        "folder": str(command.folder),
        "owner": 0 if manner.detached else os.getpid(),
    }
    own_log = _private_log(log)
    try:
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py"))],
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=own_log,
            start_new_session=True,
        )
    finally:
        os.close(own_log)
    assert supervisor.stdin is not None
    try:
        supervisor.stdin.write(json.dumps(order).encode() + b"\n")
        supervisor.stdin.flush()
    except BrokenPipeError:
        # It ended at once: waiting for readiness finds that and shows its log.
        return supervisor
    return supervisor


def _private_log(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.fchmod(fd, 0o600)
    except OSError as error:
        reason = error.strerror
    else:
        return fd
    raise LaunchError(f"the log {path} cannot be written: {reason}")
