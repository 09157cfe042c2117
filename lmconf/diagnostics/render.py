"""Writes diagnostics for people, with the source line and a caret, and for programs, as JSON.

Secrets stay hidden in both: what a source lists as hidden, what has the shape of a key, and what
follows a secret's name on a printed line are shown as `***`. Terminal escapes are shown escaped.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Hashable, Iterator, Mapping, Sequence

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.secrets.masks import MASK, Span, merge_spans
from lmconf.secrets.redaction import find_key_shapes, mask_key_shapes, unended_span

__all__ = [
    "did_you_mean",
    "format_path",
    "line_starts",
    "sameness",
    "sort_diagnostics",
    "to_json",
    "to_text",
]

WIDEST = 120
"""The most terminal columns of a source line that are shown."""

MOST_SHOWN = 1000
"""The most diagnostics that are told one by one."""

# The most characters of a message that are shown: it may quote a value, however long.
_LONGEST_TEXT = 4000
# Characters on either side of a mark that can come into what is shown.
_NEAR = 500

_BREAK = re.compile(r"\r\n|\n|\r")
_NEWLINE = re.compile(r"\n")
_NAME = re.compile(r"[A-Za-z0-9_$-]+")
_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "place": "\x1b[1;34m"}
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


@functools.lru_cache(maxsize=1)
def line_starts(text: str) -> Sequence[int]:
    """Return the offset at which each line of `text` starts; lines end as in editors."""
    # Remembered, for every mistake of a document asks for those of one text.
    pattern = _BREAK if "\r" in text else _NEWLINE
    return (0, *(match.end() for match in pattern.finditer(text)))


def to_text(diagnostics: Sequence[Diagnostic], *, color: bool = False) -> str:
    """Return `diagnostics` as text for a terminal, sorted by place, with a count at the end.

    `color` adds ANSI colours. The text has no newline at its end and is empty for no diagnostics.
    Of more than `MOST_SHOWN`, the first are told.
    """
    found = sort_diagnostics(diagnostics)
    if not found:
        return ""
    writer = _Writer(color)
    blocks = ["\n".join(writer.block(diagnostic)) for diagnostic in found[:MOST_SHOWN]]
    if len(found) > MOST_SHOWN:
        blocks.append(f"… and {len(found) - MOST_SHOWN:,} more, which are not shown")
    return "\n\n".join([*blocks, _summary(found)])


def to_json(diagnostics: Sequence[Diagnostic]) -> list[dict[str, object]]:
    """Return `diagnostics` as JSON values, sorted by place.

    Each has `code`, `severity`, `message`, `file`, `line`, `column`, `end_column` (all counted
    from 1, the end exclusive, null where there is no text), `path`, `label`, `help`, `notes` (each
    a message with its place) and `reached`: the places whose `extends` led to the file, nearest
    first.
    """
    return [
        {
            "code": diagnostic.code,
            "severity": diagnostic.severity,
            "message": _sanitize(diagnostic.message),
            **_place(diagnostic.mark),
            "path": [
                _sanitize(step) if isinstance(step, str) else step for step in diagnostic.path
            ],
            "label": _sanitize(diagnostic.label),
            "help": _sanitize(diagnostic.help),
            "notes": [
                {"message": _sanitize(note.message), **_place(note.mark)}
                for note in diagnostic.notes
            ],
            "reached": [_place(reached) for reached in _chain(diagnostic.mark)],
        }
        for diagnostic in sort_diagnostics(diagnostics)
    ]


def sort_diagnostics(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Return `diagnostics` sorted by place, without those that say the same of the same place."""
    first: dict[object, Diagnostic] = {}
    for diagnostic in diagnostics:
        first.setdefault(sameness(diagnostic), diagnostic)
    return sorted(first.values(), key=_order)


def sameness(diagnostic: Diagnostic) -> Hashable:
    """Return what is equal for diagnostics that say the same of the same place."""
    mark = diagnostic.mark
    # Two arguments of one option are told apart by their texts.
    place = (*mark.key, mark.source.text) if mark is not None and mark.line else diagnostic.path
    return diagnostic.code, diagnostic.message, place


def _order(diagnostic: Diagnostic) -> tuple[bool, tuple[str, int, int]]:
    mark = diagnostic.mark
    return (mark is None, mark.key if mark is not None else ("", 0, 0))


