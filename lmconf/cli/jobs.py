"""`lmconf jobs`: fine-tunings that were begun, by whichever process."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lmconf.cli.command import LazyGroup, Listed
from lmconf.cli.command import command as make_command
from lmconf.cli.options import format_option, not_empty, quantity
from lmconf.cli.pruning import prune
from lmconf.cli.terminal import fit, say, tell

if TYPE_CHECKING:
    from lmconf.errors import Error
    from lmconf.trainers.jobs import JobFolder, Record

__all__ = ["command"]

_SUMMARIES = {
    "list": "List all jobs, oldest first.",
    "show": "Print what is known of one job, and the end of its log.",
    "wait": "Wait for a job's end, and declare its LM if that was asked for.",
    "cancel": "End a job.",
    "resume": "Go on with a training that was cut off.",
    "prune": "Remove jobs that have ended.",
}


class _Group(LazyGroup):
    """The commands of this file."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command `cmd_name`, or None."""
        return _COMMANDS.get(cmd_name)


@click.group(
    "jobs",
    cls=_Group,
    listed={name: Listed(__name__, text) for name, text in _SUMMARIES.items()},
    examples=(
        ("lmconf jobs list", ""),
        ("lmconf jobs show 20261120-203727-583fac", "the last part of the name will do, too"),
        ("lmconf jobs wait 583fac", ""),
        ("lmconf jobs resume 583fac", "after a restart of the machine"),
        ("lmconf jobs prune --older 30d", "failed and cancelled ones"),
    ),
    notes={},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """Look after fine-tunings that were begun with `lmconf train` or in code.

    A job is a folder among lmconf's state files ($LMCONF_STATE_DIR), which only you can read.
    """


_job = click.argument("job", metavar="JOB", callback=not_empty)
_format = format_option("text", "json", help="How to write it.")


@make_command("list", (("lmconf jobs list", ""), ("lmconf jobs list --json", "")))
@_format
def list_(*, form: str) -> None:
    """List all jobs, oldest first: name, how it is doing, when it began, the model, progress.

    How a job is doing is asked now, and is what it was where that cannot be told.
    """
    from lmconf.cli.looking import look_at_all
    from lmconf.cli.training import progress_of

    found = list(look_at_all())
    if form == "json":
        say(json.dumps([_plain(job, record, trouble) for job, record, trouble in found], indent=2))
        return
    if not found:
        tell("no training was begun yet")
    for job, record, trouble in found:
        if record is None:
            say(fit(f"{job.id}  cannot be read: {trouble}"))
            continue
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
        parts = [job.id, f"{record.status:9}", begun, record.model, progress_of(record.progress)]
        say(fit("  ".join(part for part in parts if part)))


def _plain(job: JobFolder, record: Record | None, trouble: Error | None) -> dict[str, Any]:
    """Return a job as plain data; one that cannot be read has its name and the trouble alone."""
    if record is None:
        return {"id": job.id, "trouble": fit(str(trouble))}
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return {name: plain[name] for name in plain if name != "state"}


@make_command("show", (("lmconf jobs show 583fac", ""),))
@_job
@_format
def show(*, job: str, form: str) -> None:
    """Print what is known of JOB: a name, its beginning, or its last part."""
    from lmconf.cli.training import progress_of
    from lmconf.runtime.training import job as found_job

    found = found_job(job)
    found.done()
    record = found.record
    plain = msgspec.to_builtins(record)
    if form == "json":
        say(json.dumps({**plain, "folder": str(found.folder)}, indent=2))
        return
    told = {
        "job": found.id,
        "status": record.status,
        "trainer": record.kind,
        "model": record.model,
        "data": f"{record.rows} rows, {record.format}, {record.digest}",
        "progress": progress_of(record.progress),
        "save as": " in ".join(reversed(record.save)) if record.save else "",
        "error": record.error,
        "folder": str(found.folder),
    }
    for name, value in told.items():
        if value:
            say(fit(f"{name + ':':10}{value}"))
    log = found.log()
    if log:
        say("log:")
        say(fit("\n".join(f"  {line}" for line in log.splitlines()[-15:])))


@make_command(
    "wait",
    (
        ("lmconf jobs wait 583fac", ""),
        ("lmconf jobs wait 583fac --timeout 10min", "exit code 6 where it goes on"),
        ("lmconf jobs wait 583fac --save-as ours --profile lmconf.yaml", ""),
    ),
)
@_job
@click.option("--save-as", metavar="NAME", callback=not_empty, help="Declare the LM so.")
@click.option(
    "--profile",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="The file that it is declared in.",
)
@click.option("--timeout", metavar="TIME", help="Wait so long at most, as `10min`.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing meanwhile.")
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
    """Wait for the end of JOB; print the trained LM, or declare it where --save-as said.

    The exit code is 5 where the job failed or was cancelled.
    """
    from lmconf.cli.training import GOES_ON, conclude, follow
    from lmconf.runtime.training import job as found_job
    from lmconf.spec.quantities import parse_duration

    seconds = None if timeout is None else quantity(parse_duration, timeout, "--timeout", "10min")
    if (save_as is None) != (profile is None):
        raise click.UsageError("--save-as and --profile belong together.")
    found = found_job(job)
    if save_as is not None and profile is not None:
        found.save_as(profile, save_as)
    if not follow(found, show=not quiet, timeout=seconds):
        tell(f"the job {found.id} goes on")
        ctx.exit(GOES_ON)
    conclude(ctx, found)


@make_command("cancel", (("lmconf jobs cancel 583fac", ""),))
@_job
def cancel(*, job: str) -> None:
    """End JOB, here or at its provider."""
    from lmconf.runtime.training import job as found_job

    found = found_job(job)
    ended = found.cancel()
    say(f"{found.id} cancelled" if ended else f"{found.id} had ended: {found.record.status}")


@make_command(
    "resume",
    (
        ("lmconf jobs resume 583fac", ""),
        ("lmconf jobs resume 583fac --follow", "and wait for its end"),
    ),
)
@_job
@click.option("--follow", is_flag=True, help="Wait for the end, and show how it goes.")
@click.pass_context
def resume(ctx: click.Context, *, job: str, follow: bool) -> None:
    """Go on with JOB, a training of this machine that failed, and print its name.

    It goes on after its last checkpoint, with the same data, weights, arguments and versions of
    the libraries; without a checkpoint, and with a command of your own, it is begun again. The
    exit code is 5 where it fails again.
    """
    from lmconf.cli.training import conclude
    from lmconf.cli.training import follow as followed
    from lmconf.runtime.training import job as found_job

    found = found_job(job)
    found.resume()
    if follow:
        followed(found, show=True)
    else:
        say(found.id)
    if found.done() and (follow or found.record.status == "failed"):
        conclude(ctx, found)


_COMMANDS: dict[str, click.Command] = {
    "list": list_,
    "show": show,
    "wait": wait,
    "cancel": cancel,
    "resume": resume,
    "prune": prune,
}
