"""What `lmconf train` and `lmconf jobs` share: following a job to its end, and declaring its LM."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmconf.cli.terminal import fit, say, tell

if TYPE_CHECKING:
    from lmconf.errors import Error
    from lmconf.trainers.jobs import JobFolder, JobRecord
    from lmconf.training.job import TrainingJob

__all__ = ["FAILED", "GOES_ON", "conclude", "follow", "progress_of", "read_all_jobs"]


def read_all_jobs() -> Iterator[tuple[JobFolder, JobRecord | None, Error | None]]:
    """Yield every job, the oldest first, with its record, or why there is none that can be read."""
    from lmconf.trainers import jobs

    for folder in jobs.all_jobs():
        yield folder, *_read_job(folder)


def _read_job(folder: JobFolder) -> tuple[JobRecord | None, Error | None]:
    from lmconf.errors import Error
    from lmconf.training.job import TrainingJob

    try:
        job = TrainingJob(folder)
        job.done()
    except Error as error:
        return None, error
    return job.record, None


FAILED = 5
"""The exit code where a training failed or was cancelled."""

GOES_ON = 6
"""The exit code where a training had not ended when the waiting did."""

LOOK = 0.3


def follow(job: TrainingJob, *, show: bool, timeout: float | None = None) -> bool:
    """Wait until `job` has ended; with `show`, print its log and progress meanwhile.

    Ctrl-C ends the waiting and not the job. False is returned where `timeout` seconds were over
    before it had ended.

    Raises:
        TrainError: nobody can tell how it is doing: a key that is refused, for instance.
    """
    until = None if timeout is None else time.monotonic() + timeout
    log, last = _Log(job.folder / "log"), ""
    try:
        while True:
            is_done = job.done()
            if show:
                for line in log.fresh():
                    tell(fit(line))
                now = progress_of(job.progress)
                if now and now != last and not log.read:
                    tell(fit(now))
                last = now
            if is_done:
                return True
            if until is not None and time.monotonic() >= until:
                return False
            _warn_of_trouble(job)
            time.sleep(LOOK)
    except KeyboardInterrupt:
        tell(
            f"the job is still running: `lmconf jobs wait {job.id}` waits for it, `lmconf jobs cancel` cancels it"
        )
        raise


def _warn_of_trouble(job: TrainingJob) -> None:
    if job.trouble is None:
        return
    from lmconf.trainers.http import TrainerUnreachable

    if not isinstance(job.trouble, TrainerUnreachable):
        raise job.trouble
    tell(fit(f"waiting: {job.trouble}"))
    time.sleep(2)


class _Log:
    """A log that is read as it grows; `read` is how many bytes of it were."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        self.rest = b""

    def fresh(self) -> list[str]:
        """Return the whole lines that were written since the last time."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.read)
                data = file.read()
        except FileNotFoundError:
            return []
        self.read += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]


def conclude(ctx: click.Context, job: TrainingJob) -> None:
    """Tell how `job` ended, and declare its LM where that was asked for; exit 5 if it failed."""
    record = job.record
    if record.status != "succeeded":
        why = f": {record.error}" if record.error else ""
        tell(fit(f"error: the training {job.id} {record.status}{why}"))
        ctx.exit(FAILED)
    lm = job.result()
    say(f"{job.id} succeeded: {lm.model}")
    if record.save is None or record.saved:
        from lmconf.loader.save import dumps

        say(dumps(lm, "minimal"), newline=False)
        return
    from lmconf.loader.add_lm import CannotAddLM, add_to_profile

    profile, name = record.save
    try:
        add_to_profile(Path(profile), name, lm)
    except (CannotAddLM, OSError) as error:
        from lmconf.loader.add_lm import entry_of

        if isinstance(error, OSError):
            message = f"{profile} cannot be written: {(error.strerror or 'unknown').lower()}"
        else:
            message = str(error)
        tell(fit(f"error: {message}"))
        tell("add this under `lms:` by hand:")
        say(entry_of(lm, name), newline=False)
        ctx.exit(1)
    job.note_saved()
    say(f"declared as `{name}` in {profile}")


def progress_of(progress: Mapping[str, Any]) -> str:
    """Return what is told of a job's progress, on one line."""
    parts = []
    if "step" in progress:
        parts.append(f"step {progress['step']} of {progress.get('steps', '?')}")
    if isinstance(progress.get("loss"), float):
        parts.append(f"loss {progress['loss']:.4f}")
    if isinstance(progress.get("validation_loss"), float):
        parts.append(f"on the validation data {progress['validation_loss']:.4f}")
    parts += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in progress.items()
        if name in ("stage", "trained_tokens")
    ]
    return ", ".join(parts)
