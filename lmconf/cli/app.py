"""The command `lmconf` itself: its commands, and what its help says of them all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from msgspec import Struct

import lmconf
from lmconf.cli.terminal import ColorChoice, Terminal
from lmconf.diagnostics.suggest import did_you_mean

__all__ = [
    "COMPLETE",
    "EXIT_CODES",
    "PROGRAM",
    "Command",
    "LazyCommand",
    "LazyGroup",
    "command",
    "group",
    "terminal_of",
]

PROGRAM = "lmconf"
COMPLETE = "_LMCONF_COMPLETE"
"""The variable through which a shell asks for completions (click's own name for it)."""

Example = tuple[str, str]
"""A command line, and what it does."""


def terminal_of(ctx: click.Context) -> Terminal:
    """Return the terminal of this run."""
    terminal = ctx.find_root().obj
    if not isinstance(terminal, Terminal):
        terminal = ctx.find_root().obj = Terminal()
    return terminal


def _choose_color(ctx: click.Context, _: click.Parameter, value: ColorChoice | None) -> None:
    if value is not None:
        terminal_of(ctx).color = value


def color_option() -> click.Option:
    """Return the option `--color`, which stands before a command's name or after it."""
    return click.Option(
        ["--color"],
        type=click.Choice(["auto", "always", "never"]),
        expose_value=False,
        is_eager=True,
        callback=_choose_color,
        help="Colour: auto (on a terminal, unless NO_COLOR is set), always or never.",
    )


def write_examples(formatter: click.HelpFormatter, examples: Sequence[Example]) -> None:
    """Write the section of the examples: each line as it is typed, with what it does."""
    if not examples:
        return
    width = min(max(len(line) for line, _ in examples), 44)
    with formatter.section("Examples"):
        for line, what in examples:
            formatter.write(f"  {line:<{width}}  # {what}\n" if what else f"  {line}\n")


class Command(click.Command):
    """A command whose help ends with examples; `dash` is what to tell about unknown options."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[Example] = (),
        dash: str = "",
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        self.dash = dash
        self.params.append(color_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; an unknown option may be text that begins with a dash."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if self.dash and not error.possibilities:
                raise click.UsageError(f"{error.message} {self.dash}", error.ctx) from None
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilog."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def command(
    name: str, examples: Sequence[Example], *, dash: str = ""
) -> Callable[[Callable[..., None]], Command]:
    """Return what makes a function the command `name` whose help shows `examples`."""
    return click.command(
        name,
        cls=Command,
        examples=examples,
        dash=dash,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


class LazyCommand(Struct, frozen=True):
    """A command that is not loaded yet: its module, and its line in the list of commands."""

    module: str
    summary: str


class LazyGroup(click.Group):
    """Commands that are imported when they are asked for."""

    def __init__(
        self,
        *args: Any,
        lazy_commands: Mapping[str, LazyCommand],
        examples: Sequence[Example] = (),
        notes: Mapping[str, Sequence[tuple[str, str]]],
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.lazy_commands = dict(lazy_commands)
        self.examples = tuple(examples)
        self.notes = dict(notes)
        self.params.append(color_option())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(self.lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command `cmd_name`, imported now, or None."""
        if cmd_name not in self.lazy_commands:
            return None
        command = importlib.import_module(self.lazy_commands[cmd_name].module).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begin with; a wrong name is told with a near one."""
        name = args[0]
        if (
            name not in self.lazy_commands
            and not name.startswith("-")
            and not ctx.resilient_parsing
        ):
            near = did_you_mean(name, self.lazy_commands)
            hint = (
                f"Did you mean `{near}`?"
                if near
                else f"There are: {', '.join(self.lazy_commands)}."
            )
            ctx.fail(f"There is no command `{name}`. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.summary) for name, command in self.lazy_commands.items()]
            )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the notes."""
        write_examples(formatter, self.examples)
        for heading, rows in self.notes.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


COMMANDS: dict[str, LazyCommand] = {
    "init": LazyCommand(
        "lmconf.cli.commands.init", "Write a first lmconf.yaml, with help for your editor."
    ),
    "call": LazyCommand("lmconf.cli.commands.call", "Send a prompt to an LM and print the answer."),
    "batch": LazyCommand(
        "lmconf.cli.commands.batch", "Send a file of prompts to an LM, many at once."
    ),
    "launch": LazyCommand(
        "lmconf.cli.commands.launch", "Start the server behind an LM, and keep it running."
    ),
    "ps": LazyCommand("lmconf.cli.commands.ps", "List the running servers."),
    "logs": LazyCommand("lmconf.cli.commands.logs", "Print the log of a server."),
    "kill": LazyCommand("lmconf.cli.commands.kill", "Stop servers."),
    "validate": LazyCommand(
        "lmconf.cli.commands.validate", "Check profiles and report every mistake."
    ),
    "explain": LazyCommand(
        "lmconf.cli.commands.explain", "Explain the code of a diagnostic, and how to fix it."
    ),
    "show": LazyCommand(
        "lmconf.cli.commands.show", "Print a resolved profile, and where each value is set."
    ),
    "plan": LazyCommand(
        "lmconf.cli.commands.plan", "Print the attempts and waits of one call, and the worst case."
    ),
    "list": LazyCommand("lmconf.cli.commands.list", "List all profiles and their LMs."),
    "dump": LazyCommand(
        "lmconf.cli.commands.dump", "Write an LM or a profile as a self-contained file."
    ),
    "cache": LazyCommand("lmconf.cli.commands.cache", "Inspect and manage cached answers."),
    "meter": LazyCommand("lmconf.cli.commands.meter", "Print the usage, cost and latency of LMs."),
    "train": LazyCommand("lmconf.cli.commands.train", "Fine-tune an LM on a file of rows."),
    "jobs": LazyCommand("lmconf.cli.commands.jobs", "Inspect and manage fine-tuning jobs."),
    "schema": LazyCommand("lmconf.cli.commands.schema", "Print the JSON Schema of profiles."),
    "completion": LazyCommand(
        "lmconf.cli.commands.completion", "Print the shell completion script."
    ),
}

EXIT_CODES = (
    ("0", "success"),
    ("1", "a profile or other input is wrong; the messages say where and how to fix it"),
    ("2", "the command line is wrong"),
    ("3", "a call to an LM failed"),
    ("4", "a local server could not be started"),
    ("5", "a training failed or was cancelled"),
    ("6", "the training is still running after `--timeout`"),
    ("130", "interrupted (Ctrl-C); 143 when terminated"),
)


@click.group(
    "lmconf",
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    examples=(
        ("lmconf init", "a first profile in this folder"),
        ('lmconf call lmconf "Say hello."', "call its main LM"),
        ("lmconf validate", "check every profile of this project"),
        ("lmconf COMMAND --help", "options and examples of one command"),
    ),
    notes={
        "Exit codes": EXIT_CODES,
        "Environment": (
            ("LMCONF_PATH", "folders searched first for profiles"),
            ("LMCONF_PROFILE", "the profile to use when none is named"),
            ("LMCONF_CACHE", "disabled, memory or disk: overrides every profile's cache"),
            ("LMCONF_CACHE_DIR", "the folder of disk stores without a path"),
            ("LMCONF_STATE_DIR", "the folder of servers' logs, jobs and meters"),
            ("NO_COLOR", "no colour on any terminal"),
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
    ("./support.yaml", "./support.yaml:gpt"). `lmconf list` shows all names.
    """
    if ctx.invoked_subcommand is None:
        from lmconf.cli.terminal import say

        say(ctx.get_help())
