"""Jobs on disk: one private folder each, written whole or not at all, read by any process.

jobs/<id>/job.json      the record: what was asked, how it is doing, what it came to
          data.jsonl    the checked rows
          validation.jsonl   those that are measured on, if there are any
          log           what a person may read of it
          output/       the trained weights, where they were made on this machine
          turn          locked by whoever moves the job on
          cancel        there when the job is to end
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import TrainError
from lmconf.secrets.masks import last_of
from lmconf.system.paths import state_folder
from lmconf.trainers.trainer_protocol import DATA, VALIDATION, Format, Status, TrainingResult

__all__ = ["JobFolder", "JobRecord", "all_jobs", "create", "discard_unbegun", "find", "jobs_folder"]


class JobRecord(Struct, frozen=True, kw_only=True):
    """What is kept of a job. No secret is in it: `state` is an LM's state, with references.

    Times are seconds since 1970. `kept` is the trainer's own. `save` says where the trained LM is
    to be declared: the profile's file and the LM's name.
    """

    id: str
    kind: str
    lm: str
    model: str
    format: Format
    rows: int
    digest: str
    state: dict[str, Any]
    created: float
    version: int = 1
    status: Status = "queued"
    progress: dict[str, Any] = {}
    error: str = ""
    made: TrainingResult | None = None
    kept: dict[str, str] = {}
    save: tuple[str, str] | None = None
    saved: bool = False
    updated: float = 0.0
    ended: float | None = None


class JobFolder:
    """The folder of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The job's name: that of its folder."""
        return self.path.name

    def read(self) -> JobRecord:
        """Return the record as it is now.

        Raises:
            TrainError: it is not there, or is no record.
        """
        reason = ""
        try:
            return msgspec.json.decode((self.path / "job.json").read_bytes(), type=JobRecord)
        except FileNotFoundError:
            reason = f"there is no job {self.id!r}"
        except OSError as error:
            reason = f"the job {self.id!r} cannot be read: {error.strerror}"
        except (msgspec.DecodeError, UnicodeError):
            reason = f"the record of the job {self.id!r} is damaged: {self.path / 'job.json'}"
        raise TrainError(reason)

    def write(self, record: JobRecord) -> None:
        """Replace the record; a failure leaves the one before.

        Raises:
            TrainError: it cannot be written.
        """
        _write(self.path / "job.json", msgspec.json.format(msgspec.json.encode(record)))

    @contextlib.contextmanager
    def turn(self, *, wait: bool = False) -> Iterator[bool]:
        """Hold the right to move the job on; False where another process or thread has it."""
        fd = self._turn()
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def _turn(self) -> int:
        try:
            return os.open(self.path / "turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            reason = error.strerror
        raise TrainError(f"the job {self.id!r} cannot be looked after: {reason}")

    def ask_to_cancel(self) -> None:
        """Leave a note that the job is to end, for whoever moves it on next."""
        _write(self.path / "cancel", b"")

    def forget_to_cancel(self) -> None:
        """Take back what `ask_to_cancel` left."""
        (self.path / "cancel").unlink(missing_ok=True)

    def see_that_data_is(self, digest: str) -> None:
        """See that the rows are those that the job was begun with.

        Raises:
            TrainError: they are not.
        """
        problem = "is not what it was begun with"
        try:
            if _digest((self.path / DATA).read_bytes()) == digest:
                return
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        raise TrainError(f"the data of the job {self.id} {problem}: {self.path / DATA}")

    @property
    def is_to_end(self) -> bool:
        """Whether someone asked for the job's end."""
        return (self.path / "cancel").exists()

    def log_text(self, most: int = 65536) -> str:
        """Return the end of the log."""
        try:
            with (self.path / "log").open("rb") as file:
                # One byte more tells whether a word begins with the first.
                file.seek(max(file.seek(0, os.SEEK_END) - most - 1, 0))
                return last_of(file.read(), most).decode("utf-8", "replace")
        except OSError:
            return ""


def jobs_folder() -> Path:
    """Return the folder of all jobs, whether it is there or not."""
    return state_folder() / "jobs"


Rows = Sequence[Mapping[str, Any]]


def create(record: JobRecord, rows: Rows, validation: Rows = ()) -> JobFolder:
    """Return the new folder of a job with its data; `record` gets its id and the data's digest.

    Raises:
        TrainError: it cannot be written (a full disk, no permission); nothing is left of it.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(record.created))}-{secrets.token_hex(3)}"
    path = jobs_folder() / name
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except OSError as error:
        reason = error.strerror
    else:
        return _fill_folder(JobFolder(path), record, rows, validation)
    raise TrainError(
        f"the job's folder {path} cannot be made: {reason}; `LMCONF_STATE_DIR` names another place"
    )


def _fill_folder(job: JobFolder, record: JobRecord, rows: Rows, validation: Rows) -> JobFolder:
    problem: str | None = None
    try:
        text = _text(rows)
        _write(job.path / DATA, text)
        if validation:
            _write(job.path / VALIDATION, _text(validation))
        job.write(msgspec.structs.replace(record, id=job.id, digest=_digest(text)))
    except TrainError as error:
        problem = str(error)
    except BaseException:
        shutil.rmtree(job.path, ignore_errors=True)
        raise
    if problem is None:
        return job
    shutil.rmtree(job.path, ignore_errors=True)
    raise TrainError(problem)


def _text(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _digest(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


def discard_unbegun(path: Path) -> None:
    """Remove the job in the folder `path`, unless its record says that something was begun."""
    job = JobFolder(path)
    if not job.read().kept:
        shutil.rmtree(path, ignore_errors=True)


def all_jobs() -> list[JobFolder]:
    """Return all jobs, the oldest first."""
    try:
        # A name with a dot is one that is being removed.
        paths = [path for path in jobs_folder().iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    return [JobFolder(path) for path in sorted(paths) if (path / "job.json").is_file()]


def find(name: str) -> JobFolder:
    """Return the job `name`; the beginning of a name will do where it is the only such.

    Raises:
        TrainError: there is none, or several.
    """
    fitting = [
        job for job in all_jobs() if name and name in (job.id, job.id[: len(name)], job.id[-6:])
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise TrainError(f"several jobs begin with {name!r}: {', '.join(j.id for j in fitting)}")
    names = [each for job in all_jobs() for each in (job.id, job.id[-6:])]
    near = did_you_mean(name, names)
    hint = f"did you mean {near!r}?" if near else "`lmconf jobs list` lists all"
    raise TrainError(f"there is no job {name!r}; {hint}")


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    reason: str | None = None
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason is not None:
        beside.unlink(missing_ok=True)
        raise TrainError(f"{path} cannot be written: {reason}")
