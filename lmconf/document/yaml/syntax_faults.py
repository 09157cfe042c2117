"""Mistakes found before a text has a source, and the way from character offsets to places."""

from __future__ import annotations

from bisect import bisect_right

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Note, Source
from lmconf.diagnostics.render import line_starts

__all__ = ["MarkMaker", "Remark", "SyntaxFault"]


class Remark(Struct, frozen=True):
    """A second place that a fault speaks of: offsets into the text, and what is to be seen."""

    message: str
    start: int
    end: int


class SyntaxFault(Struct, frozen=True, kw_only=True):
    """A mistake at the characters `start` to `end` of a text.

    It becomes a `Diagnostic` as soon as the text has a source; a source needs to know first where
    the secrets are.
    """

    code: str
    message: str
    start: int
    end: int
    label: str = ""
    help: str = ""
    notes: tuple[Remark, ...] = ()


class MarkMaker:
    """Turns offsets into the text of `source` into marks."""

    __slots__ = ("_starts", "_text", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self._text = source.text or ""
        self._starts = line_starts(self._text)

    def offset(self, mark: Mark) -> int:
        """Return the offset of the first character of `mark`, a mark of this source."""
        return self._starts[mark.line - 1] + mark.column - 1

    def mark(self, start: int, end: int) -> Mark:
        """Return the mark of the characters `start` to `end`, cut at the end of the first line."""
        starts = self._starts
        line = bisect_right(starts, start)
        first = starts[line - 1]
        if line < len(starts) and end >= starts[line]:
            end = first + len(self._text[first : starts[line]].rstrip())
        return Mark(self.source, line, start - first + 1, max(end, start) - first + 1)

    def diagnostic(self, fault: SyntaxFault) -> Diagnostic:
        """Return `fault` as a diagnostic of this source."""
        notes = tuple(Note(note.message, self.mark(note.start, note.end)) for note in fault.notes)
        return Diagnostic(
            code=fault.code,
            message=fault.message,
            mark=self.mark(fault.start, fault.end),
            label=fault.label,
            help=fault.help,
            notes=notes,
        )
