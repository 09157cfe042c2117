"""Removing jobs that have ended, and what removals that were cut short left."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

from lmconf.errors import TrainError
from lmconf.trainers.jobs import JobFolder, JobRecord, jobs_folder
from lmconf.trainers.trainer_protocol import FINAL

__all__ = ["bytes_in", "has_weights", "hindrance", "leftovers", "prospect", "remove"]

UNFINISHED = 3600.0
"""Seconds after which a folder without a record is one that nobody fills any more."""


def has_weights(job: JobFolder, record: JobRecord) -> bool:
    """Say whether the job's folder holds the weights of an LM."""
    return record.status == "succeeded" and (job.path / "output").exists()


def prospect(job: JobFolder, record: JobRecord) -> str:
    """Return what may still become of a job that has ended; "" where nothing will."""
    checkpoints = job.path / "checkpoints"
    if record.status == "failed" and checkpoints.is_dir() and any(checkpoints.iterdir()):
        return "it can be resumed"
    if record.status == "succeeded" and record.save is not None and not record.saved:
        profile, name = record.save
        return f"it waits for `lmconf jobs wait {job.id[-6:]}` to declare `{name}` in {profile}"
    return ""


def hindrance(job: JobFolder, record: JobRecord) -> str:
    """Return why the job is still needed, whoever asks for its removal; "" where it is not."""
    if record.status not in FINAL:
        return f"it is {record.status}"
    if record.save is None or not record.saved or not has_weights(job, record):
        return ""
    profile, name = record.save
    if str(job.path) in _text(Path(profile)):
        return f"{profile} declares its weights: take `{name}` out of it first"
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def bytes_in(folder: Path) -> int:
    """Return how much disk space `folder` takes; what vanishes meanwhile takes none."""
    return sum(_blocks(Path(root) / name) for root, _, names in os.walk(folder) for name in names)


def _blocks(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0


def remove(job: JobFolder) -> None:
    """Remove a job that has ended, with all that its folder holds.

    No process sees half of it: it vanishes as a whole, and is deleted after that.

    Raises:
        TrainError: it has not ended, is needed, or cannot be removed.
    """
    with job.turn() as mine:
        if not mine:
            raise TrainError(f"the job {job.id} is in use by another process")
        reason = hindrance(job, job.read())
        if reason:
            raise TrainError(f"the job {job.id} was kept: {reason}")
        trash = job.path.with_name(f".{job.id}.{secrets.token_hex(4)}")
        problem: str | None = None
        try:
            job.path.rename(trash)
            shutil.rmtree(trash)
        except OSError as error:
            problem = error.strerror or type(error).__name__
    if problem is not None:
        raise TrainError(f"the job {job.id} cannot be removed: {problem.lower()}")


def leftovers() -> list[Path]:
    """Return the folders that are no job any more, or never became one."""
    result = []
    try:
        folders = [path for path in jobs_folder().iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
    for path in folders:
        is_unfinished = not (path / "job.json").exists() and _age(path) > UNFINISHED
        if path.name.startswith(".") or is_unfinished:
            result.append(path)
    return sorted(result)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
