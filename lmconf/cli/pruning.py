"""`lmconf jobs prune`: removes jobs that have ended, and says what it freed."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from lmconf.cli.command import command as make_command
from lmconf.cli.options import quantity
from lmconf.cli.terminal import fit, say, sized, tell

if TYPE_CHECKING:
    from lmconf.trainers.jobs import JobFolder, Record

__all__ = ["prune"]


class _Rule(Struct, frozen=True):
    """What the options ask for: which states, how old in seconds, and how many newest stay."""

    states: tuple[str, ...]
    age: float | None
    keep: int
    weights: bool

    def chooses(self, record: Record, now: float) -> bool:
        """Say whether a job is one of those that are asked for."""
        old = self.age is None or now - _ended(record) >= self.age
        return record.status in self.states and old

    def spares(self, job: JobFolder, record: Record) -> str:
        """Return why a job that was asked for stays all the same; "" where it goes."""
        from lmconf.trainers.pruning import has_weights, hindrance, prospect

        needed = hindrance(job, record)
        if not needed and has_weights(job, record) and not self.weights:
            return "the weights that it made are in it: --weights removes them"
        if needed or self.age is not None:
            return needed
        awaited = prospect(job, record)
        return awaited and f"{awaited}: --older removes it"


def _ended(record: Record) -> float:
    return record.ended or record.updated or record.created


@make_command(
    "prune",
    (
        ("lmconf jobs prune --dry-run", "what would go: failed and cancelled jobs"),
        ("lmconf jobs prune --older 30d --keep 5", "those that ended a month ago, the last 5 stay"),
        ("lmconf jobs prune --state succeeded --weights --older 90d", ""),
    ),
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["failed", "cancelled", "succeeded"]),
    help="Jobs that ended so; failed and cancelled ones when left out. Repeatable.",
)
@click.option("--older", metavar="AGE", help="Only those that ended so long ago, as `30d`.")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Leave the N newest of them.",
)
@click.option("--weights", is_flag=True, help="Succeeded jobs go with the weights that they made.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@click.pass_context
def prune(
    ctx: click.Context,
    *,
    states: tuple[str, ...],
    older: str | None,
    keep: int,
    weights: bool,
    dry_run: bool,
) -> None:
    """Remove jobs that have ended, with their data and logs; say what that freed.

    A job that runs is never removed, nor one whose weights the profile names that --save-as wrote
    to; what else names weights is not known: look first. One that can be resumed, or whose LM is
    still to be declared, goes only where --older is said.
    """
    from lmconf.spec.quantities import parse_duration
    from lmconf.trainers.pruning import bytes_in

    chosen = states or ("failed", "cancelled")
    if weights and "succeeded" not in chosen:
        raise click.UsageError("--weights are those of succeeded jobs: say --state succeeded, too.")
    age = None if older is None else quantity(parse_duration, older, "--older", "30d")
    going = _going(_Rule(chosen, age, keep, weights))
    freed = count = 0
    for job, record in going:
        size = bytes_in(job.path)
        if dry_run or _removed(job):
            begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
            say(fit(f"{job.id}  {record.status:9}  {begun}  {sized(size):>9}  {record.model}"))
            freed, count = freed + size, count + 1
    freed += _cleared(dry_run=dry_run)
    jobs = "job" if count == 1 else "jobs"
    would = "would be " if dry_run else ""
    say(f"{count:,} {jobs} {would}removed, {sized(freed)} {would}freed")
    if count < len(going):
        ctx.exit(1)


def _cleared(*, dry_run: bool) -> int:
    """Remove what earlier removals left; return how many bytes that frees."""
    from lmconf.trainers.pruning import bytes_in, leftovers

    freed = 0
    for path in leftovers():
        freed += bytes_in(path)
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
            freed -= bytes_in(path)
    return freed


def _going(rule: _Rule) -> list[tuple[JobFolder, Record]]:
    """Return the jobs that go, oldest first; tell which others were asked for and stay, and why."""
    from lmconf.cli.looking import look_at_all

    now = time.time()
    asked = []
    for job, record, trouble in look_at_all():
        if record is None:
            tell(fit(f"kept {job.id}: it cannot be read: {trouble}"))
        elif rule.chooses(record, now):
            asked.append((job, record))
    asked.sort(key=lambda each: _ended(each[1]))
    going = []
    for job, record in asked[: len(asked) - rule.keep if rule.keep else None]:
        why = rule.spares(job, record)
        if why:
            tell(fit(f"kept {job.id}: {why}"))
        else:
            going.append((job, record))
    return going


def _removed(job: JobFolder) -> bool:
    from lmconf.errors import TrainError
    from lmconf.trainers.pruning import remove

    try:
        remove(job)
    except TrainError as error:
        tell(fit(f"error: {error}"))
        return False
    return True
