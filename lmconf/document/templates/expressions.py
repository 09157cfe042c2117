"""The expressions of templates as trees: parsed by Jinja, with faults in our own words."""

from __future__ import annotations

import re

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from lmconf.document.templates.filters import EvaluationError

__all__ = ["parse_expression", "spell_path"]

_STATEMENTS = frozenset("set if elif else endif for endfor block macro include import".split())


def parse_expression(text: str, environment: Environment) -> nodes.Expr:
    """Return the tree of the expression `text`.

    Raises:
        EvaluationError: the text is not an expression.
    """
    if not text.strip():
        raise EvaluationError("template-syntax", "this template is empty", "write {{ vars.name }}")
    try:
        parser = Parser(environment, text, state="variable")
        expression = parser.parse_expression()
    except TemplateSyntaxError as error:
        reason = _translate_syntax_error(error.message or "")
        message = (
            "this is not an expression: it ends too early"
            if "end of" in reason
            else f"this is not an expression: {reason}"
        )
        raise EvaluationError("template-syntax", message, quoting=True) from None
    except (ValueError, SyntaxError):  # a literal that Python refuses, such as an odd escape
        raise EvaluationError(
            "template-syntax", "this expression holds a malformed literal"
        ) from None
    if not parser.stream.eos:
        word = text.split(maxsplit=1)[0]
        if word in _STATEMENTS:
            raise EvaluationError(
                "template-syntax",
                f"`{word}` begins a statement, and a template holds an expression",
                "write a choice as `a if vars.x else b`" if word == "if" else "",
                word,
            )
        raise EvaluationError(
            "template-syntax",
            f"`{parser.stream.current.value}` is not expected after the expression",
            "one pair of braces holds one expression",
            quoting=True,
        )
    return expression


def spell_path(node: nodes.Node) -> str:
    """Return the path that `node` spells, as far as it is one."""
    match node:
        case nodes.Name(name=name):
            return name
        case nodes.Getattr(node=owner, attr=attr):
            return f"{spell_path(owner)}.{attr}"
        case nodes.Getitem(node=owner, arg=nodes.Const(value=str() as key)):
            return f"{spell_path(owner)}.{key}"
        case nodes.Getitem(node=owner, arg=nodes.Const(value=key)):
            return f"{spell_path(owner)}[{key}]"
        case _:
            return "…"


def _translate_syntax_error(message: str) -> str:
    """Return what Jinja's parser says of an expression without its own terms."""
    match = re.fullmatch(r"expected token '(.+)', got '(.+)'", message)
    if match is not None and "end of" not in match[2]:
        return f"`{match[1]}` is expected, not `{match[2]}`"
    strange = re.match(r"unexpected char '(.+)' at \d+", message) or re.fullmatch(
        r"unexpected '(.+)'", message
    )
    if strange is not None and "end of" not in strange[1]:
        return f"`{strange[1]}` is not expected there"
    return message
