"""Looking at every job there is: each as it is now, or as it was where that cannot be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmconf.errors import Error
    from lmconf.trainers.jobs import JobFolder, Record

__all__ = ["look_at_all"]


def look_at_all() -> Iterator[tuple[JobFolder, Record | None, Error | None]]:
    """Yield every job, the oldest first, with its record, or why there is none that can be read."""
    from lmconf.trainers import jobs

    for folder in jobs.every():
        yield folder, *_looked_at(folder)


def _looked_at(folder: JobFolder) -> tuple[Record | None, Error | None]:
    from lmconf.errors import Error
    from lmconf.runtime.training import TrainingJob

    try:
        job = TrainingJob(folder)
        job.done()
    except Error as error:
        return None, error
    return job.record, None
