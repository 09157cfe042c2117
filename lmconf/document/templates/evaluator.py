"""Evaluating the expressions of templates: Jinja's grammar, over plain data, with bounded work.

Jinja parses; nothing is compiled or run. What an expression may do is the list of nodes, filters
and tests below: no calls, no attributes of Python objects, no loops, and no step whose result is
much larger than what it was made from. This module imports jinja2 (tens of milliseconds) and is
itself imported only when a document holds a template.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from jinja2 import Environment, nodes

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.templates.expressions import parse_expression, spell_path
from lmconf.document.templates.filters import (
    FILTERS,
    TESTS,
    EvaluationError,
    Undefined,
    calculate,
    check_length,
    check_number,
    describe_type,
    format_value,
    is_number,
)

if TYPE_CHECKING:
    from lmconf.document.nodes import Plain
    from lmconf.document.templates.filters import Value

__all__ = ["LONGEST_EXPRESSION", "Evaluator"]

LONGEST_EXPRESSION = 4096
"""How many characters one expression may have."""

_WORK = 5_000_000
"""The work of all templates of a document, about one for each character or item touched."""
_WORK_PER_PARSED_CHARACTER = 20
_OUTSIDE = frozenset("env environ getenv os ENV lookup envvar environment".split())
_ORDER: Mapping[str, Callable[[str | float, str | float], bool]] = {
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}
_ARITHMETIC = (
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Pow,
)


class Evaluator:
    """Evaluates the expressions of one document against its `vars`.

    Args:
        variables: what `vars` holds.
        broken: variables whose mistakes were reported: what uses them fails without a word.
    """

    def __init__(self, variables: Mapping[str, Plain], broken: Iterable[str] = ()) -> None:
        self.variables: dict[str, Plain] = dict(variables)
        self.broken = frozenset(broken)
        self.environment = Environment(autoescape=True)
        self.left = _WORK
        self.readers: dict[type[nodes.Node], Callable[..., Value]] = {
            nodes.Name: self.name,
            nodes.Const: self.constant,
            nodes.List: self.sequence,
            nodes.Tuple: self.sequence,
            nodes.Dict: self.mapping,
            nodes.Getattr: self.attribute,
            nodes.Getitem: self.item,
            nodes.CondExpr: self.choice,
            nodes.Compare: self.compare,
            nodes.And: self.both,
            nodes.Or: self.either,
            nodes.Not: self.negation,
            nodes.Concat: self.concat,
            nodes.Filter: self.filter,
            nodes.Test: self.test,
            nodes.Call: self.call,
            nodes.Neg: self.sign,
            nodes.Pos: self.sign,
            **dict.fromkeys(_ARITHMETIC, self.arithmetic),
        }

    def evaluate(self, text: str) -> Plain:
        """Return the value of the expression `text`.

        Raises:
            EvaluationError: the text is no expression, uses what is not there, or does too much.
        """
        if len(text) > LONGEST_EXPRESSION:
            raise EvaluationError(
                "template-work",
                f"an expression may have {LONGEST_EXPRESSION} characters at most",
                "spread it over several fields",
            )
        self.spend(len(text) * _WORK_PER_PARSED_CHARACTER)
        try:
            return self.value(parse_expression(text, self.environment))
        except RecursionError:
            raise EvaluationError("template-work", "this expression is nested too deeply") from None

    def spend(self, work: int) -> None:
        """Take `work` from what the templates of the document may do together."""
        self.left -= work
        if self.left < 0:
            raise EvaluationError(
                "template-work",
                "the templates of this document do too much work",
                "write long values directly in their fields",
            )

    def value(self, node: nodes.Node) -> Plain:
        """Return what `node` is worth; what is not there has no worth."""
        result = self.lenient(node)
        if isinstance(result, Undefined):
            raise result.failed()
        return result

    def lenient(self, node: nodes.Node) -> Value:
        """Return what `node` is worth, or that it is not there."""
        self.spend(1)
        read = self.readers.get(type(node))
        if read is None:
            kind = type(node).__name__
            raise EvaluationError("template-operation", f"templates do not support this ({kind})")
        return read(node)

    def name(self, node: nodes.Name) -> Plain:
        if node.name == "vars":
            return self.variables
        raise EvaluationError(
            "template-name",
            f"`{node.name}` is not defined: templates can read `vars` only",
            self.suggest_name(node.name),
            node.name,
            quoting=True,
        )

    def suggest_name(self, name: str) -> str:
        if name in _OUTSIDE:
            return (
                "declare a variable that takes it from the environment, such as "
                "`region: {$env: AWS_REGION_NAME}` under `vars`, and write `vars.region`"
            )
        if name in self.variables:
            return f"write `vars.{name}`"
        if name.lower() in {"null", "nil"}:
            return "write `none`"
        near = did_you_mean(name, self.variables)
        return f"did you mean `vars.{near}`?" if near else f"declare `{name}` under `vars`"

    def constant(self, node: nodes.Const) -> Plain:
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return check_number(value)
        return value if value is None or isinstance(value, bool) else str(value)

    def sequence(self, node: nodes.List | nodes.Tuple) -> Plain:
        return [self.value(item) for item in node.items]

    def mapping(self, node: nodes.Dict) -> Plain:
        return {format_value(self.value(pair.key)): self.value(pair.value) for pair in node.items}

    def attribute(self, node: nodes.Getattr) -> Value:
        return self.member(node.node, node.attr)

    def item(self, node: nodes.Getitem) -> Value:
        if isinstance(node.arg, nodes.Slice):
            return self.slice(node.node, node.arg)
        key = self.value(node.arg)
        if isinstance(key, str):
            return self.member(node.node, key)
        whole = self.value(node.node)
        if not isinstance(whole, list | str) or not isinstance(key, int) or isinstance(key, bool):
            raise EvaluationError(
                "template-type", f"{describe_type(whole)} has no item at {describe_type(key)}"
            )
        if not -len(whole) <= key < len(whole):
            raise EvaluationError(
                "template-undefined",
                f"`{spell_path(node.node)}` has no item {key}",
                f"it has {len(whole)} items; the first is 0",
            )
        return whole[key]

    def member(self, owner: nodes.Node, key: str) -> Value:
        whole = self.value(owner)
        written = spell_path(owner)
        if not isinstance(whole, dict):
            raise EvaluationError(
                "template-type",
                f"{describe_type(whole)} has no `{key}`"
                if "…" in written
                else f"`{written}` is {describe_type(whole)} and has no `{key}`",
                "templates have no methods; write filters as `| upper`",
                f"{written}.{key}",
                quoting=True,
            )
        if whole is self.variables and key in self.broken:
            raise EvaluationError("", "this variable's own mistake was reported")
        return (
            whole[key] if key in whole else Undefined(f"{written}.{key}", written, key, (*whole,))
        )

    def slice(self, owner: nodes.Node, part: nodes.Slice) -> Plain:
        whole = self.value(owner)
        if part.step is not None or not isinstance(whole, list | str):
            raise EvaluationError(
                "template-type", "only text and lists have parts, written `[first:end]`"
            )
        self.spend(len(whole))
        return whole[self.bound(part.start) : self.bound(part.stop)]

    def bound(self, node: nodes.Node | None) -> int | None:
        value = None if node is None else self.value(node)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise EvaluationError(
            "template-type", f"a part begins and ends at whole numbers, not {describe_type(value)}"
        )

    def choice(self, node: nodes.CondExpr) -> Plain:
        if node.expr2 is None:
            raise EvaluationError(
                "template-syntax", "`if` needs an `else`", "add `else` with the other value"
            )
        return self.value(node.expr1 if self.value(node.test) else node.expr2)

    def both(self, node: nodes.And) -> Plain:
        return self.value(node.left) and self.value(node.right)

    def either(self, node: nodes.Or) -> Plain:
        return self.value(node.left) or self.value(node.right)

    def negation(self, node: nodes.Not) -> Plain:
        return not self.value(node.node)

    def compare(self, node: nodes.Compare) -> Plain:
        left = self.value(node.expr)
        for operand in node.ops:
            right = self.value(operand.expr)
            if not self.holds(operand.op, left, right):
                return False
            left = right
        return True

    def holds(self, relation: str, left: Plain, right: Plain) -> bool:
        if relation in {"in", "notin"}:
            return self.contains(right, left) == (relation == "in")
        if isinstance(left, list | dict) or isinstance(right, list | dict):
            raise EvaluationError("template-type", "lists and maps cannot be compared")
        if isinstance(left, str) and isinstance(right, str):
            self.spend(min(len(left), len(right)))
        elif relation in _ORDER and not (is_number(left) and is_number(right)):
            raise EvaluationError(
                "template-type",
                f"{describe_type(left)} and {describe_type(right)} have no order",
                "convert one of them, as in `vars.size | int`",
            )
        if relation in _ORDER and left is not None and right is not None:
            return _ORDER[relation](left, right)
        return (left == right) == (relation == "eq")

    def contains(self, whole: Plain, part: Plain) -> bool:
        if isinstance(whole, str) and isinstance(part, str):
            self.spend(len(whole) + len(part))
            return part in whole
        if isinstance(whole, dict | list) and not isinstance(part, list | dict):
            self.spend(len(whole))
            return part in whole
        raise EvaluationError(
            "template-type", f"`in` cannot look for {describe_type(part)} in {describe_type(whole)}"
        )

    def concat(self, node: nodes.Concat) -> Plain:
        return self.join_parts(format_value(self.value(each)) for each in node.nodes)

    def join_parts(self, parts: Iterable[str]) -> str:
        """Return `parts` as one text, unless it were too long."""
        length = 0
        taken = []
        for part in parts:
            length += len(part)
            check_length(length)
            taken.append(part)
        self.spend(length)
        return "".join(taken)

    def arithmetic(self, node: nodes.BinExpr) -> Plain:
        left, right = self.value(node.left), self.value(node.right)
        result = calculate(node.operator, left, right)
        if isinstance(result, str | list):
            self.spend(len(result))
        return result

    def sign(self, node: nodes.UnaryExpr) -> Plain:
        value = self.value(node.node)
        if not is_number(value) or not isinstance(value, int | float):
            raise EvaluationError("template-type", f"{describe_type(value)} has no sign")
        return check_number(-value if isinstance(node, nodes.Neg) else value)

    def filter(self, node: nodes.Filter) -> Plain:
        apply = FILTERS.get(node.name)
        if apply is None or node.node is None:
            raise _no_such("template-filter", node.name, FILTERS)
        positional, named = self.arguments(node)
        value = self.lenient(node.node) if node.name == "default" else self.value(node.node)
        if isinstance(value, str | list | dict):
            self.spend(len(value))
        try:
            result = apply(value, *positional, **named)
        except TypeError:  # raised by Python when arguments do not fit the filter's parameters
            message = f"filter `{node.name}` does not take these arguments"
            raise EvaluationError("template-type", message, part=node.name) from None
        if isinstance(result, str):
            check_length(len(result))
            self.spend(len(result))
        return result

    def arguments(self, node: nodes.Filter | nodes.Test) -> tuple[list[Plain], dict[str, Plain]]:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise EvaluationError("template-operation", "`*` and `**` cannot be used in templates")
        named = {str(pair.key): self.value(pair.value) for pair in node.kwargs}
        return [self.value(each) for each in node.args], named

    def test(self, node: nodes.Test) -> Plain:
        if node.name not in TESTS:
            raise _no_such("template-test", node.name, TESTS)
        if any(self.arguments(node)):
            raise EvaluationError("template-type", f"test `{node.name}` takes no arguments")
        if node.name == "none":
            return self.value(node.node) is None
        missing = isinstance(self.lenient(node.node), Undefined)
        return missing == (node.name == "undefined")

    def call(self, node: nodes.Call) -> Plain:
        name = spell_path(node.node).rpartition(".")[2]
        help = "templates compute with `vars`; write filters as `| upper`"
        if name in FILTERS:
            help = f"write it as a filter: `| {name}`"
        elif name in _OUTSIDE:
            help = self.suggest_name(name)
        raise EvaluationError("template-call", "templates cannot call functions", help, name)


def _no_such(code: str, name: str, known: Iterable[str]) -> EvaluationError:
    names = sorted(known)
    near = did_you_mean(name, names)
    help = f"did you mean `{near}`?" if near else f"there are: {', '.join(names)}"
    message = f"there is no {code.removeprefix('template-')} `{name}`"
    return EvaluationError(code, message, help, name, quoting=True)
