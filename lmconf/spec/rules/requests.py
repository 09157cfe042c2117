"""Rules of what goes into a request: its tools, which of them is chosen, and its headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.schema.check import Fault

__all__ = ["check_request"]

Data = Mapping[str, Any]

_CHOICES = ("auto", "none", "required", "any", "validated")
_FORM = "write {type: function, function: {name: …, parameters: {…}}}"


def check_request(data: Data) -> Iterator[Fault]:
    """Yield what no server could make of the tools, the choice of one and the headers of an LM.

    `data` holds fields that are each right by themselves.
    """
    yield from _check_tools(data)
    yield from _check_tool_choice(data)
    yield from _check_headers(data)


def _check_tools(data: Data) -> Iterator[Fault]:
    """Yield a fault for each tool that no server could call, and for a name that stands twice."""
    names: set[str] = set()
    for index, tool in enumerate(_tools(data)):
        if not isinstance(tool, Mapping):
            continue
        kind = tool.get("type")
        if kind is None and "function" not in tool:
            yield Fault("no-tool", ("tools", index), "a tool without a type", help=_FORM)
        elif kind is None:
            yield Fault(
                "no-tool", ("tools", index), "a tool without a type", help="add `type: function`"
            )
        elif kind == "function" and data.get("model_type") != "responses":
            yield from _check_function(tool, index, names)


def _check_function(tool: Mapping[str, Any], index: int, names: set[str]) -> Iterator[Fault]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        yield Fault(
            "no-tool", ("tools", index), "a tool of the type `function` without one", help=_FORM
        )
        return
    name = function.get("name")
    where = ("tools", index, "function")
    if not isinstance(name, str) or not name:
        yield Fault("no-tool", where, "a function without a name", help="add `name`")
        return
    if name in names:
        yield Fault("no-tool", (*where, "name"), f"two functions have the name `{name}`")
    names.add(name)
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        yield Fault(
            "no-tool",
            (*where, "parameters"),
            "the parameters of a function are a JSON Schema",
            help="write `parameters: {type: object, properties: {…}}`",
        )


def _check_tool_choice(data: Data) -> Iterator[Fault]:
    """Yield a fault for a choice of a function that is not among the tools."""
    choice = data.get("tool_choice")
    names = [name for tool in _tools(data) if (name := _name_of(tool)) is not None]
    if isinstance(choice, str):
        if choice in _CHOICES:
            return
        near = did_you_mean(choice, _CHOICES)
        help_ = (
            f"did you mean `{near}`?"
            if near
            else f"write {', '.join(f'`{choice}`' for choice in _CHOICES[:3])}, or a tool"
        )
        if choice in names:
            help_ = f"write {{type: function, function: {{name: {choice}}}}}"
        yield Fault(
            "unknown-tool", ("tool_choice",), f"`{choice}` is not a valid `tool_choice`", help=help_
        )
        return
    name = _name_of(choice)
    # Tools that are said in each call alone cannot be known here.
    if name is None or name in names or not data.get("tools"):
        return
    near = did_you_mean(name, names)
    yield Fault(
        "unknown-tool",
        ("tool_choice",),
        f"there is no tool `{name}`",
        help=f"did you mean `{near}`?" if near else f"the tools are {', '.join(names) or 'others'}",
    )


def _check_headers(data: Data) -> Iterator[Fault]:
    """Yield a fault for a header that is stated twice: case makes no difference in their names."""
    headers = data.get("headers")
    names: dict[str, str] = {}
    for name in headers if isinstance(headers, Mapping) else ():
        other = names.setdefault(str(name).lower(), str(name))
        if other != name:
            yield Fault(
                "same-header",
                ("headers", name),
                f"`{other}` and `{name}` are the same header",
                help="state it once: names of headers are not case-sensitive",
                at_key=True,
            )


def _tools(data: Data) -> list[Any]:
    tools = data.get("tools")
    return list(tools) if isinstance(tools, list | tuple) else []


def _name_of(tool: object) -> str | None:
    """Return the name of the function that a tool, or a choice of one, holds."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
