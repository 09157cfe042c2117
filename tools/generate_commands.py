"""The reference of the command line in Markdown: the help of every command."""

from __future__ import annotations

from collections.abc import Iterator

import click

from lmconf.cli.app import PROGRAM, group

__all__ = ["commands_page"]

WIDTH = 80
"""How many characters a line of help has at most."""

_HEAD = """# The command line

This page is the help of every command. `lmconf --help` lists the exit codes; each command has
`--help`, too."""


def commands_page() -> str:
    """Return the page: a section for each command, groups before their commands."""
    return "\n\n".join([_HEAD, *_sections(group, PROGRAM, None)]) + "\n"


def _sections(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, color=False, **settings)
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            subcommand = command.get_command(context, child)
            assert subcommand is not None
            yield from _sections(subcommand, child, context)
