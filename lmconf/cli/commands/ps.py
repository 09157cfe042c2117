"""`lmconf ps`: the servers that run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from lmconf.cli.app import command as make_command
from lmconf.cli.options import format_option
from lmconf.cli.terminal import fit, say, tell
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import UsageError
from lmconf.system.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmconf.launchers.records import ServerRecord

__all__ = ["command", "complete_server", "match_servers"]


def complete_server(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of running servers that begin with `incomplete`."""
    from lmconf.launchers.records import running_records

    names = dict.fromkeys(record.name for record in running_records())
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def match_servers(name: str, records: Sequence[ServerRecord]) -> list[ServerRecord]:
    """Return those of `records` that `name` means: a server's name, or its process id.

    Raises:
        UsageError: there is none.
    """
    matches = [record for record in records if name in (record.name, str(record.pid))]
    if matches:
        return matches
    near = did_you_mean(name, [record.name for record in records])
    hint = f"did you mean `{near}`?" if near else "`lmconf ps` lists the running servers"
    raise UsageError(f"no server named `{name}` is running; {hint}")


@make_command("ps", (("lmconf ps", ""), ("lmconf ps --format json", "for programs")))
@format_option("text", "json", help="Output format.")
def command(*, form: str) -> None:
    """List the servers that lmconf runs for you, newest first.

    KEPT BY shows what stops a server: `lmconf kill`, or the end of the process with that number. A
    server that is still loading its model has no URL.
    """
    from lmconf.launchers.records import running_records

    records = running_records()
    if form == "json":
        say(
            json.dumps(
                [
                    {
                        "name": record.name,
                        "kind": record.kind,
                        "model": record.model,
                        "url": record.url or None,
                        "pid": record.pid or None,
                        "owner": record.owner or None,
                        "shared": record.shared,
                        "log": record.log,
                        "launched": record.launched,
                    }
                    for record in records
                ],
                indent=2,
            )
        )
        return
    if not records:
        tell("no server is running")
        return
    rows = [("NAME", "KIND", "MODEL", "URL", "PID", "UP", "KEPT BY")]
    rows += [
        (
            fit(record.name),
            record.kind,
            fit(record.model),
            record.url or "(loading)",
            str(record.pid or "?"),
            format_duration(time.time() - record.launched),
            f"process {record.owner}" if record.owner else "lmconf kill",
        )
        for record in records
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
