"""`lmconf kill`: ends servers."""

from __future__ import annotations

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.commands.ps import complete_server, match_servers
from lmconf.cli.terminal import fit, tell
from lmconf.errors import LaunchError, UsageError

__all__ = ["command"]


@make_command(
    "kill",
    (
        ("lmconf kill support:llama", "the server that `lmconf launch support:llama` started"),
        ("lmconf kill 4711", "the server with that process id"),
        ("lmconf kill --all", "every server of yours"),
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME|PID]...", shell_complete=complete_server)
@click.option("--all", "every", is_flag=True, help="Stop all of them.")
def command(*, names: tuple[str, ...], every: bool) -> None:
    """Stop servers, with every process that they started.

    A program whose server is stopped starts another one at its next call, unless its profile
    states `auto: manual`.
    """
    from lmconf.launchers.records import running_records

    if every == bool(names):
        raise UsageError("give a NAME, a process id, or --all")
    records = running_records()
    matches = (
        records if every else [record for name in names for record in match_servers(name, records)]
    )
    if not matches:
        tell("no server is running")
    left = [record for record in dict.fromkeys(matches) if not record.end()]
    for record in matches:
        if record not in left:
            tell(f"stopped {fit(record.name)} ({record.url or 'it was loading'})")
    if left:
        pids = ", ".join(str(record.pid) for record in left)
        raise LaunchError(f"not stopped in time: pid {pids}")
