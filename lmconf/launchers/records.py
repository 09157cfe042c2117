"""What is written down of running servers, for other processes of the same user to find."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from lmconf.launchers.folders import is_in_use, pid_in, servers_folder
from lmconf.launchers.logs import log_tail
from lmconf.launchers.server_protocol import StartOptions, Status

__all__ = [
    "AttachedServer",
    "ServerRecord",
    "ended_records",
    "records",
    "running_records",
    "was_ended",
    "write_record",
]

FILE = "server.json"
ENDED = "ended"


class ServerRecord(Struct, frozen=True, kw_only=True):
    """One server: nothing of it is secret, and its file can be read by its user alone.

    `birth_mark` is when the supervisor began, as the system counts: another process that was given its
    number later is not taken for it. `folder` is where its files are. While it loads its model
    there is no `url`, and perhaps no `pid` (0).
    """

    name: str
    kind: str
    model: str
    url: str
    pid: int
    supervisor: int
    born: str
    owner: int
    log: str
    launched: float
    shared: bool
    detached: bool
    fingerprint: str
    folder: str

    @classmethod
    def of(
        cls,
        manner: StartOptions,
        *,
        folder: Path,
        kind: str,
        model: str,
        url: str,
        pid: int,
        supervisor: int,
        log: str,
    ) -> ServerRecord:
        """Return the record of a server that was just started."""
        return cls(
            name=manner.name or model,
            kind=kind,
            model=model,
            url=url,
            pid=pid,
            supervisor=supervisor,
            born=birth_mark(supervisor),
            owner=0 if manner.detached else os.getpid(),
            log=log,
            launched=time.time(),
            shared=manner.shared,
            detached=manner.detached,
            fingerprint=manner.fingerprint,
            folder=str(folder),
        )

    @property
    def loads(self) -> bool:
        """Whether it was not ready when this was written."""
        return not self.url

    @property
    def runs(self) -> bool:
        """Whether that very server runs now."""
        return is_in_use(Path(self.folder)) and self.born == birth_mark(self.supervisor)

    def end(self, within: float = 15.0) -> bool:
        """Tell its supervisor to end it, and say whether it did in time."""
        until = time.monotonic() + within
        if self.runs:
            with contextlib.suppress(OSError):  # the folder, or the process, has just gone
                (Path(self.folder) / ENDED).touch(mode=0o600)
                os.kill(self.supervisor, signal.SIGTERM)
        while self.runs:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True


class AttachedServer:
    """A server that another process of this user started and shares."""

    def __init__(self, record: ServerRecord) -> None:
        self._record = record
        self._stopped = False

    def __repr__(self) -> str:
        return f"<shared server for {self.model!r} at {self.url}: {self.status()}>"

    @property
    def url(self) -> str:
        """Its origin: `http://127.0.0.1:40123`."""
        return self._record.url

    @property
    def api_base(self) -> str:
        """Where its OpenAI-compatible routes begin."""
        return f"{self.url}/v1"

    @property
    def model(self) -> str:
        """The name under which it serves the model."""
        return self._record.model

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._record.pid

    @property
    def log(self) -> Path:
        """The file that holds the latest of what it wrote."""
        return Path(self._record.log)

    def logs(self, lines: int = 25) -> str:
        """Return the last lines that it wrote, without anything that looks to be secret."""
        return log_tail(self.log, (), lines)

    def status(self) -> Status:
        """Say whether it is running now."""
        if self._stopped:
            return "stopped"
        return "running" if self._record.runs else "died"

    def stop(self) -> None:
        """End it for everybody who uses it."""
        self._stopped = True
        self._record.end()


def was_ended(folder: Path) -> bool:
    """Say whether another process told the server in `folder` to end."""
    return (folder / ENDED).exists()


def write_record(folder: Path, record: ServerRecord) -> None:
    """Keep `record` in the folder of its server."""
    partial = folder / f"{FILE}.partial"
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(record))
    partial.replace(folder / FILE)


def records() -> Iterator[ServerRecord]:
    """Yield every record in the state folder, those of ended servers too, the latest first."""
    folder = servers_folder()
    result = []
    try:
        folders = list(folder.iterdir())
    except OSError:
        return
    for each in folders:
        try:
            # Whoever else could write here could have lmconf end processes, or send it prompts.
            if each.is_symlink() or each.stat().st_uid != os.getuid():
                continue
            record = msgspec.json.decode((each / FILE).read_bytes(), type=ServerRecord)
        except (OSError, msgspec.MsgspecError):
            continue
        if not record.pid:
            record = msgspec.structs.replace(record, pid=pid_in(each))  # it was just being started
        result.append(record)
    yield from sorted(result, key=lambda record: -record.launched)


def running_records() -> list[ServerRecord]:
    """Return the records of the servers that run now, the latest first."""
    return [record for record in records() if record.runs]


def ended_records() -> list[ServerRecord]:
    """Return the records of servers that ended and whose log is still there."""
    return [record for record in records() if not record.runs and Path(record.log).exists()]


def birth_mark(pid: int) -> str:
    """Return what tells the process `pid` from any other that had or will have its number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        pass
    else:
        # The name of the program, in brackets, may hold anything.
        return f"{boot} {stat.rpartition(')')[2].split()[19]}"
    if Path("/proc/self").exists():
        return ""
    process = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return process.stdout.strip()
