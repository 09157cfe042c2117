"""Binding `vars`: the values that templates see, taken once from the document, from what was given
on the command line or in code, and from the environment.

What is taken from the environment is baked into the result, so secrets are refused here: they
belong in their fields, as references that are looked up when a call is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Note, Source
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.command_line import NAME, GivenText, read_argument
from lmconf.document.nodes import (
    Broken,
    Map,
    Node,
    Path,
    Plain,
    Public,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    from_plain,
    to_plain,
)
from lmconf.secrets.references import Env, convert_text
from lmconf.secrets.secret_names import is_secret_name

if TYPE_CHECKING:
    from lmconf.secrets.references import EnvType

__all__ = ["BoundVariables", "bind_variables"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EXPECTED = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "map": "a map",
    "any": "null",
}

Kind: TypeAlias = Literal["str", "int", "float", "bool", "list", "map", "any"]


class BoundVariables(Struct, frozen=True):
    """What templates see.

    `sources` says which variable took its value from which environment variable (parts of a
    variable by dotted path). `broken` names the variables whose mistakes were reported.
    """

    values: Mapping[str, Plain]
    sources: Mapping[str, str]
    broken: frozenset[str] = frozenset()


def bind_variables(
    declared: Map | None,
    values: Mapping[str, object],
    environment: Mapping[str, str],
    diagnostics: list[Diagnostic],
) -> BoundVariables:
    """Return the values of all declared variables.

    Args:
        declared: the document's `vars`, settled; None where it has none.
        values: values that overrule the declared ones: plain data, or `GivenText`.
        environment: where `{$env: …}` is looked up, now and never again.
        diagnostics: where mistakes are reported.
    """
    binder = _Binder(environment, diagnostics)
    entries: Mapping[str, Node] = {} if declared is None else declared.entries
    keys: Mapping[str, Mark] = {} if declared is None else declared.keys
    for name, value in values.items():
        if name not in entries:
            diagnostics.append(_undeclared_variable(name, value, entries))
    for name, node in entries.items():
        binder.declare(name, node, keys[name], values)
    return BoundVariables(binder.values, binder.sources, frozenset(binder.broken))


class _Binder:
    def __init__(self, environment: Mapping[str, str], diagnostics: list[Diagnostic]) -> None:
        self.environment = environment
        self.diagnostics = diagnostics
        self.values: dict[str, Plain] = {}
        self.sources: dict[str, str] = {}
        self.broken: set[str] = set()

    def declare(self, name: str, node: Node, key: Mark, values: Mapping[str, object]) -> None:
        """Bind the variable `name`, or report why that cannot be."""
        path: Path = ("vars", name)
        value: Plain | Broken
        if not NAME.match(name):
            value = self.broken_at(
                "var-name",
                f"`{name}` is not a valid name of a variable",
                key,
                path,
                "names are letters, digits and `_`, no digit first",
            )
        elif self.is_secret(name, node, key, path):
            value = Broken(key)
        elif name in values:
            value = self.bind(values[name], node, path)
        else:
            value = self.plain(node, path)
        if isinstance(value, Broken):
            self.broken.add(name)
        else:
            self.values[name] = value

    def plain(self, node: Node, path: Path) -> Plain | Broken:
        """Return the value of what the document declares at `path`."""
        match node:
            case Scalar(value=str() as text, mark=mark) if "{{" in text:
                return self.broken_at(
                    "var-template",
                    "templates are not rendered inside `vars`",
                    mark,
                    path,
                    "write the whole value here; text with braces is written {$value: …}",
                )
            case Scalar(value=value) | Verbatim(value=value) | Public(value=value):
                return value
            case Seq(items=items):
                values = [self.plain(item, (*path, index)) for index, item in enumerate(items)]
                parts = [value for value in values if not isinstance(value, Broken)]
                return parts if len(parts) == len(values) else Broken(node.mark)
            case Map():
                return self.mapping(node, path)
            case Reference(to=Env() as reference):
                return self.read_environment(reference, node.mark, path)
            case Reference():
                return self.broken_at(
                    "var-reference",
                    "a variable takes its value from the document or by `$env`",
                    node.mark,
                    path,
                    "write other references in the fields that use them",
                )
            case _:
                return Broken(node.mark)

    def mapping(self, node: Map, path: Path) -> Plain | Broken:
        values: dict[str, Plain] = {}
        for key, inner in node:
            within = (*path, key)
            if not self.is_secret(key, inner, node.keys[key], within):
                value = self.plain(inner, within)
                if not isinstance(value, Broken):
                    values[key] = value
        return values if len(values) == len(node.entries) else Broken(node.mark)

    def is_secret(self, name: str, node: Node, key: Mark, path: Path) -> bool:
        """Say whether `name` is a secret's, after reporting that it has no place here."""
        if isinstance(node, Public) or not is_secret_name(name):
            return False
        self.broken_at(
            "var-secret",
            f"`{_join_path(path)}` has the name of a secret, and values of variables are visible in the result",
            key,
            path,
            "write `{$env: …}` in the field itself; {$public: …} if it is no secret",
        )
        return True

    def read_environment(self, reference: Env, mark: Mark, path: Path) -> Plain | Broken:
        """Return the value of an environment variable, and remember that it was taken."""
        if is_secret_name(reference.name):
            return self.broken_at(
                "var-secret",
                f"`{reference.name}` is named like a secret, and variables become part of the "
                "result",
                mark,
                path,
                f"write `{{$env: {reference.name}}}` in the field itself",
            )
        text = self.environment.get(reference.name)
        if text is None and reference.default is not None:
            return reference.default
        if text is None:
            return self.broken_at(
                "var-unset",
                f"the environment variable `{reference.name}` is not set, and `{_join_path(path)}` "
                "has no default",
                mark,
                path,
                f"set {reference.name}, add a `default`, or give the variable by `--var`",
            )
        value = self.convert(text, reference.type, mark, path, f"`{reference.name}`")
        if not isinstance(value, Broken):
            self.sources[_join_path(path[1:])] = reference.name
            if isinstance(value, str) and reference.format is not None:
                return reference.format.replace("{}", value, 1)
        return value

    def convert(
        self, text: str, kind: EnvType, mark: Mark, path: Path, name: str
    ) -> Plain | Broken:
        """Return `text` as a value of the type `kind`."""
        value = convert_text(text, kind)
        if value is not None and (kind != "str" or not _CONTROL.search(text)):
            return value
        problem = "is empty" if not text.strip() else "is something else"
        if kind == "str":
            problem = "holds control characters"
        return self.broken_at(
            "var-type",
            f"`{_join_path(path)}` must be {_EXPECTED[kind]}, and {name} {problem}",
            mark,
            path,
            "booleans are true, false, 1, 0, yes, no, on or off" if kind == "bool" else "",
        )

    def bind(self, value: object, declared: Node, path: Path) -> Plain | Broken:
        """Return `value`, a variable of the caller, in the type that the document declares."""
        kind = _kind(declared)
        if isinstance(value, GivenText):
            return self.bind_text(value, kind, declared, path)
        try:
            node = from_plain(value, Mark(Source("vars")))
        except TypeError as error:
            return self.broken_at(
                "var-value",
                f"`{_join_path(path)}` has a value that a document cannot hold: {error}",
                Mark(Source("vars")),
                path,
            )
        data = _data(node)
        if isinstance(data, Broken):
            return self.broken_at(
                "var-value",
                f"`{_join_path(path)}` cannot be a reference",
                node.mark,
                path,
                "give the value itself, or write the reference in the field that uses it",
            )
        return self.fit(data, kind, node.mark, declared, path)

    def bind_text(
        self, argument: GivenText, kind: Kind, declared: Node, path: Path
    ) -> Plain | Broken:
        start = argument.mark.column - 1
        exact = isinstance(declared, Reference)
        if kind in ("str", "bool") or (exact and kind in ("int", "float")):
            name = "the value given"
            return self.convert(argument.text[start:], kind, argument.mark, path, name)
        name = str(path[-1])
        node = read_argument(
            argument.text, start, self.diagnostics, option=argument.mark.source.name, key=name
        )
        if node is None:
            return Broken(argument.mark)
        return self.fit(_data(node), kind, node.mark, declared, path)

    def fit(
        self, value: Plain | Broken, kind: Kind, mark: Mark, declared: Node, path: Path
    ) -> Plain | Broken:
        exact = isinstance(declared, Reference)
        if isinstance(value, Broken) or kind in ("any", _kind_of(value)):
            return value
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value) if exact else value
        if value is None and not exact:
            return value
        return self.broken_at(
            "var-type",
            f"`{_join_path(path)}` must be {_EXPECTED[kind]}, not {_EXPECTED[_kind_of(value)]}",
            mark,
            path,
            notes=(Note("as it is declared here", declared.mark),),
        )

    def broken_at(
        self,
        code: str,
        message: str,
        mark: Mark,
        path: Path,
        help: str = "",
        *,
        notes: tuple[Note, ...] = (),
    ) -> Broken:
        self.diagnostics.append(
            Diagnostic(code=code, message=message, mark=mark, path=path, help=help, notes=notes)
        )
        return Broken(mark)


