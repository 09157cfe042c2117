"""What `lmconf train` and `lmconf jobs` share: following a job to its end, and declaring its LM."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmconf.cli.terminal import fit, say, tell

if TYPE_CHECKING:
    from lmconf.runtime.training import TrainingJob

__all__ = ["FAILED", "conclude", "follow", "progress_of"]

FAILED = 5
"""The exit code where a training failed or was cancelled."""

LOOK = 0.3


def follow(job: TrainingJob, *, show: bool) -> None:
    """Wait until `job` has ended; with `show`, print its log and progress meanwhile.

    Ctrl-C ends the waiting and not the job.
    """
    shown = 0
    last = ""
    try:
        while True:
            ended = job.done()
            if show:
                log = job.log()
                for line in log[shown:].splitlines():
                    tell(fit(line))
                shown = len(log)
                now = progress_of(job.progress)
                if now and now != last and not log:
                    tell(fit(now))
                last = now
            if ended:
                return
            if job.trouble is not None:
                tell(fit(f"waiting: {job.trouble}"))
                time.sleep(2)
            time.sleep(LOOK)
    except KeyboardInterrupt:
        tell(
            f"the job goes on: `lmconf jobs wait {job.id}` waits for it, `lmconf jobs cancel` ends it"
        )
        raise


def conclude(ctx: click.Context, job: TrainingJob) -> None:
    """Tell how `job` ended, and declare its LM where that was asked for; exit 5 if it failed."""
    record = job.record
    if record.status != "succeeded":
        why = f": {record.error}" if record.error else ""
        tell(fit(f"error: the training {job.id} {record.status}{why}"))
        ctx.exit(FAILED)
    trained = job.result()
    say(f"{job.id} succeeded: {trained.model}")
    if record.save is None or record.saved:
        from lmconf.loading.saving import dumps

        say(dumps(trained, "minimal"), newline=False)
        return
    from lmconf.loading.declaring import Undeclared, declare

    profile, name = record.save
    try:
        declare(Path(profile), name, trained)
    except (Undeclared, OSError) as error:
        from lmconf.loading.declaring import entry_of

        tell(fit(f"error: {error}"))
        tell("add this under `lms:` by hand:")
        say(entry_of(trained, name), newline=False)
        ctx.exit(1)
    job.note_saved()
    say(f"declared as `{name}` in {profile}")


def progress_of(progress: Mapping[str, Any]) -> str:
    """Return what is told of a job's progress, on one line."""
    told = []
    if "step" in progress:
        told.append(f"step {progress['step']} of {progress.get('steps', '?')}")
    if isinstance(progress.get("loss"), float):
        told.append(f"loss {progress['loss']:.4f}")
    told += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in progress.items()
        if name in ("stage", "trained_tokens")
    ]
    return ", ".join(told)
