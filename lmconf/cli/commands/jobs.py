"""`lmconf jobs`: fine-tunings that were begun, by whichever process."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct

from lmconf.cli.app import LazyCommand, LazyGroup
from lmconf.cli.app import command as make_command
from lmconf.cli.options import format_option, not_empty, quantity
from lmconf.cli.terminal import fit, format_bytes, say, tell

if TYPE_CHECKING:
    from lmconf.errors import Error
    from lmconf.trainers.jobs import JobFolder, JobRecord

__all__ = ["command", "prune"]


class _Rule(Struct, frozen=True):
    """What the options ask for: which states, how old in seconds, and how many newest stay."""

    states: tuple[str, ...]
    age: float | None
    keep: int
    weights: bool

    def chooses(self, record: JobRecord, now: float) -> bool:
        """Say whether a job is one of those that are asked for."""
        old = self.age is None or now - _end_time(record) >= self.age
        return record.status in self.states and old

    def spares(self, job: JobFolder, record: JobRecord) -> str:
        """Return why a job that was asked for stays all the same; "" where it goes."""
        from lmconf.trainers.removal import has_weights, hindrance, prospect

        needed = hindrance(job, record)
        if not needed and has_weights(job, record) and not self.weights:
            return "it contains trained weights: --weights removes them"
        if needed or self.age is not None:
            return needed
        reason = prospect(job, record)
        return reason and f"{reason}: --older removes it"


def _end_time(record: JobRecord) -> float:
    return record.ended or record.updated or record.created


@make_command(
    "prune",
    (
        ("lmconf jobs prune --dry-run", "what would be removed: failed and cancelled jobs"),
        (
            "lmconf jobs prune --older 30d --keep 5",
            "those that ended a month ago, except the last 5",
        ),
        ("lmconf jobs prune --state succeeded --weights --older 90d", ""),
    ),
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["failed", "cancelled", "succeeded"]),
    help="Jobs in this final state; failed and cancelled by default. Repeatable.",
)
@click.option(
    "--older", metavar="AGE", help="Only jobs that ended at least this long ago, such as `30d`."
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Keep the N newest of them.",
)
@click.option("--weights", is_flag=True, help="Remove succeeded jobs with their trained weights.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and change nothing.")
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
    """Remove finished jobs with their data and logs, and print the freed space.

    A running job is never removed, nor is one whose weights are used by the profile that --save-as
    wrote to. Other uses of the weights are not known: check first. A job that can be resumed, or
    whose LM is not declared yet, is removed only with --older.
    """
    from lmconf.system.durations import parse_duration
    from lmconf.trainers.removal import bytes_in

    statuses = states or ("failed", "cancelled")
    if weights and "succeeded" not in statuses:
        raise click.UsageError("--weights applies to succeeded jobs: add --state succeeded.")
    age = None if older is None else quantity(parse_duration, older, "--older", "30d")
    going = _select_jobs(_Rule(statuses, age, keep, weights))
    total = count = 0
    for job, record in going:
        size = bytes_in(job.path)
        if dry_run or _remove_job(job):
            start = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
            say(
                fit(
                    f"{job.id}  {record.status:9}  {start}  {format_bytes(size):>9}  {record.model}"
                )
            )
            total, count = total + size, count + 1
    total += _remove_leftovers(dry_run=dry_run)
    jobs = "job" if count == 1 else "jobs"
    would = "would be " if dry_run else ""
    say(f"{count:,} {jobs} {would}removed, {format_bytes(total)} {would}freed")
    if count < len(going):
        ctx.exit(1)


def _remove_leftovers(*, dry_run: bool) -> int:
    """Remove what earlier removals left; return how many bytes that frees."""
    from lmconf.trainers.removal import bytes_in, leftovers

    total = 0
    for path in leftovers():
        total += bytes_in(path)
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
            total -= bytes_in(path)
    return total


def _select_jobs(rule: _Rule) -> list[tuple[JobFolder, JobRecord]]:
    """Return the jobs that go, oldest first; tell which others were asked for and stay, and why."""
    from lmconf.cli.job_follow import read_all_jobs

    now = time.time()
    candidates = []
    for job, record, trouble in read_all_jobs():
        if record is None:
            tell(fit(f"kept {job.id}: it cannot be read: {trouble}"))
        elif rule.chooses(record, now):
            candidates.append((job, record))
    candidates.sort(key=lambda each: _end_time(each[1]))
    going = []
    for job, record in candidates[: len(candidates) - rule.keep if rule.keep else None]:
        why = rule.spares(job, record)
        if why:
            tell(fit(f"kept {job.id}: {why}"))
        else:
            going.append((job, record))
    return going


def _remove_job(job: JobFolder) -> bool:
    from lmconf.errors import TrainError
    from lmconf.trainers.removal import remove

    try:
        remove(job)
    except TrainError as error:
        tell(fit(f"error: {error}"))
        return False
    return True


_SUMMARIES = {
    "list": "List all jobs, oldest first.",
    "show": "Print one job and the end of its log.",
    "wait": "Wait for a job to end, and declare its LM if requested.",
    "cancel": "Cancel a job.",
    "resume": "Resume an interrupted training.",
    "prune": "Remove jobs that have ended.",
}


class _JobsGroup(LazyGroup):
    """The commands of this file."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command `cmd_name`, or None."""
        return _COMMANDS.get(cmd_name)


