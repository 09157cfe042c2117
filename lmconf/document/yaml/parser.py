"""YAML text as a flat stream of events, from PyYAML's C parser where there is one.

This is the only module that knows PyYAML's types. Nothing recursive happens here, in C or Python:
a text of 30,000 brackets is harmless, also in a thread with a small stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import yaml
from msgspec import Struct
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Parser(Protocol):
        def get_event(self) -> yaml.events.Event | None: ...


__all__ = ["Kind", "ParseEvent", "ParseFailure", "events"]

Kind = Literal["scalar", "alias", "list", "map", "end", "document"]

# What PyYAML's Python parser raises, beside its own errors, on texts that are no YAML.
_STRAY_ERRORS = (ValueError, OverflowError, LookupError, AttributeError, TypeError)


class ParseEvent(Struct, frozen=True, gc=False):
    """One step through a text: a scalar, an alias, the start or the end of a collection.

    `start` and `end` are character offsets, from the anchor or tag on; `value` is a scalar's text
    without its quotes; `style` is a scalar's quote (or `|`, `>`), and `{` for collections in
    brackets; `anchor` is an alias's name, too.
    """

    kind: Kind
    start: int
    end: int
    value: str = ""
    style: str = ""
    anchor: str | None = None
    tag: str | None = None


class ParseFailure(Exception):
    """The parser gave up: its words, and the offsets of the error and of what it was reading."""

    def __init__(self, problem: str, at: int, context: str = "", start: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.at = at
        self.context = context
        self.start = start


def events(text: str) -> Iterator[ParseEvent]:
    """Yield the events of `text`.

    Raises:
        ParseFailure: the text is no YAML.
    """
    failure: ParseFailure | None = None
    at = 0
    try:
        parser = _parser(text)
        while (raw := parser.get_event()) is not None:
            event = _event(raw)
            if event is not None:
                at = event.end
                yield event
    except yaml.MarkedYAMLError as error:
        failure = _failure(error, len(text), at)
    except (yaml.YAMLError, *_STRAY_ERRORS) as error:
        failure = ParseFailure(f"{type(error).__name__} while reading on from here", at)
    if failure is not None:
        raise failure


def _failure(error: yaml.MarkedYAMLError, length: int, at: int) -> ParseFailure:
    problem, context = error.problem_mark, error.context_mark
    mark = problem or context
    return ParseFailure(
        error.problem or "",
        min(mark.index, length) if mark is not None else at,
        error.context or "",
        min(context.index, length) if context is not None else None,
    )


def _event(raw: yaml.events.Event) -> ParseEvent | None:
    first, last = raw.start_mark, raw.end_mark
    start = first.index if first is not None else 0
    end = last.index if last is not None else start
    # Exact types, the most frequent first: this runs for every key and value.
    if type(raw) is ScalarEvent:
        return ParseEvent("scalar", start, end, raw.value, raw.style or "", raw.anchor, raw.tag)
    if isinstance(raw, CollectionEndEvent):
        return ParseEvent("end", start, end)
    if type(raw) is MappingStartEvent:
        return ParseEvent("map", start, end, "", "{" if raw.flow_style else "", raw.anchor, raw.tag)
    if type(raw) is SequenceStartEvent:
        return ParseEvent(
            "list", start, end, "", "{" if raw.flow_style else "", raw.anchor, raw.tag
        )
    if type(raw) is AliasEvent:
        return ParseEvent("alias", start, end, anchor=raw.anchor)
    return ParseEvent("document", start, end) if type(raw) is DocumentStartEvent else None


def _parser(text: str) -> Parser:
    if yaml.__with_libyaml__:
        from yaml._yaml import CParser

        return CParser(text)
    return _parser_in_python(text)


def _parser_in_python(text: str) -> Parser:
    """Return PyYAML's slower parser, for platforms without the C one."""
    from yaml.parser import Parser as PythonParser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class WholeParser(Reader, Scanner, PythonParser):
        def __init__(self) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            PythonParser.__init__(self)

    return WholeParser()
