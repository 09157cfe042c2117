"""Reading the values of command-line arguments, with places in the whole argument."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.document.nodes import Broken, Map, Node, Scalar, Seq
from lmconf.errors import ProfileError
from lmconf.secrets.secret_names import is_secret_name

__all__ = ["NAME", "GivenText", "parse_var", "read_argument"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
"""The names that variables may have."""


class GivenText(Struct, frozen=True):
    """A value from the command line: its text, which the declared type reads, and its place."""

    text: str
    mark: Mark


def parse_var(
    text: str, diagnostics: list[Diagnostic], *, option: str = "--var"
) -> tuple[str, GivenText] | None:
    """Return the name and the value that `--var name=value` gives, or None after reporting why."""
    name, equals, _ = text.partition("=")
    if equals and NAME.match(name):
        hidden = ((len(name) + 1, len(text)),) if is_secret_name(name) else ()
        source = Source(option, text=text, hidden=hidden)
        return name, GivenText(text, Mark(source, 1, len(name) + 2, len(text) + 1))
    hidden = ((len(name) + 1, len(text)),) if equals else ()
    diagnostics.append(
        Diagnostic(
            code="var-syntax",
            message=f"`{name}` is not a valid name of a variable"
            if equals and name
            else f"`{option}` needs a name, `=` and a value",
            mark=Mark(Source(option, text=text, hidden=hidden), 1, 1, len(name) + 1),
            help=f"such as `{option} tier=full`; names are letters, digits and `_`",
        )
    )
    return None


def read_argument(
    text: str, start: int, diagnostics: list[Diagnostic], *, option: str, key: str
) -> Node | None:
    """Return the YAML value that begins at `start` of the argument `text` of `option`.

    Its places are places in the whole argument. `key` is the name that the value is for: under a
    secret's name the value is never printed. Returns None after reporting a mistake.
    """
    from lmconf.document.yaml.reader import read_value

    value = text[start:]
    if not value.strip():
        source = Source(option, text=text)
        return Scalar("", Mark(source, 1, start + 1, start + 1), quoted=True)
    try:
        node = read_value(value, option, key=key)
    except ProfileError as error:
        diagnostics.extend(_shift_diagnostics(error.diagnostics, text, start, option))
        return None
    node = _shift_node(node, _whole_source(node.mark.source, text, start, option), start)
    fault = _explain_one_line(node, value)
    if fault:
        diagnostics.append(
            Diagnostic(
                code="set-value",
                message=fault,
                mark=node.mark,
                help="put the value in quotes, within the quotes of the shell",
            )
        )
        return None
    return node


def _whole_source(part: Source, text: str, start: int, option: str) -> Source:
    hidden = tuple((first + start, last + start) for first, last in part.hidden)
    return Source(option, text=text, hidden=hidden)


def _shift_diagnostics(
    diagnostics: Sequence[Diagnostic], text: str, start: int, option: str
) -> Iterator[Diagnostic]:
    for diagnostic in diagnostics:
        mark = diagnostic.mark
        if mark is not None:
            source = _whole_source(mark.source, text, start, option)
            mark = _shift_mark(mark, source, start)
        yield Diagnostic(
            code=diagnostic.code,
            message=diagnostic.message,
            mark=mark,
            label=diagnostic.label,
            help=diagnostic.help,
        )


def _shift_node(node: Node, source: Source, start: int) -> Node:
    """Return `node`, as it was read, with its places `start` characters later in `source`."""
    mark = _shift_mark(node.mark, source, start)
    match node:
        case Scalar(value=value, quoted=quoted):
            return Scalar(value, mark, quoted)
        case Seq(items=items):
            return Seq(tuple(_shift_node(item, source, start) for item in items), mark)
        case Map(entries=entries, keys=keys):
            nodes = {key: _shift_node(value, source, start) for key, value in entries.items()}
            return Map(
                nodes, {key: _shift_mark(at, source, start) for key, at in keys.items()}, mark
            )
        case _:
            return Broken(mark)


def _shift_mark(mark: Mark, source: Source, start: int) -> Mark:
    shift = start if mark.line <= 1 else 0
    return Mark(source, mark.line, mark.column + shift, mark.end + shift)


def _explain_one_line(node: Node, value: str) -> str:
    """Return why `value` means something else than it seems to, or nothing."""
    first = value.lstrip()[:1]
    if isinstance(node, Map) and first != "{":
        return "`: ` makes this a mapping"
    if isinstance(node, Seq) and first != "[":
        return "`- ` makes this a list"
    if isinstance(node, Scalar) and not node.quoted and "#" in value:
        text = node.value if isinstance(node.value, str) else ""
        if "#" not in text or text.count("#") < value.count("#"):
            return "`#` begins a comment here"
    return ""
