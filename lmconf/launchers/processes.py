"""A server that runs as a child process under a supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from lmconf.errors import LaunchError
from lmconf.launchers.exit_reasons import explain_exit
from lmconf.launchers.folders import is_in_use, pid_in
from lmconf.launchers.health import ReadinessCheck, await_ready
from lmconf.launchers.logs import LINES, log_tail
from lmconf.launchers.records import ServerRecord, was_ended
from lmconf.launchers.server_protocol import PLAIN, StartOptions, Status
from lmconf.secrets.references import Masked
from lmconf.system.fork import Mutex
from lmconf.system.supervisor import STAY

__all__ = ["ServerCommand", "ServerProcess"]


class ServerCommand(Masked, Struct, frozen=True, kw_only=True):
    """A server that can be started: everything that differs between the kinds.

    `input` is what it reads from its standard input; `find` returns its origin once it is known;
    `ready_path` answers with the list of served models, to those that show the `key` if there is
    one; with `ready_names` they must be among them (left out: the model), and with none of them
    an answer is enough. `prepare` is called with the origin once it answers, and with what tells
    why the server ended once it has; it may raise `LaunchError`. `cwd` is the folder it starts in
    (left out: the owner's). `hidden` are the secret values that neither errors, logs nor
    representations may show.
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
    prepare: Callable[[str, Callable[[], str | None]], None] | None = None

    def __repr__(self) -> str:
        return f"Command(model={self.model!r}, folder={str(self.folder)!r})"


class ServerProcess:
    """A server in its own process group, ended when it is stopped or its owner is gone.

    Only the process that started it can stop it: in a fork, `stop` does nothing.
    """

    def __init__(
        self,
        supervisor: subprocess.Popen[bytes],
        command: ServerCommand,
        log: Path,
        grace: float,
        manner: StartOptions = PLAIN,
    ) -> None:
        self._supervisor = supervisor
        self._command = command
        self._grace = grace
        self._owner = os.getpid()
        self._lock = Mutex()
        self._stopped = False
        self._log = log
        self._url = ""
        self._pid = 0
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
        self._pid = self._pid or pid_in(self._command.folder)
        if not self._pid:
            raise LaunchError(f"the server for {self.model!r} has no process id yet")
        return self._pid

    @property
    def log(self) -> Path:
        """The file that holds the latest of what it wrote."""
        return self._log

    def logs(self, lines: int = LINES) -> str:
        """Return the last lines that it wrote, without anything that is secret."""
        return log_tail(self._log, self._command.hidden, lines)

    def record(self) -> ServerRecord:
        """Return what other processes of this user may know of it now."""
        return ServerRecord.of(
            self._manner,
            folder=self._command.folder,
            kind=self._command.kind,
            model=self.model,
            url=self._url,
            pid=self._pid or pid_in(self._command.folder),
            supervisor=self._supervisor.pid,
            log=str(self._log),
        )

    def status(self) -> Status:
        """Say whether it is running now."""
        if self._stopped:
            return "stopped"
        return "died" if self._has_ended() else "running"

    def _has_ended(self) -> bool:
        if os.getpid() == self._owner:
            return self._supervisor.poll() is not None
        return not is_in_use(self._command.folder)

    def let_go(self) -> None:
        """Leave it running when this process ends; `stop` still ends it.

        Raises:
            LaunchError: it has ended meanwhile.
        """
        assert self._supervisor.stdin is not None
        try:
            self._supervisor.stdin.write(STAY)
            self._supervisor.stdin.close()
        except BrokenPipeError:
            has_ended = True
        else:
            has_ended = False
        if has_ended:
            raise LaunchError(f"the server for {self.model!r} ended as soon as it was ready")

    def stop(self) -> None:
        """End it and everything it started; nothing happens the second time."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._stopped = True
            self._end_supervisor()

    def _end_supervisor(self) -> None:
        """Tell the supervisor to end the group, and make sure that it did."""
        assert self._supervisor.stdin is not None
        self._supervisor.terminate()  # before the end of the pipe, which says that nobody waits
        with contextlib.suppress(BrokenPipeError):
            self._supervisor.stdin.close()
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
        """Return once the server lists its model and is prepared.

        Raises:
            LaunchError: see `lmconf.launchers.health.await_ready`; or preparing it failed.
        """
        names = self._command.ready_names
        url = await_ready(
            ReadinessCheck(
                names=(self.model,) if names is None else names,
                path=self._command.ready_path,
                timeout=timeout,
                interval=interval,
                find=self._command.find,
                death=self._death,
                key=self._command.key,
            )
        )
        if self._command.prepare is not None:
            self._command.prepare(url, self._death)
        self._url = url

    def _death(self) -> str | None:
        """Return why there is no server to wait for; None while there is."""
        code = self._supervisor.poll()
        if self._manner.is_unwanted() or was_ended(self._command.folder):
            return f"the server for {self.model!r} was stopped before it was ready"
        if code is None:
            return None
        if code < 0:
            return f"the supervisor of the server for {self.model!r} was ended by signal {-code}"
        how = f"by signal {code - 128}" if code > 128 else f"with status {code}"
        why = explain_exit(self.logs(4 * LINES), was_killed=code == 128 + signal.SIGKILL)
        message = f"the server for {self.model!r} ended {how} before it was ready"
        return f"{message}: {why}" if why else message
