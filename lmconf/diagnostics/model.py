"""Diagnostics as data: a mistake, its place in a source, and notes on other places."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from lmconf.secrets.references import Masked

__all__ = ["Diagnostic", "Mark", "Note", "Source"]


class Source(Masked, Struct, frozen=True, eq=False):
    """A text that values come from: a file, a `--set` argument, or a mapping made in code.

    `name` is what a person is shown (a path as they would type it). `text` is None for values
    that never were text. `hidden` lists the (start, end) character spans of secret values, which
    are never printed. `reached` is the place whose `extends` brought this file in.
    """

    name: str
    text: str | None = None
    hidden: tuple[tuple[int, int], ...] = ()
    reached: Mark | None = None
    path: str | None = None

    def __repr__(self) -> str:
        """Name the source alone: its text may hold secrets, and every mark would repeat it."""
        return f"Source(name={self.name!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the text with every secret's characters replaced, so that all marks still fit."""
        text = self.text
        if text is not None:
            from lmconf.secrets.redaction import blank_spans

            text = blank_spans(text, self.hidden)
        return (Source, (self.name, text, (), self.reached, self.path))


class Mark(Struct, frozen=True, eq=False, gc=False):
    """The place of one key or value: a source and a span on one of its lines.

    `line` and `column` count from 1 (characters, not bytes); `end` is the column after the last
    character on that line. All three are 0 in a source that has no text.
    """

    source: Source
    line: int = 0
    column: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}" if self.line else self.source.name

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells two places apart: the source's name, the line and the column."""
        return (self.source.name, self.line, self.column)


class Note(Struct, frozen=True):
    """A second place that a diagnostic speaks of, and what is to be seen there."""

    message: str
    mark: Mark | None = None


Severity = Literal["error", "warning"]


class Diagnostic(Struct, frozen=True, kw_only=True):
    """One mistake in a document, or one warning about it.

    `code` is a stable kebab-case name; `message` says what is wrong, never with the value of a
    secret; `label` is printed under the caret; `help` says how to mend it; `path` is the value's
    path in the document (`("lms", "gpt", "temperature")`).
    """

    code: str
    message: str
    mark: Mark | None = None
    path: tuple[str | int, ...] = ()
    label: str = ""
    help: str = ""
    notes: tuple[Note, ...] = ()
    severity: Severity = "error"
