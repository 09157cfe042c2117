"""Turning maps with dollar words into nodes of their own, once, right after reading.

The words are `$env $file $value $public $append $prepend $unset $given`; any other key that
begins with a dollar sign (`$ref`, `$defs`) is data.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.dollar_words import (
    OPTIONS,
    VERBATIM_HELP,
    find_misspelt_word,
    suggest_word,
)
from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Path,
    Public,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    to_plain,
)
from lmconf.secrets.references import Env, File, Given
from lmconf.secrets.secret_names import is_secret_name

if TYPE_CHECKING:
    from lmconf.secrets.references import EnvType

__all__ = ["recognise_operators", "recognise_value_operators"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# A value given in code is named by the dotted path of its place (`headers.X-Api-Key`).
_PLACE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_TYPES: dict[EnvType, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}
_TYPES_ELSEWHERE: dict[str, EnvType] = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
}
_KIND_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def recognise_operators(
    root: Map, diagnostics: list[Diagnostic], *, folder: str | None = None
) -> Map:
    """Return `root` with every dollar word turned into its node.

    Args:
        root: a document as it was read.
        diagnostics: where mistakes are reported; what is wrong stands as `Broken` in the result.
        folder: where relative paths of `$file` start; they stay relative without it.
    """
    node = recognise_value_operators(root, (), diagnostics, folder=folder)
    if isinstance(node, Map):
        return node
    if not isinstance(node, Broken):
        word = next(key for key in root.entries if key in OPTIONS)
        diagnostics.append(
            Diagnostic(
                code="dollar-root",
                message=f"a document cannot be `{word}` as a whole",
                mark=root.keys[word],
                help="put it in the field that needs it",
            )
        )
    return Map({}, {}, root.mark)


def recognise_value_operators(
    node: Node, path: Path, diagnostics: list[Diagnostic], *, folder: str | None = None
) -> Node:
    """Return `node`, which stands at `path`, with every dollar word in it turned into its node."""
    return _Recogniser(diagnostics, folder).visit(node, path)


class _Operator(Struct, frozen=True):
    """One map with a dollar word: the word, its argument and where it stands."""

    word: str
    argument: Node
    whole: Map
    path: Path


class _Recogniser:
    def __init__(self, diagnostics: list[Diagnostic], folder: str | None) -> None:
        self.diagnostics = diagnostics
        self.folder = folder
        self.readers: dict[str, Callable[[_Operator], Node]] = {
            "$env": self.env,
            "$file": self.file,
            "$value": self.value,
            "$public": self.public,
            "$append": self.change,
            "$prepend": self.change,
            "$unset": self.unset,
            "$given": self.secret,
        }

    def visit(self, node: Node, path: Path) -> Node:
        if isinstance(node, Seq):
            return Seq(self.items(node, path), node.mark)
        if not isinstance(node, Map):
            return node
        word = next((key for key in node.entries if key in OPTIONS), None)
        if word is not None:
            return self.operator(_Operator(word, node.entries[word], node, path))
        suggestion = find_misspelt_word(node.entries)
        if suggestion is not None:
            return self.broken(
                "dollar-unknown",
                f"`{suggestion[0]}` is not a dollar word",
                node.keys[suggestion[0]],
                path,
                help=suggest_word(*suggestion),
            )
        entries = {key: self.visit(value, (*path, key)) for key, value in node.entries.items()}
        return Map(entries, node.keys, node.mark)

    def items(self, node: Seq, path: Path) -> tuple[Node, ...]:
        items = []
        for index, item in enumerate(node.items):
            node_of_item = self.visit(item, (*path, index))
            if isinstance(node_of_item, Change):
                node_of_item = self.broken(
                    "dollar-in-list",
                    "an item of a list has no inherited value to change",
                    node_of_item.mark,
                    (*path, index),
                    help="`$append`, `$prepend` and `$unset` must be the value of a key",
                )
            items.append(node_of_item)
        return tuple(items)

    def operator(self, op: _Operator) -> Node:
        options = OPTIONS[op.word]
        strays = [key for key in op.whole.entries if key != op.word and key not in options]
        for key in strays:
            self.diagnostics.append(_stray(op, key))
        if strays or any(isinstance(value, Broken) for value in op.whole.entries.values()):
            return Broken(op.whole.mark)
        return self.readers[op.word](op)

    def env(self, op: _Operator) -> Node:
        before = len(self.diagnostics)
        name = self.name(op, "the name of an environment variable, such as OPENAI_API_KEY")
        kind = self.env_type(op)
        format = self.format(op)
        if format is not None and kind != "str":
            self.option(op, "format", "`format` makes text", "leave out `type`, or `format`")
        default = self.default(op, name, kind)
        if len(self.diagnostics) > before:
            return Broken(op.whole.mark)
        reference = Env(name=name, default=default, type=kind, format=format)
        return Reference(reference, op.whole.mark)

    def env_type(self, op: _Operator) -> EnvType:
        node = op.whole.get("type")
        if node is None:
            return "str"
        name = node.value if isinstance(node, Scalar) else None
        for kind in _TYPES:
            if name == kind:
                return kind
        near = None
        if isinstance(name, str):
            near = _TYPES_ELSEWHERE.get(name.lower()) or did_you_mean(name, _TYPES)
        hint = f"did you mean `{near}`?" if near else ""
        self.option(op, "type", "`type` must be str, int, float or bool", hint)
        return "str"

    def default(self, op: _Operator, name: str, kind: EnvType) -> str | int | float | bool | None:
        node = op.whole.get("default")
        if node is None:
            return None
        value = node.value if isinstance(node, Scalar) else None
        if value is None:
            self.option(
                op,
                "default",
                "`default` must be text, a number, true or false",
                "leave `default` out to make the variable required",
            )
        elif isinstance(value, bool) != (kind == "bool") or not isinstance(value, _TYPES[kind]):
            self.option(op, "default", *_disagreement(value, kind, "type" in op.whole))
        elif isinstance(value, str) and "{{" in value:
            self.option(op, "default", *_no_template(op.word))
        elif value != "" and is_secret_name(name):
            self.option(
                op,
                "default",
                f"`{name}` holds a secret, and a default would write it into the document",
                'leave `default` out, or write `default: ""` for a server without keys',
            )
        return value

    def file(self, op: _Operator) -> Node:
        before = len(self.diagnostics)
        path = self.text(op, "the path of a file")
        format = self.format(op)
        if len(self.diagnostics) > before:
            return Broken(op.whole.mark)
        pure = PurePath(path)
        if self.folder is not None and not pure.is_absolute() and not path.startswith("~"):
            path = str(PurePath(self.folder) / pure)
        return Reference(File(path=path, format=format), op.whole.mark)

    def format(self, op: _Operator) -> str | None:
        node = op.whole.get("format")
        if node is None:
            return None
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and value.count("{}") == 1 and "{{" not in value:
            return value
        self.option(
            op,
            "format",
            "`format` must be text with exactly one `{}`, which the value replaces",
            'such as "Bearer {}"',
        )
        return None

    def secret(self, op: _Operator) -> Node:
        before = len(self.diagnostics)
        name = self.name(op, "the name under which code passes the value, such as api_key", _PLACE)
        if len(self.diagnostics) > before:
            return Broken(op.whole.mark)
        return Reference(Given(name=name), op.whole.mark)

    def value(self, op: _Operator) -> Node:
        if _holds_broken(op.argument):
            return Broken(op.whole.mark)
        return Verbatim(to_plain(op.argument), op.whole.mark)

    def public(self, op: _Operator) -> Node:
        if isinstance(op.argument, Scalar):
            return Public(op.argument.value, op.whole.mark)
        return self.argument(op, "text, a number, true, false or null")

    def change(self, op: _Operator) -> Node:
        parts: dict[str, tuple[Node, ...]] = {}
        for word in ("$prepend", "$append"):
            node = op.whole.get(word)
            if isinstance(node, Seq):
                parts[word] = self.items(node, op.path)
            elif node is not None:
                operator = _Operator(word, node, op.whole, op.path)
                self.argument(operator, "a list", f"write `{word}: […]`, also around a single item")
        if len(parts) < len(op.whole.entries):
            return Broken(op.whole.mark)
        return Change(
            op.whole.mark, prepend=parts.get("$prepend", ()), append=parts.get("$append", ())
        )

    def unset(self, op: _Operator) -> Node:
        if isinstance(op.argument, Scalar) and op.argument.value is True:
            return Change(op.whole.mark, reset=True)
        return self.argument(op, "true", "leave the key out to keep the inherited value")

    def name(self, op: _Operator, expected: str, names: re.Pattern[str] | None = None) -> str:
        name = self.text(op, expected)
        if name and not (names or _NAME).match(name):
            # The text itself is not shown: a key pasted here by mistake must not be printed.
            self.argument(op, expected, "names are letters, digits and `_`, no digit first")
        return name

    def text(self, op: _Operator, expected: str) -> str:
        value = op.argument.value if isinstance(op.argument, Scalar) else None
        if not isinstance(value, str) or not value:
            self.argument(op, expected)
            return ""
        if "{{" in value:
            message, help = _no_template(op.word)
            self.broken("dollar-template", message, op.argument.mark, op.path, help=help)
            return ""
        return value

    def argument(self, op: _Operator, expected: str, help: str = "") -> Broken:
        message = f"`{op.word}` takes {expected}"
        return self.broken("dollar-argument", message, op.argument.mark, op.path, help=help)

    def option(self, op: _Operator, key: str, message: str, help: str) -> None:
        mark = op.whole.entries[key].mark
        self.broken("dollar-option", message, mark, op.path, help=help)

    def broken(self, code: str, message: str, mark: Mark, path: Path, *, help: str) -> Broken:
        self.diagnostics.append(
            Diagnostic(code=code, message=message, mark=mark, path=path, help=help)
        )
        return Broken(mark)


def _stray(op: _Operator, key: str) -> Diagnostic:
    mark = op.whole.keys[key]
    if key in OPTIONS:
        return Diagnostic(
            code="dollar-key",
            message=f"`{op.word}` and `{key}` cannot be used in one mapping",
            mark=mark,
            path=op.path,
            help="keep one of them",
        )
    options = sorted(OPTIONS[op.word])
    near = did_you_mean(key, options)
    if near is not None:
        hint = f"did you mean `{near}`?"
    elif options:
        hint = f"allowed beside it: {', '.join(options)}; {VERBATIM_HELP}"
    else:
        hint = f"no other key is allowed beside it; {VERBATIM_HELP}"
    return Diagnostic(
        code="dollar-key",
        message=f"`{key}` cannot be used beside `{op.word}`",
        mark=mark,
        path=op.path,
        help=hint,
    )


def _disagreement(
    value: str | int | float | bool, kind: EnvType, is_explicit: bool
) -> tuple[str, str]:
    is_kind: EnvType = (
        "bool"
        if isinstance(value, bool)
        else "int"
        if isinstance(value, int)
        else "float"
        if isinstance(value, float)
        else "str"
    )
    if is_explicit:
        message = f"`type` is {kind}, but `default` is {_KIND_NAMES[type(value)]}"
        return message, f"state a default of type {kind}"
    message = f"without `type` the variable is text, but `default` is {_KIND_NAMES[type(value)]}"
    return message, f"add `type: {is_kind}`, or put the default in quotes"


def _no_template(word: str) -> tuple[str, str]:
    return (
        f"templates are not rendered inside `{word}`",
        "write the text as it is; a reference is looked up when a call is sent",
    )


def _holds_broken(node: Node) -> bool:
    match node:
        case Broken():
            return True
        case Seq(items=items):
            return any(_holds_broken(item) for item in items)
        case Map(entries=entries):
            return any(_holds_broken(value) for value in entries.values())
        case _:
            return False
