"""What every command has: its examples, `--color`, and near names for wrong ones."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from msgspec import Struct

from lmconf.cli.terminal import ColorChoice, Terminal
from lmconf.spelling import did_you_mean

__all__ = ["Command", "LazyGroup", "Listed", "command", "terminal_of"]

Example = tuple[str, str]
"""A command line, and what it does."""


def terminal_of(ctx: click.Context) -> Terminal:
    """Return the terminal of this run."""
    found = ctx.find_root().obj
    if not isinstance(found, Terminal):
        found = ctx.find_root().obj = Terminal()
    return found


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


class Listed(Struct, frozen=True):
    """A command that is not loaded yet: its module, and its line in the list of commands."""

    module: str
    summary: str


class LazyGroup(click.Group):
    """Commands that are imported when they are asked for."""

    def __init__(
        self,
        *args: Any,
        listed: Mapping[str, Listed],
        examples: Sequence[Example] = (),
        notes: Mapping[str, Sequence[tuple[str, str]]],
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.listed = dict(listed)
        self.examples = tuple(examples)
        self.notes = dict(notes)
        self.params.append(color_option())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(self.listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command `cmd_name`, imported now, or None."""
        if cmd_name not in self.listed:
            return None
        loaded = importlib.import_module(self.listed[cmd_name].module).command
        assert isinstance(loaded, click.Command)
        return loaded

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begin with; a wrong name is told with a near one."""
        name = args[0]
        if name not in self.listed and not name.startswith("-") and not ctx.resilient_parsing:
            near = did_you_mean(name, self.listed)
            hint = f"Did you mean `{near}`?" if near else f"There are: {', '.join(self.listed)}."
            ctx.fail(f"There is no command `{name}`. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.summary) for name, listed in self.listed.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the notes."""
        write_examples(formatter, self.examples)
        for heading, rows in self.notes.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