def _name_mark(value: object, name: str) -> Mark:
    """Return where `value` is given the name of `name`."""
    if isinstance(value, GivenText):
        return Mark(value.mark.source, 1, 1, len(name) + 1)
    return Mark(Source("vars"))


def _undeclared_variable(name: str, value: object, entries: Mapping[str, Node]) -> Diagnostic:
    near = did_you_mean(name, entries)
    names = ", ".join(entries)
    help = f"the document declares: {names}" if names else "the document declares no variables"
    return Diagnostic(
        code="var-unknown",
        message=f"there is no variable `{name}`",
        mark=_name_mark(value, name),
        path=("vars", name),
        help=f"did you mean `{near}`?" if near else help,
        notes=(Note(f"`{near}` is declared here", entries[near].mark),) if near else (),
    )


def _kind(declared: Node) -> Kind:
    """Return what a given value must be, to stand for what is declared."""
    match declared:
        case Reference(to=Env(type=kind)):
            return kind
        case Scalar(value=None) | Verbatim(value=None) | Public(value=None):
            return "any"
        case Scalar(value=value) | Verbatim(value=value) | Public(value=value):
            return _number_as_float(_kind_of(value))
        case Seq():
            return "list"
        case Map():
            return "map"
        case _:
            return "any"


def _number_as_float(kind: Kind) -> Kind:
    # `size: 1` declares a number; only `type: int` says that it must be whole.
    return "float" if kind == "int" else kind


def _kind_of(value: Plain) -> Kind:
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "str"
        case list():
            return "list"
        case dict():
            return "map"
        case None:
            return "any"


def _data(node: Node) -> Plain | Broken:
    """Return given nodes as plain data: nothing in them is looked up."""
    match node:
        case Scalar(value=value):
            return value
        case Seq(items=items):
            values = [_data(item) for item in items]
            parts = [value for value in values if not isinstance(value, Broken)]
            return parts if len(parts) == len(values) else Broken(node.mark)
        case Map():
            return to_plain(node)
        case _:
            return Broken(node.mark)


def _join_path(path: Path) -> str:
    return ".".join(map(str, path))
