"""`lmconf cache`: what is kept of answers, and looking after it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmconf.cli.app import Command, LazyCommand, LazyGroup
from lmconf.cli.app import command as make_command
from lmconf.cli.options import complete_name, format_option, not_empty, quantity
from lmconf.cli.terminal import fit, say, tell
from lmconf.errors import UsageError

if TYPE_CHECKING:
    from lmconf.caches.store import OpenStore, StoredAnswer

__all__ = ["command"]

_BATCH = 200
_SUMMARIES = {
    "stats": "Print the size and place of a store.",
    "list": "List the cached answers, newest first.",
    "show": "Print one answer.",
    "prune": "Remove expired and unused answers.",
    "clear": "Drop everything.",
    "export": "Write the answers as lines of JSON.",
    "import": "Add the answers of an export to a store.",
}


class _CacheGroup(LazyGroup):
    """The commands of this file."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command `cmd_name`, or None."""
        return _COMMANDS.get(cmd_name)


@click.group(
    "cache",
    cls=_CacheGroup,
    lazy_commands={name: LazyCommand(__name__, text) for name, text in _SUMMARIES.items()},
    examples=(
        ("lmconf cache stats", "of this machine's default store"),
        ("lmconf cache list support:gpt", "in the store of that LM"),
        ("lmconf cache prune --older 30d", "drop what was not used for a month"),
        ("lmconf cache COMMAND --help", "options and examples of one command"),
    ),
    notes={},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """Inspect and manage cached answers.

    NAME is a profile or one of its LMs; the command works on its store. --path names the folder of
    a store on disk. Without either, the command works on this machine's default store.
    """


def _store_options(function: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option(
            "--path", "folder", metavar="FOLDER", callback=not_empty, help="A disk store."
        ),
        click.argument(
            "name",
            required=False,
            metavar="[NAME[:LM]]",
            callback=not_empty,
            shell_complete=complete_name,
        ),
    ):
        function = decorate(function)
    return function


_format = format_option("text", "json", help="Output format.")


@make_command("stats", (("lmconf cache stats", ""), ("lmconf cache stats support --json", "")))
@_store_options
@_format
def stats(*, name: str | None, folder: str | None, form: str) -> None:
    """Print the size and place of a store."""
    from lmconf.cli.cache_store import open_store

    with open_store(name, folder) as (store, label):
        totals = {"entries": 0, "bytes": 0} if store is None else store.stats()
    if form == "json":
        say(json.dumps({"store": label, **totals}))
    else:
        say(f"{fit(label)}: {totals['entries']:,} answers, {totals['bytes']:,} bytes")


@make_command(
    "list", (("lmconf cache list", ""), ("lmconf cache list support:gpt --limit 0", "all of them"))
)
@_store_options
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="0: all.")
@_format
def list_(*, name: str | None, folder: str | None, limit: int, form: str) -> None:
    """List the stored answers, newest first: key, time, size, time to live, model, text."""
    from lmconf.cli.cache_store import open_store, plain, summary

    with open_store(name, folder) as (store, label):
        entries = _newest_first(store)
    page = entries[:limit] if limit else entries
    if form == "json":
        say(json.dumps([plain(entry) for entry in page], indent=2, ensure_ascii=False))
        return
    now = time.time()
    for entry in page:
        say(summary(entry, now))
    if not entries:
        tell(f"nothing is kept in {fit(label)}")
    elif len(page) < len(entries):
        tell(f"and {len(entries) - len(page):,} more: --limit 0 lists them")


@make_command(
    "show",
    (
        ("lmconf cache show 3f2a91", "by the beginning of its key"),
        ("lmconf cache show 3f2a91 support:gpt --json", "the whole response"),
    ),
)
@click.argument("key", callback=not_empty)
@_store_options
@_format
def show(*, key: str, name: str | None, folder: str | None, form: str) -> None:
    """Print the answer with the key KEY, or with the only key that begins with KEY."""
    from lmconf.cli.cache_store import StoreUnusable, open_store, response_in, texts_in

    with open_store(name, folder) as (store, label):
        matches = [entry for entry in _entries(store) if entry.key.startswith(key.lower())]
    if not matches:
        raise StoreUnusable(f"there is no answer under {fit(key)} in {label}")
    if len(matches) > 1:
        keys = ", ".join(entry.key[:16] for entry in matches[:5])
        raise StoreUnusable(f"{len(matches)} answers begin with {fit(key)}: {keys}")
    response = response_in(matches[0].value)
    if response is None:
        raise StoreUnusable(
            f"what is kept under {matches[0].key[:16]} is not an answer: no call uses it"
        )
    if form == "json":
        say(json.dumps(response, indent=2, ensure_ascii=False))
        return
    calls = [(choice.get("message") or {}).get("tool_calls") for choice in response["choices"]]
    say("\n".join(fit(text) for text in texts_in(response) if text))
    if any(calls):
        say(json.dumps(calls, indent=2, ensure_ascii=False))