def format_path(path: Sequence[str | int]) -> str:
    """Return `path` as a person writes it: `lms.gpt.callbacks[0]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _NAME.fullmatch(step) else f'"{step}"'
            text += f".{name}" if text else name
    return text


def _summary(found: Sequence[Diagnostic]) -> str:
    counts = []
    for severity in ("error", "warning"):
        count = sum(diagnostic.severity == severity for diagnostic in found)
        if count:
            counts.append(f"{count} {severity}{'s' if count != 1 else ''}")
    return ", ".join(counts)


def _chain(mark: Mark | None) -> Iterator[Mark]:
    """Yield the places whose `extends` led to the file of `mark`, nearest first."""
    seen: set[tuple[str, int, int]] = set()
    reached = mark.source.reached if mark is not None else None
    while reached is not None and reached.key not in seen:
        seen.add(reached.key)
        yield reached
        reached = reached.source.reached


def _place(mark: Mark | None) -> dict[str, object]:
    if mark is None:
        return {"file": None, "line": None, "column": None, "end_column": None}
    return {
        "file": _sanitize(mark.source.name),
        "line": mark.line or None,
        "column": mark.column or None,
        "end_column": mark.end or None,
    }


class _Writer:
    """Writes diagnostics one by one; splits each source into lines once."""

    def __init__(self, color: bool) -> None:
        self._color = color
        self._starts: dict[int, Sequence[int]] = {}
        self._masked: dict[tuple[int, Span], list[Span]] = {}

    def block(self, diagnostic: Diagnostic) -> list[str]:
        """Return the lines that tell one diagnostic."""
        secondary = [(note.mark, note.message) for note in diagnostic.notes if note.mark]
        secondary += [(mark, "reached through `extends` here") for mark in _chain(diagnostic.mark)]
        marks = [diagnostic.mark, *(mark for mark, _ in secondary)]
        width = len(str(max((mark.line for mark in marks if mark), default=0)))
        gutter = " " * (width + 1)
        bar = self._paint("place", f"{gutter} |")
        lines = [self._head(diagnostic)]
        lines += self._snippet(
            diagnostic.mark, diagnostic.label, diagnostic.path, width, diagnostic.severity
        )
        for mark, message in secondary:
            lines += [bar, *self._snippet(mark, message, (), width, "place")]
        remarks = [("note", note.message) for note in diagnostic.notes if not note.mark]
        if diagnostic.label and not _has_line(diagnostic.mark):
            remarks.append(("note" if diagnostic.help else "help", diagnostic.label))
        remarks += [("help", diagnostic.help)] if diagnostic.help else []
        if remarks and len(lines) > 2:
            lines.append(bar)
        for kind, text in remarks:
            prefix = f"{gutter} = {kind}: "
            lines.append(prefix + _sanitize(text).replace("\n", "\n" + " " * len(prefix)))
        return lines

    def _head(self, diagnostic: Diagnostic) -> str:
        head = self._paint(diagnostic.severity, f"{diagnostic.severity}[{diagnostic.code}]")
        message = f": {_sanitize(diagnostic.message)}"
        return head + (f"{_BOLD}{message}{_PLAIN}" if self._color else message)

    def _snippet(
        self, mark: Mark | None, label: str, path: Sequence[str | int], width: int, style: str
    ) -> list[str]:
        arrow = self._paint("place", " " * (width + 1) + "-->")
        where = _sanitize(format_path(path))
        if mark is None or not _has_line(mark):
            place = _sanitize(str(mark)) if mark is not None else ""
            place = f"{place}: {where}" if place and where else place or where
            place += f": {_sanitize(label)}" if label and style == "place" else ""
            return [f"{arrow} {place}"] if place else []
        line = self._line(mark)
        shown, before, length = _excerpt(mark, line, self._masked_in(mark.source, line))
        caret = ("-" if style == "place" else "^") * length
        under = self._paint(style, " ".join(filter(None, [caret, _sanitize(label)])))
        gutter = " " * (width + 1)
        bar = self._paint("place", f"{gutter} |")
        numbered = self._paint("place", f" {mark.line:>{width}} |")
        return [
            f"{arrow} {_sanitize(str(mark))}",
            bar,
            f"{numbered} {shown}".rstrip(),
            f"{bar} {' ' * before}{under}",
        ]

    def _line(self, mark: Mark) -> Span:
        """Return where the line of `mark` starts and ends, without its line break."""
        source = mark.source
        text = source.text or ""
        starts = self._starts.get(id(source))
        if starts is None:
            starts = self._starts[id(source)] = line_starts(text)
        if mark.line > len(starts):
            return len(text), len(text)
        end = starts[mark.line] if mark.line < len(starts) else len(text)
        start = starts[mark.line - 1]
        return start, start + len(text[start:end].rstrip("\r\n"))

    def _masked_in(self, source: Source, line: Span) -> list[Span]:
        """Return which characters of a line are shown masked; what many speak of is looked at once."""
        key = (id(source), line)
        known = self._masked.get(key)
        if known is None:
            known = self._masked[key] = _secret_spans_of_line(source, line)
        return known

    def _paint(self, style: str, text: str) -> str:
        return f"{_COLORS[style]}{text}{_PLAIN}" if self._color else text


def _has_line(mark: Mark | None) -> bool:
    """Say whether a line of text can be shown for `mark`, with a label under its caret."""
    return mark is not None and mark.line > 0 and mark.source.text is not None


def _excerpt(mark: Mark, line: Span, masked: Sequence[Span]) -> tuple[str, int, int]:
    """Return the line of `mark` as it is shown, and the caret's place and length in columns.

    `masked` are the spans of the line's characters that nobody is shown.
    """
    text, column, end_column, masked, left, right = _near(mark, line, masked)
    if not masked and text.isascii() and text.isprintable():
        # Each letter is one column.
        start = min(column - 1, len(text))
        end = max(min(max(end_column, column) - 1, len(text)), start + 1)
        first, after = _window(len(text), start, end)
        dots = "…" if first or left else ""
        rest = "…" if after < len(text) or right else ""
        shown = f"{dots}{text[first:after]}{rest}"
        return shown, len(dots) + start - first, max(1, min(end, after) - start)
    cells, edges = _cells(text, dict(masked))
    last = len(edges) - 1
    start = edges[min(column - 1, last)]
    end = max(edges[min(max(end_column, column) - 1, last)], start + 1)
    first, after = _window(edges[-1], start, end)
    parts = ["…"] if first or left else []
    before = len(parts)
    at = 0
    for letter, width in cells:
        # A wide character that the window would cut in half is left out.
        if first <= at and at + width <= after:
            parts.append(letter)
            before += width if at < start else 0
        at += width
    parts += ["…"] if after < at or right else []
    return "".join(parts), before, max(1, min(end, after) - start)


def _near(
    mark: Mark, line: Span, masked: Sequence[Span]
) -> tuple[str, int, int, list[Span], bool, bool]:
    """Return what stands around `mark` on its line: no more of a very long one is looked at.

    It is the text, the mark's columns in it, the masked spans in it, and whether more stands to
    its left and to its right.
    """
    start, end = line
    middle = start + mark.column - 1
    first, last = max(start, middle - _NEAR), min(end, middle + _NEAR)
    for begin, stop in masked:
        if begin < first - start < stop:
            first = start + begin
        if begin < last - start < stop:
            last = start + stop
    moved = first - start
    inside = [
        (begin - moved, stop - moved)
        for begin, stop in masked
        if moved <= begin and stop <= last - start
    ]
    text = (mark.source.text or "")[first:last]
    return text, mark.column - moved, mark.end - moved, inside, first > start, last < end


def _window(whole: int, start: int, end: int) -> Span:
    """Return which columns of a line of `whole` columns to show, so that the caret is seen."""
    if whole <= WIDEST:
        return 0, whole
    before = max(WIDEST - (end - start), WIDEST // 2) // 2
    first = max(0, min(start - before, whole - WIDEST))
    return first, min(whole, first + WIDEST)


def _secret_spans_of_line(source: Source, line: Span) -> list[Span]:
    """Return the spans of a line, counted from its start, that may hold secrets."""
    start, end = line
    text = (source.text or "")[start:end]
    hidden = [(first - start, last - start) for first, last in source.hidden]
    hidden = [(first, last) for first, last in hidden if first < len(text) and last > 0]
    unended = unended_span(text, {first: last for first, last in hidden if first < last})
    spans = [*hidden, *find_key_shapes(text), *([] if unended is None else [unended])]
    return merge_spans(
        (max(first, 0), min(last, len(text)))
        for first, last in spans
        if first < len(text) and last > 0 and first < last
    )


def _cells(text: str, masked_at: Mapping[int, int]) -> tuple[list[tuple[str, int]], list[int]]:
    """Return what each character of a line is shown as, with its width, and where each begins.

    `masked_at` says where the spans end that are masked, by where they begin. The second list has
    one more entry than the line has characters: the end of the line.
    """
    cells: list[tuple[str, int]] = []
    edges: list[int] = []
    column = index = 0
    while index < len(text):
        last = masked_at.get(index, index + 1)
        shown = [(letter, 1) for letter in MASK]
        if index not in masked_at:
            shown = [_cell(text[index])]
        width = sum(wide for _, wide in shown)
        # Inside a masked span every column but the first is the mask's end.
        edges += [column, *([column + width] * (last - index - 1))]
        cells += shown
        column += width
        index = last
    return cells, [*edges, column]


def _cell(letter: str) -> tuple[str, int]:
    """Return what one character is shown as on a terminal, and how many columns that takes."""
    if " " <= letter <= "~":
        return letter, 1
    if letter == "\t":
        return "    ", 4
    category = unicodedata.category(letter)
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        escaped = letter.encode("unicode_escape").decode("ascii")
        return escaped, len(escaped)
    if category in ("Mn", "Me"):
        return letter, 0
    return letter, 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _sanitize(text: str) -> str:
    """Return `text` fit for a terminal: keys masked, control characters but newlines escaped.

    Of what is longer than anybody reads, its beginning is shown.
    """
    masked = mask_key_shapes(text)
    if len(masked) > _LONGEST_TEXT:
        masked = f"{masked[:_LONGEST_TEXT]}…"
    if masked.isascii() and masked.isprintable():
        return masked
    return "".join(c if c == "\n" else _cell(c)[0] for c in masked)
