"""The docstrings of public names: an imperative first line, and every argument described."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

MODULES = ("lmconf", "lmconf.errors", "lmconf.testing")
NOT_VERBS = frozenset("A An The What Which Who Whether How When Where If It This These".split())


def public_callables() -> Iterator[tuple[str, Any]]:
    """Yield the public functions, and the public methods of the public classes, by name."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield f"{module_name}.{name}", value
            elif inspect.isclass(value):
                # What a test of the contract shows is its name.
                for method_name, method in inspect.getmembers(value, is_own_method):
                    if not method_name.startswith(("_", "test_")) or method_name == "__call__":
                        yield f"{module_name}.{name}.{method_name}", method


def is_own_method(value: object) -> bool:
    """Say whether `value` is a function or method that lmconf defines."""
    function = inspect.unwrap(getattr(value, "__func__", value))  # type: ignore[arg-type]
    return inspect.isfunction(function) and function.__module__.startswith("lmconf")


CALLABLES = dict(public_callables())


def faults(function: Any) -> Iterator[str]:
    """Yield what the docstring of `function` lacks."""
    text = inspect.getdoc(function)
    if not text:
        yield "no docstring"
        return
    first = text.split("\n\n")[0].replace("\n", " ")
    if not re.match(r"[A-Z][a-z]+ ", first) or first.split()[0] in NOT_VERBS:
        yield f"the first line does not begin with a verb: {first}"
    if not first.rstrip().endswith((".", ":")):
        yield f"the first line does not end with a period: {first}"
    signature = inspect.signature(function)
    arguments = sections(text).get("Args", "")
    for name in signature.parameters:
        if name in ("self", "cls") or name.startswith("_"):
            continue
        if not re.search(rf"(?m)^\s+(\S+, )*{re.escape(name)}(, \S+)*: \S", arguments):
            yield f"Args lacks {name}"
    returned = str(signature.return_annotation)
    nothing = returned in ("None", "<class 'NoneType'>", "NoReturn")
    described = {"Returns", "Yields"} & sections(text).keys()
    if not nothing and not described and not re.match(r"(Return|Yield|Say whether) ", first):
        yield "no Returns"


def sections(text: str) -> dict[str, str]:
    """Return the sections of a docstring (`Args:`, `Returns:` …) by their heading."""
    parts = re.split(r"(?m)^(Args|Returns|Yields|Raises):\n", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", CALLABLES)
def test_a_public_callable_is_described(name: str) -> None:
    assert list(faults(CALLABLES[name])) == []


def test_what_a_docstring_lacks_is_found() -> None:
    def poor(one: int, *more: int) -> int:
        """What it does"""  # noqa: D415 - as poor docstrings are
        return sum((one, *more))

    assert [fault.partition(":")[0] for fault in faults(poor)] == [
        "the first line does not begin with a verb",
        "the first line does not end with a period",
        "Args lacks one",
        "Args lacks more",
        "no Returns",
    ]
