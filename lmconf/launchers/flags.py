"""Command-line flags of servers: what each takes, and how an argument becomes words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import LaunchError
from lmconf.secrets.references import Env, File, Given, Public

__all__ = ["Flags", "Takes", "command_words", "explain_mismatch", "find_flag", "flags"]

Takes = Literal["switch", "toggle", "integer", "number", "list", "value"]
"""What a flag takes. A `switch` is there or not; a `toggle` is also written `--no-…`; a `value` is
any text, number or, as JSON, mapping or list."""

Flags = Mapping[str, Takes]

_EXPECTED: dict[Takes, str] = {
    "switch": "true or false",
    "toggle": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "list": "a text, a number, or a list of them",
    "value": "a text, a number, a list or a mapping",
}


def flags(
    *,
    switch: str = "",
    toggle: str = "",
    integer: str = "",
    number: str = "",
    list: str = "",
    value: str = "",
) -> Flags:
    """Return a table of flags from their names, each group in a text of its own."""
    groups: tuple[tuple[Takes, str], ...] = (
        ("switch", switch),
        ("toggle", toggle),
        ("integer", integer),
        ("number", number),
        ("list", list),
        ("value", value),
    )
    return {name: takes for takes, names in groups for name in names.split()}


def find_flag(name: str, flags: Flags) -> str | None:
    """Return the flag that `name` means, whether it is written with `-` or with `_`."""
    if name in flags:
        return name
    flag = name.replace("_", "-")
    return flag if flag in flags else None


def explain_mismatch(takes: Takes, value: object) -> str:
    """Return what a flag expects in place of `value`; empty where it fits."""
    plain = value.value if isinstance(value, Public) else value
    if isinstance(plain, Env | File | Given):
        return _EXPECTED[takes] if takes in ("switch", "toggle") else ""
    number = isinstance(plain, int | float) and not isinstance(plain, bool)
    match takes:
        case "switch" | "toggle":
            fits = isinstance(plain, bool)
        case "integer":
            fits = number and isinstance(plain, int)
        case "number":
            fits = number
        case "list":
            fits = number or isinstance(plain, str | Sequence)
        case _:
            fits = not isinstance(plain, bool)
    return "" if fits else _EXPECTED[takes]


def command_words(
    kind: str, args: Mapping[str, object], flags: Flags, resolve: Callable[[object], str]
) -> tuple[str, ...]:
    """Return the words of a command line that `args` stand for.

    `resolve` returns the text behind a reference. A value that begins with a dash stays one.

    Raises:
        LaunchError: a flag is not known, or takes something else. No value is shown.
    """
    words: list[str] = []
    for name, value in args.items():
        flag = find_flag(name, flags)
        if flag is None:
            near = did_you_mean(name, flags)
            hint = f"did you mean {near!r}?" if near else "newer flags go under `raw_args`"
            raise LaunchError(f"{kind} has no argument {name!r}; {hint}")
        expected = explain_mismatch(flags[flag], value)
        if expected:
            raise LaunchError(f"{kind}'s argument {name!r} must be {expected}")
        words += _spell_flag(flag, flags[flag], value, resolve)
    return tuple(words)


def _spell_flag(
    flag: str, takes: Takes, value: object, resolve: Callable[[object], str]
) -> list[str]:
    plain = value.value if isinstance(value, Public) else value
    if takes in ("switch", "toggle"):
        negation = [f"--no-{flag}"] if takes == "toggle" else []
        return [f"--{flag}"] if plain else negation
    if takes == "list" and isinstance(plain, list | tuple):
        return [f"--{flag}", *(resolve(item) for item in plain)]
    if isinstance(plain, Mapping | list | tuple):
        return [f"--{flag}={json.dumps(_jsonable(plain), separators=(',', ':'))}"]
    if takes == "list":
        return [f"--{flag}", resolve(plain)]
    return [f"--{flag}={resolve(plain)}"]


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value
