"""Rendering the templates of a document: `{{ expression }}` in scalar values, after parsing.

A rendered value is always one scalar, so a value can never change the document's shape. A scalar
that is exactly one expression takes the expression's type; otherwise values are put into the text
as YAML spells them. `{% %}` and `{# #}` are text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.document.nodes import Atom, Broken, Node, Path, Plain, Scalar, map_scalars
from lmconf.document.templates.filters import (
    EvaluationError,
    check_length,
    describe_type,
    format_value,
)
from lmconf.secrets.secret_names import is_secret_name

if TYPE_CHECKING:
    from lmconf.document.templates.evaluator import Evaluator

__all__ = ["Renderer", "has_template", "render"]

_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")


def has_template(text: str) -> bool:
    """Say whether `text` holds a template, or the beginning of one."""
    return "{{" in text


def render(
    node: Node,
    variables: Mapping[str, Plain],
    found: list[Diagnostic],
    path: Path = (),
    *,
    broken: Collection[str] = (),
) -> Node:
    """Return `node` with every template in it replaced by its value.

    Args:
        node: what stands at `path`, composed; dollar words in it are left alone.
        variables: what `vars` holds.
        found: where templates without a value are reported, each place once, however many
            entries inherited it; `Broken` stands in their place.
        path: where `node` stands.
        broken: variables that were reported already; templates with them are silently broken.
    """
    return Renderer(variables, found, broken=broken).render(node, path)


class _Expression(Struct, frozen=True):
    """What stands between two pairs of braces."""

    text: str


class Renderer:
    """Renders the parts of one document, each text once, with one bound on their work together.

    The arguments are those of `render`.
    """

    def __init__(
        self,
        variables: Mapping[str, Plain],
        found: list[Diagnostic],
        *,
        broken: Collection[str] = (),
    ) -> None:
        self.variables = variables
        self.broken = broken
        self.found = found
        self.known: dict[str, Atom | EvaluationError] = {}
        self.evaluator: Evaluator | None = None

    def render(self, node: Node, path: Path = ()) -> Node:
        """Return `node`, which stands at `path`, with its templates replaced by their values."""
        return map_scalars(node, path, self.scalar)

    def scalar(self, path: Path, node: Scalar) -> Node:
        text = node.value
        if not isinstance(text, str) or not has_template(text):
            return node
        if text not in self.known:
            self.known[text] = self.render_text(text)
        result = self.known[text]
        if not isinstance(result, EvaluationError):
            return Scalar(result, node.mark, quoted=isinstance(result, str))
        if result.code:
            self.report(_diagnostic(result, node.mark, path))
        return Broken(node.mark)

    def report(self, diagnostic: Diagnostic) -> None:
        """Report what was not reported before: entries inherit the mistakes of others."""
        if not any(_is_same(diagnostic, earlier) for earlier in self.found):
            self.found.append(diagnostic)

    def render_text(self, text: str) -> Atom | EvaluationError:
        try:
            parts = _parts(text)
            if len(parts) == 1 and isinstance(parts[0], _Expression):
                return _atom(self.evaluate(parts[0]), parts[0])
            evaluator = self.started()
            return evaluator.join_parts(
                part if isinstance(part, str) else format_value(_atom(self.evaluate(part), part))
                for part in parts
            )
        except EvaluationError as failed:
            return failed

    def evaluate(self, expression: _Expression) -> Plain:
        return self.started().evaluate(expression.text)

    def started(self) -> Evaluator:
        """Return the evaluator, imported now: most documents hold no template."""
        if self.evaluator is None:
            from lmconf.document.templates.evaluator import Evaluator

            self.evaluator = Evaluator(self.variables, self.broken)
        return self.evaluator


def _atom(value: Plain, expression: _Expression) -> Atom:
    if isinstance(value, list | dict):
        raise EvaluationError(
            "template-shape",
            f"a template's value must be text, a number, a boolean or null, not {describe_type(value)}",
            "write lists and maps in the field itself; a template may be one of their values",
            expression.text.strip(),
        )
    if isinstance(value, str):
        check_length(len(value))
    return value


def _parts(text: str) -> list[str | _Expression]:
    """Return `text` as literal text and expressions, in turn, without empty text.

    As in Jinja, `{{-` and `-}}` take the blanks beside them away.
    """
    parts: list[str | _Expression] = []
    position = 0
    strip = False
    while (start := text.find("{{", position)) >= 0:
        end = _end(text, start + 2)
        literal, inner = text[position:start], text[start + 2 : end]
        literal = literal.lstrip() if strip else literal
        literal = literal.rstrip() if inner.startswith("-") else literal
        strip = inner.endswith("-")
        inner = inner[1 if inner.startswith(("-", "+")) else 0 : -1 if strip else None]
        parts += [literal, _Expression(inner)] if literal else [_Expression(inner)]
        position = end + 2
    rest = text[position:].lstrip() if strip else text[position:]
    return [*parts, rest] if rest else parts


def _end(text: str, start: int) -> int:
    """Return where the `}}` stands that ends the expression beginning at `start`."""
    depth = 0
    quote = ""
    position = start
    while position < len(text):
        letter = text[position]
        if quote:
            if letter == "\\":
                position += 1
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif depth == 0 and text.startswith("}}", position):
            return position
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        position += 1
    raise EvaluationError(
        "template-syntax",
        "`{{` is not closed" + (": a quote is open" if quote else ""),
        "close it with `}}`; text with braces is written {$value: …}",
        "{{",
    )


def _is_same(one: Diagnostic, other: Diagnostic) -> bool:
    if one.mark is None or other.mark is None or one.code != other.code:
        return False
    same = one.mark.key == other.mark.key and one.message == other.message
    # Without a text all places look alike, and the path tells them apart.
    return same and (one.mark.line > 0 or one.path == other.path)


def _diagnostic(failed: EvaluationError, mark: Mark, path: Path) -> Diagnostic:
    secret = any(isinstance(step, str) and is_secret_name(step) for step in path)
    message = "this template has no value" if secret and failed.quoting else failed.message
    return Diagnostic(
        code=failed.code,
        message=message,
        mark=_narrow_mark(mark, failed.part),
        path=path,
        help="" if secret and failed.quoting else failed.help,
    )


def _narrow_mark(mark: Mark, part: str) -> Mark:
    """Return the place of `part` on the line that `mark` is on, or `mark` itself."""
    text = mark.source.text
    if not part or not text or not mark.line:
        return mark
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    start = line.find(part, mark.column - 1, max(mark.end - 1, mark.column))
    if start < 0:
        return mark
    return Mark(mark.source, mark.line, start + 1, start + 1 + len(part))
