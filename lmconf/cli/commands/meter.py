"""`lmconf meter`: what calls have used and cost, and how long they took."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.options import complete_name, format_option, not_empty
from lmconf.cli.terminal import fit, say, tell
from lmconf.system.durations import format_duration

_HEADS = (
    "LM",
    "calls",
    "hits",
    "failed",
    "retries",
    "input",
    "output",
    "cost",
    "p50",
    "p95",
    "p99",
)


@make_command(
    "meter",
    (
        ("lmconf meter", "the meter that every LM shares"),
        ("lmconf meter support", "the meter of a profile, or of one of its LMs"),
        ("lmconf meter runs/meter.json --json", "a meter's file, for programs"),
    ),
)
@click.argument(
    "name",
    required=False,
    metavar="[PATH|NAME]",
    callback=not_empty,
    shell_complete=complete_name,
)
@format_option("text", "json", help="Output format.")
def command(*, name: str | None, form: str) -> None:
    """Print the totals of the `meter` callbacks for each LM: calls, tokens, cost and latency.

    PATH is a meter's file; NAME is a profile or an LM that has a meter. Without either, the default
    file is read. Latencies are those of calls that a server answered.
    """
    from lmconf.callbacks.meter import read

    paths = [Path(path) for path in _paths(name)]
    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            totals = read(path)
        except FileNotFoundError:
            tell(f"nothing is recorded yet: {fit(str(path))} does not exist")
            continue
        except (OSError, ValueError) as error:
            tell(f"error: {fit(str(path))} is not a valid meter file: {fit(str(error))}")
            click.get_current_context().exit(1)
        rows += [{"lm": lm, **total.report()} for lm, total in sorted(totals.items())]
    if form == "json":
        say(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        say("\n".join(_table([_HEADS, *map(_cells, rows)])))


def _paths(name: str | None) -> list[str]:
    from lmconf.callbacks.meter import default_path

    if name is None:
        return [default_path()]
    if name.endswith(".json"):
        return [name]
    from lmconf.callbacks.specs import MeterCallback
    from lmconf.cli.select import choose

    selection = choose(name)
    lms = selection.profile.lms
    selected_lms = [lms[selection.lm]] if selection.lm_name is not None else list(lms.values())
    paths = {
        callback.path or default_path()
        for compiled in selected_lms
        for callback in compiled.spec.callbacks
        if isinstance(callback, MeterCallback)
    }
    if not paths:
        tell(f"error: {fit(name)} has no meter: add `{{use: meter}}` to its `callbacks`")
        click.get_current_context().exit(1)
    return sorted(paths)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    rate = "" if row["hit_rate"] is None else f" ({row['hit_rate']:.0%})"
    unpriced_note = f" +{row['unpriced']:,} unpriced" if row["unpriced"] else ""
    return (
        fit(row["lm"]),
        f"{row['calls']:,}",
        f"{row['cache_hits']:,}{rate}",
        f"{row['failed']:,}",
        f"{row['retries']:,}",
        f"{row['input_tokens']:,}",
        f"{row['output_tokens']:,}",
        f"${row['cost']:,.4f}{unpriced_note}",
        *(_seconds(row[name]) for name in ("p50", "p95", "p99")),
    )


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *rest)).rstrip()
