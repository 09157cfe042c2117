"""Looks through a text's YAML events before anything is built from them.

The parser's events are a flat stream, so no depth, alias or size can hurt here; what would hurt
later (a text of endless brackets, aliases that multiply to billions of values) is refused. With
PyYAML's C parser this costs about as much as reading the text.
"""

from __future__ import annotations

import re

from msgspec import Struct

from lmconf.document.yaml.parser import ParseEvent, ParseFailure, events
from lmconf.document.yaml.syntax_errors import BAD_ESCAPE, reword
from lmconf.document.yaml.syntax_faults import SyntaxFault

__all__ = ["DEPTH", "LENGTH", "NODES", "Scan", "scan"]

LENGTH = 2 * 1024 * 1024
"""The most characters (or bytes) of a text."""
DEPTH = 64
"""The most collections inside one another, aliases followed."""
NODES = 100_000
"""The most keys and values of a text, aliases followed, and of all LMs with what they inherit."""


_NOT_YAML = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
_NOT_YAML_BEYOND_ASCII = r"\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff"
_TAG_DIRECTIVE = re.compile(r"^%TAG", re.MULTILINE)
_MOST_DIRECTIVES = 16
_SURROGATE = re.compile(r"((?<!\\)(?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class Scan(Struct, frozen=True):
    """What a look through a text found.

    `events` are those of its first document's nodes. `whole` is false when the look ended early,
    and then nothing can be built from them. `json` is true when the text is JSON with escapes that
    YAML lacks: then a string's value must be taken from the text, not from its event.
    """

    events: list[ParseEvent]
    faults: list[SyntaxFault]
    whole: bool
    json: bool = False


def scan(text: str) -> Scan:
    """Return the events of `text` and every fault that makes building from them unsafe.

    Nothing is ever raised: a text that is no YAML has a fault that says so.
    """
    fault = _unreadable(text)
    if fault is not None:
        return Scan([], [fault], whole=False)
    result = _watch_events(text)
    if not result.whole and (readable := _json_for_yaml(text, result.faults[-1])) is not None:
        again = _watch_events(readable)
        return Scan(again.events, again.faults, whole=again.whole, json=True)
    return result


def _watch_events(text: str) -> Scan:
    watch = _Watch()
    try:
        for event in events(text):
            if not watch.see(event):
                break
    except ParseFailure as failure:
        return Scan(watch.events, [reword(failure, text, watch.events)], whole=False)
    return Scan(watch.events, watch.faults, whole=watch.whole)


class _Open(Struct):
    """A collection whose end has not come yet: its size and height so far, aliases followed."""

    anchor: str | None
    size: int = 1
    height: int = 1


class _Watch:
    """Adds up what the events would become and says when that is too much."""

    def __init__(self) -> None:
        self.events: list[ParseEvent] = []
        self.faults: list[SyntaxFault] = []
        self.whole = True
        self._open: list[_Open] = []
        self._known: dict[str, tuple[int, int]] = {}
        self._nodes = 0
        self._documents = 0

    def see(self, event: ParseEvent) -> bool:
        """Take one event; return whether to go on."""
        kind = event.kind
        if kind == "document":
            self._documents += 1
            if self._documents == 1:
                return True
            self.faults.append(_several_documents(event))
            return False
        self.events.append(event)
        if kind == "scalar":
            if event.anchor is not None:
                self._known[event.anchor] = (1, 0)
            return self._grow(event, 1, 0)
        if kind == "end":
            self._close()
            return True
        if kind == "alias":
            # An alias of a collection that is still open is a cycle: building finds it.
            return self._grow(event, *self._known.get(event.anchor or "", (1, 0)))
        self._open.append(_Open(event.anchor))
        self._nodes += 1
        return self._fits(event, len(self._open))

    def _grow(self, event: ParseEvent, size: int, height: int) -> bool:
        self._nodes += size
        if self._open:
            around = self._open[-1]
            around.size += size
            if height >= around.height:
                around.height = height + 1
        return self._fits(event, len(self._open) + height)

    def _close(self) -> None:
        closed = self._open.pop()
        if closed.anchor is not None:
            self._known[closed.anchor] = (closed.size, closed.height)
        if self._open:
            around = self._open[-1]
            around.size += closed.size
            around.height = max(around.height, closed.height + 1)

    def _fits(self, event: ParseEvent, depth: int) -> bool:
        if depth <= DEPTH and self._nodes <= NODES:
            return True
        if depth > DEPTH:
            fault = SyntaxFault(
                code="too-deep",
                message=f"this is nested more than {DEPTH} levels deep",
                start=event.start,
                end=event.end,
            )
        else:
            fault = SyntaxFault(
                code="too-large",
                message=f"the text holds more than {NODES:,} keys and values, with aliases followed",
                start=event.start,
                end=event.end,
                label="the limit is passed here",
            )
        self.faults.append(fault)
        self.whole = False
        return False


def _json_for_yaml(text: str, fault: SyntaxFault) -> str | None:
    r"""Return JSON `text` with escapes that YAML can read, or None if nothing is to be gained.

    JSON writes a character beyond U+FFFF as a pair (`\ud83d\ude00`), which YAML refuses. Others of
    the same length stand in for them, so that every place stays what it is.
    """
    if fault.code != BAD_ESCAPE:
        return None
    import json

    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _SURROGATE.sub(r"\1\\ue000", text)


def _several_documents(event: ParseEvent) -> SyntaxFault:
    return SyntaxFault(
        code="several-documents",
        message="a second document begins here, and a file may hold only one",
        start=event.start,
        end=event.start + 3,
        help="remove this line, or put the documents into files of their own",
    )


def _unreadable(text: str) -> SyntaxFault | None:
    """Return why `text` is not given to the parser at all."""
    if len(text) > LENGTH:
        return SyntaxFault(
            code="too-large",
            message=f"the text is longer than {LENGTH:,} characters",
            start=0,
            end=0,
        )
    beyond = "" if text.isascii() else _NOT_YAML_BEYOND_ASCII
    match = re.search(f"{_NOT_YAML}{beyond}]", text)
    if match is not None:
        number = ord(match[0])
        surrogate = 0xD800 <= number <= 0xDFFF
        what = "half of a surrogate pair" if surrogate else "a control character"
        return SyntaxFault(
            code="encoding" if surrogate else "control-character",
            message=f"{what} (U+{number:04X}) is not allowed in a document",
            start=match.start(),
            end=match.end(),
            help=""
            if surrogate
            else f'write it as an escape in double quotes: "\\x{number:02x}"'
            if number < 0x100
            else "remove it",
        )
    # The parser's time grows with the square of their number, and tags are refused anyway.
    directives = list(_TAG_DIRECTIVE.finditer(text))
    if len(directives) > _MOST_DIRECTIVES:
        return SyntaxFault(
            code="tag",
            message="a document needs no %TAG directives",
            start=directives[0].start(),
            end=directives[0].end(),
            help="remove them: tags are not used here",
        )
    return None
