"""Says in plain words what a YAML parser's error means, and where the mistake really is.

PyYAML has two parsers with wordings of their own; the rules below look for what both share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from lmconf.document.yaml.parser import ParseEvent
from lmconf.document.yaml.syntax_faults import Remark, SyntaxFault
from lmconf.document.yaml.syntax_hints import (
    find_unquoted_template,
    line_around,
    missing_space,
    template_in,
)

if TYPE_CHECKING:
    from lmconf.document.yaml.parser import ParseFailure

__all__ = ["BAD_ESCAPE", "reword"]

BAD_ESCAPE = "bad-escape"
"""The code of an escape in double quotes that names no character."""

_KEY = re.compile(r"[ \t]*(?:- +)*")


class _Case(Struct, frozen=True):
    """One error of the parser: its words, the offsets it names, and the value read before it."""

    text: str
    problem: str
    context: str
    at: int
    start: int | None
    last: ParseEvent | None

    @property
    def letter(self) -> str:
        return self.text[self.at : self.at + 1]

    @property
    def line_start(self) -> int:
        return line_around(self.text, self.at)[0]

    @property
    def before(self) -> str:
        """The error's line up to the error."""
        return self.text[self.line_start : self.at]

    @property
    def key_on_line(self) -> int:
        """Where the first key or value of the error's line starts."""
        match = _KEY.match(self.text, self.line_start)
        return match.end() if match else self.line_start

    def fault(
        self,
        message: str,
        *,
        label: str = "",
        help: str = "",
        code: str = "yaml-syntax",
        at: int | None = None,
        length: int = 1,
        notes: tuple[Remark, ...] = (),
    ) -> SyntaxFault:
        start = self.at if at is None else at
        return SyntaxFault(
            code=code,
            message=message,
            start=start,
            end=start + length,
            label=label,
            help=help,
            notes=notes,
        )


def reword(failure: ParseFailure, text: str, events: Sequence[ParseEvent]) -> SyntaxFault:
    """Return the fault that `failure` tells of; `events` are those read before it."""
    last = events[-1] if events else None
    case = _Case(
        text=text,
        problem=failure.problem,
        context=failure.context,
        at=failure.at,
        start=failure.start,
        last=last if last is not None and last.kind == "scalar" else None,
    )
    for rule in _RULES:
        fault = rule(case)
        if fault is not None:
            return fault
    problem = f"{case.problem} {case.context}".strip() or "it cannot be parsed"
    return case.fault(f"this is not valid YAML: {problem}")


def _template(case: _Case) -> SyntaxFault | None:
    if case.context.endswith("quoted scalar"):
        return None
    for offset in (case.at, case.start):
        place = None if offset is None else template_in(case.text, offset)
        if place is not None:
            return find_unquoted_template(case.text, place)
    return None


def _tab(case: _Case) -> SyntaxFault | None:
    if "tab character" not in case.problem and case.letter != "\t":
        return None
    return case.fault(
        "YAML does not allow a tab here",
        help="indent with spaces",
    )


def _find_glued_key(case: _Case) -> SyntaxFault | None:
    """Find a key without a space after its colon, which YAML notices a line too late."""
    if case.start is not None and "simple key" in case.context:
        return missing_space(case.text, case.start)
    if "mapping values are not allowed" not in case.problem:
        return None
    starts = [case.key_on_line]
    above = case.line_start
    while above > 0 and len(starts) < 3:
        above, end = line_around(case.text, above - 1)
        if case.text[above:end].strip():
            match = _KEY.match(case.text, above)
            starts.append(match.end() if match else above)
    for start in starts:
        fault = missing_space(case.text, start)
        if fault is not None:
            return fault
    return None


def _no_colon(case: _Case) -> SyntaxFault | None:
    if "simple key" not in case.context or case.start is None:
        return None
    end = line_around(case.text, case.start)[1]
    return case.fault(
        "a key and its `:` are expected here",
        at=case.start,
        length=max(1, end - case.start),
        label="no `: ` follows on this line",
    )


