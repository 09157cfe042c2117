"""Mistakes that YAML does not notice, or notices in the wrong place, and how to mend them."""

from __future__ import annotations

import re

from lmconf.document.yaml.parser import ParseEvent
from lmconf.document.yaml.syntax_faults import SyntaxFault
from lmconf.secrets.redaction import find_possible_secrets

__all__ = ["GLUED", "find_unquoted_template", "line_around", "missing_space", "tag", "template_in"]

GLUED = re.compile(r"([A-Za-z_$][A-Za-z0-9_$-]*):(?=[^\s:])(?!//)")
"""A key and its value with no space after the colon (`model:openai/x`), but no address."""

_VALUE_STARTS = re.compile(r"(?::|-|,)[ ]+|[\[{](?!\{)[ ]*")
_TAG = re.compile(r"(?:&\S+\s+)?(!\S*)")
_VARIABLE = re.compile(r"(?:\$?\{)?([A-Za-z_][A-Za-z0-9_]*)\}?")
_COMMENT = re.compile(r"[ \t]#")
_QUOTE_COMMENT_OR_BRACES = re.compile(r"[\"'#]|\{\{")
_LONGEST_MENDED = 100


def line_around(text: str, offset: int) -> tuple[int, int]:
    """Return where the line that holds `offset` starts and ends, without its break."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    ends = [end for end in (text.find("\n", offset), text.find("\r", offset)) if end >= 0]
    return start, min(ends, default=len(text))


def template_in(text: str, offset: int) -> int | None:
    """Return where the line that holds `offset` has a `{{` outside quotes and comments."""
    start, end = line_around(text, offset)
    quote = ""
    for match in _QUOTE_COMMENT_OR_BRACES.finditer(text, start, end):
        i, letter = match.start(), match[0]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (i == start or text[i - 1] in " \t[{,:"):
            quote = letter
        elif letter == "#" and (i == start or text[i - 1] in " \t"):
            return None
        elif letter == "{{":
            return i
    return None


def find_unquoted_template(text: str, offset: int) -> SyntaxFault:
    """Return the fault of a `{{` at `offset` that stands outside quotes."""
    start, end = line_around(text, offset)
    closed = text.find("}}", offset, end)
    suggestion = _with_quotes(text[start:end], offset - start)
    return SyntaxFault(
        code="unquoted-template",
        message="a template must be quoted: YAML reads `{{` as a mapping inside a mapping",
        start=offset,
        end=closed + 2 if closed >= 0 else end,
        label="quote the whole value",
        help=f"quote it: {suggestion}" if suggestion else "put quotes around the whole value",
    )


def _with_quotes(line: str, at: int) -> str | None:
    """Return `line` with the value around the template at `at` quoted, or None if unsure."""
    if find_possible_secrets(line):
        return None
    starts = [match.end() for match in _VALUE_STARTS.finditer(line, 0, at)]
    first = starts[-1] if starts else len(line) - len(line.lstrip())
    before = line[:first]
    if before.count("{") > before.count("}") or before.count("[") > before.count("]"):
        closed = line.find("}}", at)
        last = closed + 2
        while 0 < last < len(line) and line[last] not in ",]}":
            last += 1
        if closed < 0:
            return None
    elif (closed := line.find("}}:", at)) >= 0:
        last = closed + 2
    else:
        comment = _COMMENT.search(line, at)
        last = comment.start() if comment else len(line)
    value = line[first:last].rstrip()
    if value.startswith(('"', "'")):
        return None
    plain = '"' not in value and "\\" not in value
    quoted = f'"{value}"' if plain else "'" + value.replace("'", "''") + "'"
    suggestion = (line[:first] + quoted + line[first + len(value) :]).strip()
    return suggestion if len(suggestion) <= _LONGEST_MENDED else None


def missing_space(text: str, start: int) -> SyntaxFault | None:
    """Return the fault of a key at `start` whose colon has no space after it, if it is one."""
    match = GLUED.match(text, start)
    if match is None:
        return None
    key = match[1]
    first, last = line_around(text, start)
    line = text[first:last]
    suggestion = (line[: match.end() - first] + " " + line[match.end() - first :]).strip()
    is_shown = len(suggestion) <= _LONGEST_MENDED and not find_possible_secrets(line)
    return SyntaxFault(
        code="missing-space",
        message=f"a space is missing after `{key}:`",
        start=start,
        end=match.end(),
        label="YAML reads this as text, not as a key and its value",
        help=f"write: {suggestion}" if is_shown else f"put a space after `{key}:`",
    )


def tag(text: str, event: ParseEvent) -> SyntaxFault:
    """Return the fault of a value with a tag (`!env NAME`): there are none in documents."""
    match = _TAG.match(text, event.start)
    start, end = match.span(1) if match else (event.start, event.start + 1)
    return SyntaxFault(
        code="tag",
        message=f"tags such as `{text[start:end]}` are not used here",
        start=start,
        end=end,
        help=_instead_of(text[start:end], event),
    )


def _instead_of(tag: str, event: ParseEvent) -> str:
    """Return what to write in the place of `tag`."""
    word = tag.strip("!").lower()
    if word in ("env", "env_var", "envvar", "environ", "getenv"):
        variable = _VARIABLE.fullmatch(event.value)
        return f"write {{$env: {variable[1] if variable else 'NAME'}}}"
    if word in ("file", "include", "secret"):
        return "write {$file: path}"
    if word == "str":
        return "quote the value instead"
    return "remove it"
