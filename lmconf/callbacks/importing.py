"""Import paths that a profile names: honoured only where an allowlist of the application says so.

The path is judged before anything is imported, and the module that defines what was found is
judged after it: an allowed module may have names in it that it only imported from elsewhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from lmconf.errors import Diagnostic, ProfileError
from lmconf.imports import is_allowed, is_import_path

__all__ = ["check_allowed", "make_imported"]


def check_allowed(path: str, allowed: frozenset[str]) -> None:
    """Refuse an import path that is malformed or not allowed; nothing is imported.

    Raises:
        ProfileError: it is refused; the message says how to allow it.
    """
    if not is_import_path(path):
        raise _refusal(
            "bad-import-path",
            f"`{path}` is not an import path",
            "an import path is `module:attribute`, such as `acme.hooks:CostMeter`",
        )
    if not is_allowed(path, allowed):
        raise _refusal(
            "import-not-allowed",
            f"`{path}` names code, and nothing allows to import it",
            _how_to_allow(path),
        )


def make_imported(path: str, arguments: Mapping[str, object], allowed: frozenset[str]) -> object:
    """Return what the class or function at `path` makes of `arguments`; the import happens here.

    Raises:
        ProfileError: the path is not allowed or leads nowhere, or what it names is defined in a
            module that is not allowed.
    """
    check_allowed(path, allowed)
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise _refusal(
            "import-failed",
            f"`{path}` cannot be imported: {type(error).__name__}: {error}",
            "install the package that it belongs to, or mend the path",
        ) from None
    if not callable(found):
        raise _refusal(
            "import-failed",
            f"`{path}` is neither a class nor a function",
            "name what makes the callback",
        )
    home = f"{getattr(found, '__module__', None) or type(found).__module__}:{attribute}"
    if not is_allowed(home, allowed):
        raise _refusal(
            "import-not-allowed",
            f"`{path}` leads to code of the module `{home.partition(':')[0]}`, and nothing allows"
            " to use it",
            _how_to_allow(home),
        )
    made: object = found(**arguments)
    return made


def _how_to_allow(path: str) -> str:
    return (
        f'pass `allow_imports=["{path}"]` or `--allow-import {path}`, or list it in pyproject.toml'
        " under [tool.lmconf] allow-imports"
    )


def _refusal(code: str, message: str, help_: str) -> ProfileError:
    return ProfileError((Diagnostic(code=code, message=message, help=help_),))
