"""The output of a batch: its rows, to which input each belongs, and what was asked for it.

A row says by itself what was asked: `input` is the digest of the line of the input, `asked` the
settings that steer its answer (long ones as digests, secrets not at all), and `fingerprint` the
digest of both. So a batch goes on after any change of its input, and never mixes settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import click
from msgspec import Struct
from msgspec import json as msgspec_json

from lmconf.cli.json_lines import InputLine, decode_line, dump_line
from lmconf.cli.terminal import fit, write_file

__all__ = ["Asking", "KeptRows", "fingerprint", "keep_aside", "read_kept_rows"]

Asking: TypeAlias = Mapping[str, Any]
"""The settings that steer an answer, by name."""

_START = b'{"index": '
_SHOWN = 5  # changed settings that a message names


class OutputRow(Struct, frozen=True, eq=False):
    """One line of an output: its text, and what it says."""

    text: str
    said: dict[str, Any]

    @property
    def is_answer(self) -> bool:
        """Whether it holds an answer, and not an error."""
        return "text" in self.said

    def at(self, index: int) -> str:
        """Return its text as the row of the input at `index`."""
        return (
            self.text if self.said["index"] == index else dump_line({**self.said, "index": index})
        )


class KeptRows(Struct, frozen=True, eq=False):
    """What an output holds for the lines of an input: rows by index, and those of no line."""

    answers: Mapping[int, str]
    errors: Mapping[int, str]
    others: Sequence[str]


def fingerprint(digest: str, asked: Asking) -> str:
    """Return the digest of what was asked: of an input's `digest` and the settings."""
    return sha256(msgspec_json.encode([digest, asked], order="sorted")).hexdigest()[:32]


def read_kept_rows(
    output: Path, source: str, lines: Sequence[InputLine], asked: Sequence[Asking]
) -> KeptRows:
    """Return what `output` holds for `lines`, which now ask with the settings `asked`.

    A row belongs to the line that says the same, wherever that stands; of equal lines, each has
    its own.

    Raises:
        click.UsageError: the file is no batch's, was used other settings, or holds answers
            and none of them is one to these lines. Nothing is written then.
    """
    waiting: dict[str, list[OutputRow]] = {}
    rows = _rows(output)
    # Of equal lines, those that have answers come first.
    for row in sorted(rows, key=lambda row: (not row.is_answer, row.said["index"])):
        waiting.setdefault(row.said["input"], []).append(row)
    found: dict[int, OutputRow] = {}
    for index, line in enumerate(lines):
        if same := waiting.get(line.digest):
            found[index] = same.pop(0)
    _refuse_changed(output, found, asked)
    others = [row for same in waiting.values() for row in same]
    if any(row.is_answer for row in others) and not any(row.is_answer for row in found.values()):
        raise click.UsageError(
            f"{output} holds {len(others):,} rows, and none of them is an answer to a line of"
            f" {source}: name another FILE, or start over with --force."
        )
    return KeptRows(
        answers={index: row.at(index) for index, row in found.items() if row.is_answer},
        errors={index: row.at(index) for index, row in found.items() if not row.is_answer},
        others=[row.text for row in sorted(others, key=lambda row: row.said["index"])],
    )


def keep_aside(output: Path, rows: Sequence[str]) -> Path:
    """Add `rows`, which belong to no line of the input, to a file beside `output`; return it.

    Raises:
        click.UsageError: another's file is there.
        Unwritable: it cannot be written.
    """
    beside = output.with_name(f"{output.name}.unmatched")
    before = [row.text for row in _rows(beside, whole=False)] if beside.exists() else []
    new = [text for text in rows if text not in set(before)]
    if new:
        write_file(beside, "".join(f"{text}\n" for text in [*before, *new]))
    return beside


def _rows(output: Path, *, whole: bool = True) -> list[OutputRow]:
    """Return the rows of `output`: with `whole`, of each index the last answer, else the last.

    Raises:
        click.UsageError: it holds something else.
    """
    if not output.exists():
        return []
    *complete, torn = output.read_bytes().split(b"\n")
    rows = [_row(output, number, text) for number, text in enumerate(complete, 1) if text.strip()]
    if torn.strip() and not _is_torn(torn):
        rows.append(_row(output, len(complete) + 1, torn))
    if not whole:
        return rows
    last: dict[tuple[int, str], OutputRow] = {}
    for row in rows:
        key = (row.said["index"], row.said["input"])
        if key not in last or row.is_answer or not last[key].is_answer:
            last[key] = row
    return list(last.values())


def _is_torn(text: bytes) -> bool:
    """Say whether `text`, a last line without its end, is the begin of a row: it was killed."""
    begun = text.startswith(_START) or _START.startswith(text)
    return begun and bool(decode_line(text)[1])


def _row(output: Path, number: int, text: bytes) -> OutputRow:
    said, fault = decode_line(text)
    if fault or not isinstance(said, dict) or not _is_row(said):
        raise click.UsageError(
            f"{output} is not the output of a batch (line {number}) and was not changed."
            " Name another FILE, or replace it with --force."
        )
    if not isinstance(said.get("fingerprint"), str) or not isinstance(said.get("asked"), dict):
        raise click.UsageError(
            f"{output} was written by an earlier version (line {number}): it does not record the"
            " settings of its calls. Name another FILE, or start over with --force."
        )
    return OutputRow(text.decode(), said)


def _is_row(said: dict[str, Any]) -> bool:
    return (
        type(said.get("index")) is int
        and isinstance(said.get("input"), str)
        and ("text" in said) != ("error" in said)
    )


def _refuse_changed(output: Path, found: Mapping[int, OutputRow], asked: Sequence[Asking]) -> None:
    """See that each answer was asked with the settings of now.

    Raises:
        click.UsageError: one was not; the message names what changed.
    """
    changed: dict[str, str] = {}
    count = 0
    for index, row in found.items():
        before, now = row.said["asked"], asked[index]
        if not row.is_answer or before == now:
            continue
        count += 1
        for name in sorted({*before, *now}):
            if before.get(name) != now.get(name):
                changed.setdefault(name, _change(name, before.get(name), now.get(name)))
    if not count:
        return
    told = list(changed.values())
    if len(told) > _SHOWN:
        told = [*told[:_SHOWN], f"and {len(told) - _SHOWN} more"]
    answers = "1 answer" if count == 1 else f"{count:,} answers"
    raise click.UsageError(
        f"{output}: {answers} used other settings: {', '.join(told)}."
        " Name another FILE, or start over with --force."
    )


def _change(name: str, before: object, now: object) -> str:
    if any(isinstance(value, str) and value.startswith("sha256:") for value in (before, now)):
        return f"{name} changed"
    old, new = ("unset" if value is None else fit(json.dumps(value)) for value in (before, now))
    return f"{name} {old} → {new}".replace('"', "")