def _open_quote(case: _Case) -> SyntaxFault | None:
    if "quoted scalar" not in case.context or case.start is None:
        return None
    quote = case.text[case.start : case.start + 1]
    if "end of stream" in case.problem or "document indicator" in case.problem:
        return case.fault(
            f"this quote is never closed: a second {quote} is missing",
            at=case.start,
            label="opened here",
        )
    return None


def _escape(case: _Case) -> SyntaxFault | None:
    if "quoted scalar" not in case.context:
        return None
    escape = case.text.rfind("\\", case.start or 0, case.at + 1)
    start = escape if escape >= 0 else case.at
    if case.text[start + 1 : start + 2] in "uU":
        letter = case.text[start + 1 : start + 2]
        digits = "four" if letter == "u" else "eight"
        return case.fault(
            f"this escape is not valid: `\\{letter}` needs {digits} hexadecimal digits",
            code=BAD_ESCAPE,
            at=start,
            length=2,
            help="write `\\\\` for a backslash, or use single quotes",
        )
    return case.fault(
        "YAML has no such escape in double quotes",
        code=BAD_ESCAPE,
        at=start,
        length=2,
        help="write `\\\\` for a backslash, or use single quotes",
    )


def _after_quote(case: _Case) -> SyntaxFault | None:
    """Find text after a closing quote, which often closes another quote than the author meant."""
    last = case.last
    if last is None or last.style not in ("'", '"') or "simple key" in case.context:
        return None
    start, end = last.start, last.end
    between = case.text[end : case.at]
    if between.strip(" \t") or case.letter in ("", "\n", "\r"):
        return None
    if "flow" in case.context and case.letter in ("'", '"') and between:
        # Two texts in quotes beside each other: what is missing is a comma.
        return None
    double = "\\" if last.style == '"' else "'"
    many_lines = "\n" in case.text[start:end]
    return case.fault(
        "text follows a closing quote",
        label="the value ended before this",
        help=f"inside these quotes a quote is written {double}{last.style}",
        notes=(Remark("the quote opened here", start, start + 1),) if many_lines else (),
    )


def _open_bracket(case: _Case) -> SyntaxFault | None:
    if "flow" not in case.context or case.start is None or "',' or" not in case.problem:
        return None
    opening = case.text[case.start : case.start + 1]
    closing = "]" if "sequence" in case.context else "}"
    if "\n" in case.text[case.start : case.at] or case.at >= len(case.text):
        remark = Remark("reading stopped here", case.at, case.at + 1)
        return case.fault(
            f"this `{opening}` is never closed: a `{closing}` or a `,` is missing",
            at=case.start,
            label="opened here",
            notes=(remark,) if case.text[case.at :].strip() else (),
        )
    return case.fault(
        f"a `,` or a `{closing}` is missing before this",
        notes=(Remark(f"the `{opening}` opened here", case.start, case.start + 1),),
    )


def _second_colon(case: _Case) -> SyntaxFault | None:
    if "mapping values are not allowed" not in case.problem:
        return None
    content = case.text[case.key_on_line : case.at]
    if re.search(r":[ \t]", content):
        return case.fault(
            "an unquoted value contains a second `: `",
            label="YAML reads this as another key",
            help="quote the value, or begin a line for the second key",
        )
    return case.fault(
        "this line is indented deeper, but the key above it already has a value",
        at=case.key_on_line,
        length=max(1, case.at - case.key_on_line),
        help="indent it like the line above, or quote a text of several lines",
    )