@make_command(
    "prune",
    (
        ("lmconf cache prune", "what has expired"),
        (
            "lmconf cache prune --older 30d --max-size 500MiB",
            "and answers that are unused or exceed a size",
        ),
    ),
)
@_store_options
@click.option(
    "--older", metavar="AGE", help="Remove answers that were not used for this long, such as `30d`."
)
@click.option(
    "--max-size", metavar="SIZE", help="Remove the least recently used answers down to this size."
)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and change nothing.")
def prune(
    *,
    name: str | None,
    folder: str | None,
    older: str | None,
    max_size: str | None,
    dry_run: bool,
) -> None:
    """Remove expired answers, and old or excess answers as the options state."""
    from lmconf.cli.cache_store import open_store
    from lmconf.schema.quantities import parse_size
    from lmconf.system.durations import parse_duration

    age = None if older is None else quantity(parse_duration, older, "--older", "30d")
    size = None if max_size is None else quantity(parse_size, max_size, "--max-size", "500MiB")
    with open_store(name, folder) as (store, label):
        goes = _too_much(list(_entries(store)), age, size)
        if store is not None and not dry_run:
            for begin in range(0, len(goes), _BATCH):
                store.drop(entry.key for entry in goes[begin : begin + _BATCH])
            store.expire()
    what = "would be removed" if dry_run else "removed"
    total = sum(len(entry.value) for entry in goes)
    say(f"{fit(label)}: {len(goes):,} answers ({total:,} bytes) {what}, and all expired answers")


@make_command("clear", (("lmconf cache clear", ""), ("lmconf cache clear support --yes", "")))
@_store_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def clear(*, name: str | None, folder: str | None, yes: bool) -> None:
    """Remove all answers of the store, including those of other LMs."""
    from lmconf.cli.cache_store import open_store

    with open_store(name, folder) as (store, label):
        count = 0 if store is None else store.stats()["entries"]
        if store is not None and count:
            if not yes:
                if not sys.stdin.isatty():
                    raise UsageError(f"{count:,} answers would be removed: add --yes")
                click.confirm(f"Drop all {count:,} answers in {fit(label)}?", abort=True, err=True)
            store.clear()
    say(f"{fit(label)}: {count:,} answers removed")


@make_command(
    "export",
    (
        ("lmconf cache export > answers.jsonl", ""),
        ("lmconf cache export support -o answers.jsonl", "into a file"),
    ),
)
@_store_options
@click.option(
    "-o", "--output", metavar="FILE", help="The file to write; left out, standard output."
)
def export(*, name: str | None, folder: str | None, output: str | None) -> None:
    """Write the answers as lines of JSON: key, time, time to live and response, oldest first.

    A key does not reveal its request, and text that looks like a credential is masked. The file
    can be reviewed and shared.
    """
    from lmconf.cli.cache_store import line_of, open_store
    from lmconf.cli.terminal import write_file

    with open_store(name, folder) as (store, _):
        exports = [line_of(entry) for entry in reversed(_newest_first(store))]
    lines = [line for line in exports if line is not None]
    if output is None:
        for line in lines:
            say(line)
    else:
        write_file(Path(output), "".join(f"{line}\n" for line in lines))
    odd = len(exports) - len(lines)
    left_out = f"; {odd:,} entries are not answers and were left out" if odd else ""
    tell(f"{len(lines):,} answers written{left_out}")


@make_command(
    "import",
    (
        ("lmconf cache import answers.jsonl", ""),
        ("lmconf cache import - support < answers.jsonl", "into the store of that LM"),
    ),
)
@click.argument("source", metavar="FILE", callback=not_empty)
@_store_options
@click.option("--force", is_flag=True, help="Replace answers that are already in the store.")
def import_(*, source: str, name: str | None, folder: str | None, force: bool) -> None:
    """Add the answers of an export to a store; FILE may be `-` for standard input.

    Every line is checked before any is stored. Stored answers stay as they are, unless you pass
    --force. Expired answers are left out.
    """
    from lmconf.cli.cache_store import StoreUnusable, open_store, read_line
    from lmconf.cli.json_lines import read

    lines, faults = read(source)
    entries = {}
    for line in lines:
        entry, fault = read_line(line.item)
        if entry is None:
            faults[line.number] = fault
        else:
            entries[entry.key] = entry
    if faults:
        problems = [f"  line {number}: {faults[number]}" for number in sorted(faults)]
        more = [f"  and {len(problems) - _BATCH:,} more"] if len(problems) > _BATCH else []
        head = f"{source}: {len(problems):,} of its lines are not answers; nothing was imported"
        raise StoreUnusable("\n".join([head, *problems[:_BATCH], *more]))
    now = time.time()
    fresh = {k: e for k, e in entries.items() if e.expires is None or e.expires > now}
    with open_store(name, folder, make=True) as (store, label):
        assert store is not None  # it was made
        there = set() if force else {each.key for each in store.entries()} & set(fresh)
        store.put_all(entry for key, entry in fresh.items() if key not in there)
    say(
        f"{fit(label)}: {len(fresh) - len(there):,} answers added, {len(there):,} were there"
        f" already, {len(entries) - len(fresh):,} have expired"
    )


_COMMANDS: dict[str, Command] = {
    "stats": stats,
    "list": list_,
    "show": show,
    "prune": prune,
    "clear": clear,
    "export": export,
    "import": import_,
}


def _entries(store: OpenStore | None) -> list[StoredAnswer]:
    return [] if store is None else list(store.entries())


def _newest_first(store: OpenStore | None) -> list[StoredAnswer]:
    return sorted(_entries(store), key=lambda kept: kept.created, reverse=True)


def _too_much(
    entries: list[StoredAnswer], age: float | None, size: float | None
) -> list[StoredAnswer]:
    """Return what was not used for `age` seconds, and what exceeds `size` bytes beside that."""
    entries = sorted(entries, key=lambda entry: entry.used)
    oldest = float("-inf") if age is None else time.time() - age
    goes = [entry for entry in entries if entry.used < oldest]
    stays = entries[len(goes) :]
    excess = 0.0 if size is None else sum(len(entry.value) for entry in stays) - size
    for entry in stays:
        if excess <= 0:
            break
        goes.append(entry)
        excess -= len(entry.value)
    return goes
