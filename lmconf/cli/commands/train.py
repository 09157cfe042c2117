"""`lmconf train`: a job that fine-tunes an LM."""

from __future__ import annotations

import os
from pathlib import Path

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.options import name_argument, not_empty
from lmconf.cli.profile_options import Choose, profile_options
from lmconf.cli.terminal import say

__all__ = ["command"]


@make_command(
    "train",
    (
        ("lmconf train support:gpt data.jsonl --follow", "wait for its end"),
        ("lmconf train support:gpt data.jsonl --save-as ours", "declare the trained LM"),
        ("lmconf train demo data.jsonl --set train_kwargs.n_epochs=5", ""),
    ),
)
@name_argument(required=True)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["chat", "completion", "preference"]),
    help="The format of the rows; detected from the first row by default.",
)
@click.option("--follow", is_flag=True, help="Wait for the end, and show the progress.")
@click.option(
    "--save-as",
    metavar="NAME",
    callback=not_empty,
    help="Declare the trained LM under this name in the profile's file, once it is there.",
)
@profile_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    name: str,
    data: Path,
    form: str | None,
    follow: bool,
    save_as: str | None,
    choose: Choose,
) -> None:
    """Fine-tune an LM on the rows in DATA, a JSONL file, and print the job's name.

    The data is checked first, and every invalid line is reported. The job continues when this
    command ends: `lmconf jobs` manages it, and `lmconf jobs wait` declares the LM as --save-as
    states. The exit code is 5 if a job that the command follows fails.
    """
    from lmconf.cli.job_follow import conclude
    from lmconf.cli.job_follow import follow as followed
    from lmconf.loader.add_lm import CannotAddLM, check_can_add
    from lmconf.loader.discovery import find_profile
    from lmconf.runtime import LM

    selection = choose(one_lm=True)
    compiled = selection.compiled
    lm = LM.of(compiled)
    profile = None
    if save_as is not None:
        # Better said now than after hours; the trained LM is one like this.
        profile = find_profile(selection.profile_name, os.environ).resolve()
        try:
            check_can_add(profile, save_as, lm)
        except CannotAddLM as error:
            message = f"--save-as: {error}. Without it the trained LM is printed."
            raise click.UsageError(message) from None
    job = lm.finetune(data, form)
    if save_as is not None and profile is not None:
        job.save_as(str(profile), save_as)
    if not follow:
        job.wait_until_begun()
        say(job.id)
        if job.record.status == "failed":
            conclude(ctx, job)
        return
    followed(job, show=True)
    conclude(ctx, job)
