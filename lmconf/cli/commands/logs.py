"""`lmconf logs`: what a server writes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.commands.ps import complete_server, match_servers
from lmconf.cli.terminal import fit, say

if TYPE_CHECKING:
    from lmconf.launchers.records import ServerRecord

__all__ = ["command"]

_LOOK = 0.2


@make_command(
    "logs",
    (
        ("lmconf logs support:llama", "the last lines"),
        ("lmconf logs support:llama -f", "follow the log until the server ends"),
        ("lmconf logs support:llama -n 500", ""),
    ),
)
@click.argument("name", metavar="NAME|PID", shell_complete=complete_server)
@click.option("-f", "--follow", is_flag=True, help="Follow the log.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="The number of lines to start with.",
)
def command(*, name: str, follow: bool, lines: int) -> None:
    """Print the last lines of a server's log; text that looks like a key is masked.

    The log of a stopped server is kept until twenty other servers have started.
    """
    from lmconf.launchers.logs import log_tail
    from lmconf.launchers.records import ended_records, running_records

    record = match_servers(name, [*running_records(), *ended_records()])[0]
    path = Path(record.log)
    size = path.stat().st_size if path.exists() else 0
    if lines:
        say(fit(log_tail(path, lines=lines)))
    if follow:
        _follow(record, path, size)


def _follow(record: ServerRecord, path: Path, begin: int) -> None:
    """Print what is written from now on, also after the log was begun anew."""
    log = _open_log(path, begin)
    rest = b""
    while log is not None:
        running = record.runs
        while piece := log.read(65536):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                say(fit(line.decode("utf-8", "replace")))
        later = _open_log(path, 0) if _inode(path) != os.fstat(log.fileno()).st_ino else None
        if later is not None:
            log.close()
            log = later
        elif running:
            time.sleep(_LOOK)
        else:
            log.close()
            break
    if rest:
        say(fit(rest.decode("utf-8", "replace")))


def _open_log(path: Path, begin: int) -> BinaryIO | None:
    """Return the log from `begin` on; None while one is being put in its place, or it is gone."""
    try:
        log = path.open("rb")
    except FileNotFoundError:
        return None
    log.seek(begin)
    return log


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
