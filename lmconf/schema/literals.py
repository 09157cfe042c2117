"""Secrets that stand in a document as they are, where only a reference may stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lmconf.schema.fault import Fault, Path
from lmconf.schema.value import Shape
from lmconf.secrets.redaction import mask_key_shapes
from lmconf.secrets.references import Env, File
from lmconf.secrets.secret_names import is_secret_name

__all__ = ["literal_secrets"]

_LABEL = "a secret never stands in a profile"
# How other programs write a variable of the environment; a key would have small letters, too.
_UNEXPANDED = re.compile(
    r"\$\{([A-Za-z_]\w*)\}|\$([A-Z_][A-Z0-9_]*)|os\.environ/(\w+)|env:(\w+)|env\((\w+)\)"
)
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@?#]*:[^/\s@?#]+@\S*", re.IGNORECASE)
_WITH_USER = re.compile(r"https?://[^/\s@?#]+@\S*", re.IGNORECASE)
# A word of a format that is long and has digits is no word.
_KEYLIKE = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])\S{12,}")
_PARAMETER = re.compile(r"[?&]([^=&#\s]+)=(?=[^&#\s])")


def literal_secrets(shape: Shape | None, value: object, path: Path = ()) -> Iterator[Fault]:
    """Yield a fault for each secret in `value`, known by shape, by name, or as part of an address.

    One fault is yielded for all that stands under one secret's name, at any depth.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            inner = shape.child(value, key) if shape is not None else None
            here = (*path, key)
            known = inner is not None and inner.choose(item).is_secret
            if known or is_secret_name(key):
                referable = inner is None or inner.fits(Env(name=key))
                yield from _under_name(item, here, key, referable)
            elif key == "command":
                yield from _in_command(item, here)
            else:
                yield from literal_secrets(inner, item, here)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            inner = shape.child(value, index) if shape is not None else None
            yield from literal_secrets(inner, item, (*path, index))
    elif isinstance(value, str) and "://" in value:
        yield from _in_address(value, path)


def _under_name(value: object, path: Path, name: str, referable: bool) -> Iterator[Fault]:
    part = _in_reference(value)
    if part:
        yield Fault(
            "literal-secret",
            path,
            f"`{part}` in `{name}` holds a literal secret",
            label=_LABEL,
            help=f"leave `{part}` out, or let it hold words alone, such as `Bearer {{}}`"
            if part == "format"
            else 'leave `default` out, or write `default: ""` for a server without keys',
        )
        return
    literal = next(_literals(value), None)
    if literal is None:
        return
    if not referable:
        yield Fault(
            "literal-secret",
            path,
            f"`{name}` holds a literal secret",
            label=_LABEL,
            help="a program's arguments show in the list of processes: give it under `env`, as a"
            " reference",
        )
        return
    variable = "".join(c if c.isalnum() else "_" for c in name).upper()
    text = literal if isinstance(literal, str) else ""
    unexpanded = _UNEXPANDED.fullmatch(text)
    if unexpanded is not None:
        yield Fault(
            "literal-secret",
            path,
            f"`{name}` is this text as it stands: no variable is put in its place",
            help=f"write `{name}: {{$env: {unexpanded[unexpanded.lastindex or 0]}}}`",
        )
        return
    form = ', format: "Bearer {}"' if text.lower().startswith("bearer ") else ""
    yield Fault(
        "literal-secret",
        path,
        f"`{name}` holds a literal secret",
        label=_LABEL,
        help=f"put it into the environment and write `{name}: {{$env: {variable}{form}}}`"
        " (or `{$file: path}`; `{$public: …}` if it is no secret)",
    )


def _in_reference(value: object) -> str:
    """Return which option of a reference to a secret holds one itself, if any does."""
    if isinstance(value, Env) and value.default not in (None, "") and value.default is not False:
        return "default"
    if isinstance(value, Env | File) and value.format is not None:
        words = re.split(r"[\s={}:,;]+", value.format)
        if mask_key_shapes(value.format) != value.format or any(map(_KEYLIKE.fullmatch, words)):
            return "format"
    return ""


def _in_command(value: object, path: Path) -> Iterator[Fault]:
    """Yield a fault for each word of a command that is the value of a secret option."""
    before = ""
    for index, word in enumerate(value if isinstance(value, list | tuple) else ()):
        if not isinstance(word, str):
            continue
        option, _, literal = word.partition("=") if word.startswith("-") else (before, "", word)
        secret = option.startswith("-") and is_secret_name(option.lstrip("-"))
        # `{port}` and its like are put in when the command is run.
        if secret and literal and not re.fullmatch(r"\{\w+\}", literal):
            yield Fault(
                "literal-secret",
                (*path, index),
                f"`{option}` is given a literal secret",
                label=_LABEL,
                help="a program's arguments show in the list of processes: give it under `env`, as"
                " a reference",
            )
        before = word


def _literals(value: object) -> Iterator[str | int | float]:
    if isinstance(value, str | int | float) and value != "" and not isinstance(value, bool):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _literals(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _literals(item)


def _in_address(text: str, path: Path) -> Iterator[Fault]:
    name = next((step for step in reversed(path) if isinstance(step, str)), "the address")
    part = ""
    if _WITH_PASSWORD.fullmatch(text):
        part = "password"
    elif _WITH_USER.fullmatch(text):
        part = "user's name"
    else:
        secret = [match[1] for match in _PARAMETER.finditer(text) if is_secret_name(match[1])]
        if secret:
            part = f"parameter `{secret[0]}`"
    if part:
        yield Fault(
            "literal-secret",
            path,
            f"the address in `{name}` holds a secret, its {part}",
            label=_LABEL,
            help=f"put the whole address into the environment and write `{name}: {{$env: NAME}}`, "
            "or take the secret out of it",
        )