@click.group(
    "jobs",
    cls=_JobsGroup,
    lazy_commands={name: LazyCommand(__name__, text) for name, text in _SUMMARIES.items()},
    examples=(
        ("lmconf jobs list", ""),
        ("lmconf jobs show 20261120-203727-583fac", "the last part of the name is enough"),
        ("lmconf jobs wait 583fac", ""),
        ("lmconf jobs resume 583fac", "after a restart of the machine"),
        ("lmconf jobs prune --older 30d", "failed and cancelled ones"),
    ),
    notes={},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """Inspect and manage fine-tuning jobs that `lmconf train` or code started.

    A job is a folder among lmconf's state files ($LMCONF_STATE_DIR), which only you can read.
    """


_job = click.argument("job", metavar="JOB", callback=not_empty)
_format = format_option("text", "json", help="Output format.")


@make_command("list", (("lmconf jobs list", ""), ("lmconf jobs list --json", "")))
@_format
def list_(*, form: str) -> None:
    """List all jobs, oldest first: name, status, start, model and progress.

    The status is requested now. If that fails, the last known status is shown.
    """
    from lmconf.cli.job_follow import progress_of, read_all_jobs

    jobs = list(read_all_jobs())
    if form == "json":
        say(json.dumps([_plain(job, record, trouble) for job, record, trouble in jobs], indent=2))
        return
    if not jobs:
        tell("there are no jobs")
    for job, record, trouble in jobs:
        if record is None:
            say(fit(f"{job.id}  cannot be read: {trouble}"))
            continue
        start = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
        parts = [job.id, f"{record.status:9}", start, record.model, progress_of(record.progress)]
        say(fit("  ".join(part for part in parts if part)))


def _plain(job: JobFolder, record: JobRecord | None, trouble: Error | None) -> dict[str, Any]:
    """Return a job as plain data; one that cannot be read has its name and the trouble alone."""
    if record is None:
        return {"id": job.id, "trouble": fit(str(trouble))}
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return {name: plain[name] for name in plain if name != "state"}


@make_command("show", (("lmconf jobs show 583fac", ""),))
@_job
@_format
def show(*, job: str, form: str) -> None:
    """Print the details of JOB: a name, or the beginning or last part of one."""
    from lmconf.cli.job_follow import progress_of
    from lmconf.training.job import job as found_job

    training_job = found_job(job)
    training_job.done()
    record = training_job.record
    plain = msgspec.to_builtins(record)
    if form == "json":
        say(json.dumps({**plain, "folder": str(training_job.folder)}, indent=2))
        return
    facts = {
        "job": training_job.id,
        "status": record.status,
        "trainer": record.kind,
        "model": record.model,
        "data": f"{record.rows} rows, {record.format}, {record.digest}",
        "progress": progress_of(record.progress),
        "save as": " in ".join(reversed(record.save)) if record.save else "",
        "error": record.error,
        "folder": str(training_job.folder),
    }
    for name, value in facts.items():
        if value:
            say(fit(f"{name + ':':10}{value}"))
    log = training_job.log()
    if log:
        say("log:")
        say(fit("\n".join(f"  {line}" for line in log.splitlines()[-15:])))


@make_command(
    "wait",
    (
        ("lmconf jobs wait 583fac", ""),
        ("lmconf jobs wait 583fac --timeout 10min", "exit code 6 if it is still running"),
        ("lmconf jobs wait 583fac --save-as ours --profile lmconf.yaml", ""),
    ),
)
@_job
@click.option(
    "--save-as", metavar="NAME", callback=not_empty, help="Declare the trained LM under this name."
)
@click.option(
    "--profile",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="The profile to declare it in.",
)
@click.option("--timeout", metavar="TIME", help="Wait at most this long, such as `10min`.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing while waiting.")
@click.pass_context
def wait(
    ctx: click.Context,
    *,
    job: str,
    save_as: str | None,
    profile: str | None,
    timeout: str | None,
    quiet: bool,
) -> None:
    """Wait for the end of JOB, then print the trained LM or declare it as --save-as states.

    The exit code is 5 if the job failed or was cancelled.
    """
    from lmconf.cli.job_follow import GOES_ON, conclude, follow
    from lmconf.system.durations import parse_duration
    from lmconf.training.job import job as found_job

    seconds = None if timeout is None else quantity(parse_duration, timeout, "--timeout", "10min")
    if (save_as is None) != (profile is None):
        raise click.UsageError("--save-as and --profile must be used together.")
    training_job = found_job(job)
    if save_as is not None and profile is not None:
        training_job.save_as(profile, save_as)
    if not follow(training_job, show=not quiet, timeout=seconds):
        tell(f"the job {training_job.id} is still running")
        ctx.exit(GOES_ON)
    conclude(ctx, training_job)


@make_command("cancel", (("lmconf jobs cancel 583fac", ""),))
@_job
def cancel(*, job: str) -> None:
    """Cancel JOB, here or at its provider."""
    from lmconf.training.job import job as found_job

    training_job = found_job(job)
    is_cancelled = training_job.cancel()
    say(
        f"{training_job.id} cancelled"
        if is_cancelled
        else f"{training_job.id} has already ended: {training_job.record.status}"
    )


@make_command(
    "resume",
    (
        ("lmconf jobs resume 583fac", ""),
        ("lmconf jobs resume 583fac --follow", "and wait for its end"),
    ),
)
@_job
@click.option("--follow", is_flag=True, help="Wait for the end, and show the progress.")
@click.pass_context
def resume(ctx: click.Context, *, job: str, follow: bool) -> None:
    """Resume JOB, a failed training of this machine, and print its name.

    It continues after its last checkpoint with the same data, weights, arguments and library
    versions. Without a checkpoint, or with a command of your own, it starts again. The exit code
    is 5 if it fails again.
    """
    from lmconf.cli.job_follow import conclude
    from lmconf.cli.job_follow import follow as followed
    from lmconf.training.job import job as found_job

    training_job = found_job(job)
    training_job.resume()
    if follow:
        followed(training_job, show=True)
    else:
        say(training_job.id)
    if training_job.done() and (follow or training_job.record.status == "failed"):
        conclude(ctx, training_job)


_COMMANDS: dict[str, click.Command] = {
    "list": list_,
    "show": show,
    "wait": wait,
    "cancel": cancel,
    "resume": resume,
    "prune": prune,
}
