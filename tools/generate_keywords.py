"""The typed keyword arguments of calls and of LMs, as a module's text, read from the spec types."""

from __future__ import annotations

import textwrap

from lmconf.schema.declaration import DeclaredField, fields
from lmconf.spec.build import CALL_FIELDS
from lmconf.spec.lm import LMSpec

__all__ = ["keywords_module"]

_HEAD = '''\
"""What calls and LMs take by keyword, with types that editors and type checkers read.

    def ask_twice(lm: LM, prompt: str, **settings: Unpack[CallSettings]) -> list[str]: ...

Written by `make generate` from the spec types; a change belongs there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from lmconf.schema.declaration import Spec
from lmconf.secrets.references import Reference

__all__ = ["CallSettings", "CopySettings", "LMSettings"]
'''

# What Python can pass beside plain data.
_IN_CODE = {
    "callbacks": "Sequence[object] | str",
    "response_format": "Mapping[str, Any] | type | None",
}


def keywords_module() -> str:
    """Return the text of `lmconf/spec/keywords.py`."""
    declared = fields(LMSpec)
    of_calls = [field for name, field in declared.items() if name in CALL_FIELDS]
    named = ("model", "model_type")
    of_lms = [
        field for name, field in declared.items() if name not in CALL_FIELDS and name not in named
    ]
    parts = [
        _class(
            "CallSettings", "TypedDict", "The settings that a single call may change.", of_calls
        ),
        _class("LMSettings", "CallSettings", "The settings of an LM, beside its model.", of_lms),
        _class(
            "CopySettings",
            "LMSettings",
            "The settings that a copy of an LM may change.",
            [declared[name] for name in named],
        ),
    ]
    return _HEAD + "".join(f"\n\n{part}" for part in parts)


def _class(name: str, base: str, doc: str, own: list[DeclaredField]) -> str:
    lines = [f"class {name}({base}, total=False):", f'    """{doc}"""', ""]
    for field in own:
        lines += [f"    {field.name}: {_type_of(field)}", *_docstring(field.doc)]
    return "\n".join(lines) + "\n"


def _type_of(field: DeclaredField) -> str:
    if field.name in _IN_CODE:
        return _IN_CODE[field.name]
    options = field.shape.annotations()
    if field.default is None and not field.required:
        options.append("None")
    unique = list(dict.fromkeys(options))
    if "float" in unique:
        # An int is a float to a type checker.
        unique = [option for option in unique if option != "int"]
    return " | ".join(sorted(unique, key=lambda option: option == "None"))


def _docstring(text: str) -> list[str]:
    whole = f'    """{text}"""'
    if len(whole) <= 100:
        return [whole]
    wrapped = textwrap.wrap(text, 92)
    first, *rest = wrapped
    return [f'    """{first}', *(f"    {line}" for line in rest), '    """']
