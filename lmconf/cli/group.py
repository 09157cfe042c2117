"""The command `lmconf` itself: its commands, and what its help says of them all."""

from __future__ import annotations

import click

import lmconf
from lmconf.cli.command import LazyGroup, Listed

__all__ = ["EXIT_CODES", "group"]

COMMANDS: dict[str, Listed] = {
    "init": Listed("lmconf.cli.init", "Write a first lmconf.yaml, with help for your editor."),
    "call": Listed("lmconf.cli.call", "Send a prompt to an LM and print the answer."),
    "batch": Listed("lmconf.cli.batch", "Send a file of prompts to an LM, many at once."),
    "launch": Listed("lmconf.cli.launch", "Start the server behind an LM, and keep it running."),
    "ps": Listed("lmconf.cli.ps", "List the servers that run."),
    "logs": Listed("lmconf.cli.logs", "Print what a server writes."),
    "kill": Listed("lmconf.cli.kill", "End servers."),
    "validate": Listed("lmconf.cli.validate", "Check profiles and tell every mistake in them."),
    "show": Listed("lmconf.cli.show", "Print what a profile comes to, and where it says so."),
    "plan": Listed("lmconf.cli.plan", "Print what can happen to one call, and the worst case."),
    "list": Listed("lmconf.cli.listing", "List every profile that can be named, and its LMs."),
    "dump": Listed("lmconf.cli.dump", "Write an LM or a profile as a file that stands by itself."),
    "cache": Listed("lmconf.cli.cache", "Look after the answers that are kept."),
    "meter": Listed("lmconf.cli.meter", "Print what LMs have used and cost, and how long it took."),
    "train": Listed("lmconf.cli.train", "Fine-tune an LM on a file of rows."),
    "jobs": Listed("lmconf.cli.jobs", "Look after fine-tunings that were begun."),
    "schema": Listed("lmconf.cli.schema", "Print the JSON Schema of profiles."),
    "completion": Listed("lmconf.cli.completion", "Print the script that completes in your shell."),
}

EXIT_CODES = (
    ("0", "all is well"),
    ("1", "a profile or other input is wrong; the messages say where and how to mend it"),
    ("2", "the command line is wrong"),
    ("3", "a call to an LM failed"),
    ("4", "a local server could not be started"),
    ("5", "a training failed or was cancelled"),
    ("6", "a training goes on: the time to wait for it was over"),
    ("130", "interrupted (Ctrl-C); 143 when terminated"),
)


@click.group(
    "lmconf",
    cls=LazyGroup,
    listed=COMMANDS,
    examples=(
        ("lmconf init", "a first profile in this folder"),
        ('lmconf call lmconf "Say hello."', "ask its main LM"),
        ("lmconf validate", "check every profile of this project"),
        ("lmconf COMMAND --help", "options and examples of one command"),
    ),
    notes={
        "Exit codes": EXIT_CODES,
        "Environment": (
            ("LMCONF_PATH", "folders searched first for profiles"),
            ("LMCONF_PROFILE", "the profile that is meant when none is named"),
            ("LMCONF_CACHE", "disabled, memory or disk: overrules every profile's cache"),
            ("LMCONF_CACHE_DIR", "the folder of disk stores that name none"),
            ("LMCONF_STATE_DIR", "the folder of servers' logs, jobs and meters"),
            ("NO_COLOR", "no colour, whatever the terminal"),
        ),
    },
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(lmconf.__version__, prog_name="lmconf", message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Language models declared in YAML: check them, show them, call them.

    A NAME is a profile's name ("support"), one of its LMs ("support:gpt"), or a path to a file
    ("./support.yaml", "./support.yaml:gpt"). `lmconf list` shows what can be named here.
    """
    if ctx.invoked_subcommand is None:
        from lmconf.cli.terminal import say

        say(ctx.get_help())