def _indentation(case: _Case) -> SyntaxFault | None:
    if "parsing a block" not in case.context or "node" in case.context:
        return None
    start = case.start
    if case.letter in ("}", "]"):
        return case.fault(f"this `{case.letter}` closes nothing", help="remove it")
    if case.before.strip():
        return case.fault(
            "this cannot follow a value on the same line",
            help="quote the whole value to make it text",
        )
    is_map = "mapping" in case.context
    if case.letter == ":":
        return case.fault("a key is missing before this `:`")
    if (
        is_map
        and case.letter == "-"
        and start is not None
        and _column(case, start) == len(case.before)
    ):
        return case.fault(
            "a list item is among the keys of a mapping",
            label="expected a key",
            help="remove the `- `, or indent it below the key whose list it belongs to",
        )
    here = "a list item" if case.letter == "-" else "this line"
    fits = "the mapping" if is_map else "the list"
    remark = Remark(f"{fits} began here", start or 0, (start or 0) + 1)
    return case.fault(
        f"{here} does not fit the lines above it: {fits} that it stands in begins elsewhere",
        label="expected a key, indented like the others"
        if is_map
        else "expected `- `, indented like the others",
        notes=(remark,) if start is not None else (),
    )


def _column(case: _Case, offset: int) -> int:
    return offset - line_around(case.text, offset)[0]


def _first_letter(case: _Case) -> SyntaxFault | None:
    if "cannot start any token" not in case.problem:
        return None
    letter = "a backtick" if case.letter == "`" else f"`{case.letter}`"
    return case.fault(
        f"an unquoted value cannot begin with {letter}",
        help="quote the value",
    )


def _anchor(case: _Case) -> SyntaxFault | None:
    for what, sign in (("alias", "*"), ("anchor", "&")):
        if f"an {what}" in case.context:
            return case.fault(
                f"`{sign}` begins an {what}, and its name is missing or wrong",
                at=case.start,
                help="quote the value to make it text",
            )
    return None


def _no_content(case: _Case) -> SyntaxFault | None:
    if "node content" not in case.problem:
        return None
    return case.fault(
        f"a value is expected before `{case.letter}`" if case.letter else "a value is missing",
        help="quote the value to make it text" if case.letter else "",
    )


def _item_on_key_line(case: _Case) -> SyntaxFault | None:
    if "sequence entries are not allowed" not in case.problem:
        return None
    return case.fault(
        "a list item cannot stand on the line of its key",
        help="put each `- ` on a line of its own, or write [a, b]",
    )


def _key_mark(case: _Case) -> SyntaxFault | None:
    if "mapping keys are not allowed" not in case.problem:
        return None
    return case.fault("`? ` cannot begin a key here", help="quote the value to make it text")


def _block_header(case: _Case) -> SyntaxFault | None:
    if "block scalar" not in case.context:
        return None
    return case.fault(
        "after `|` or `>` the text begins on the next line",
        help="move this to the next line, or quote the value",
    )


def _tag(case: _Case) -> SyntaxFault | None:
    if "tag" not in case.context and "tag" not in case.problem:
        return None
    return case.fault(
        "tags (words that begin with `!`) are not used here",
        code="tag",
        at=case.start,
        help="quote the value to make it text",
    )


def _directive(case: _Case) -> SyntaxFault | None:
    if "directive" not in case.context and "directive" not in case.problem:
        return None
    return case.fault(
        "this directive is not known",
        at=case.start,
        help="remove the line that begins with `%`",
    )


def _after_end(case: _Case) -> SyntaxFault | None:
    if "document start" not in case.problem:
        return None
    return case.fault(
        "the document has ended before this",
        help="remove the `...` line, or quote the text above if it is one value",
    )


_RULES: tuple[Callable[[_Case], SyntaxFault | None], ...] = (
    _template,
    _tab,
    _find_glued_key,
    _no_colon,
    _open_quote,
    _escape,
    _after_quote,
    _open_bracket,
    _second_colon,
    _first_letter,
    _anchor,
    _no_content,
    _item_on_key_line,
    _key_mark,
    _block_header,
    _tag,
    _directive,
    _indentation,
    _after_end,
)
