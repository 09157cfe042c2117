"""Which of the servers that run, or ran, a name on the command line means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from lmconf.errors import UsageError
from lmconf.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmconf.launchers.records import Record

__all__ = ["complete_server", "meant"]


def complete_server(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of running servers that begin with `incomplete`."""
    from lmconf.launchers.records import running

    names = dict.fromkeys(record.name for record in running())
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def meant(name: str, found: Sequence[Record]) -> list[Record]:
    """Return those of `found` that `name` means: a server's name, or its process id.

    Raises:
        UsageError: there is none.
    """
    chosen = [record for record in found if name in (record.name, str(record.pid))]
    if chosen:
        return chosen
    near = did_you_mean(name, [record.name for record in found])
    hint = f"did you mean `{near}`?" if near else "`lmconf ps` lists those that run"
    raise UsageError(f"no server named `{name}` runs; {hint}")
