"""Import paths that data may name: honoured only where an allowlist of the application says so.

The path is judged before anything is imported, and the module that defines what was found is
judged after it: an allowed module may have names in it that it only imported from elsewhere.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable

from lmconf.diagnostics.model import Diagnostic
from lmconf.errors import ProfileError

__all__ = ["check_allowed", "import_path", "is_allowed", "is_import_path"]

_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_import_path(path: str) -> bool:
    """Say whether `path` is written `module:attribute`, such as `acme.hooks:CostMeter`."""
    return _PATH.fullmatch(path) is not None


def is_allowed(path: str, allowed: frozenset[str]) -> bool:
    """Say whether the import path `module:attribute` is among `allowed`.

    An entry allows itself, a whole module (`acme.hooks`), or a package with all that is below it
    (`acme.*`). What is no import path is never allowed.
    """
    if not is_import_path(path):
        return False
    module = path.partition(":")[0]
    steps = module.split(".")
    packages = {f"{'.'.join(steps[:end])}.*" for end in range(1, len(steps) + 1)}
    return not allowed.isdisjoint({path, module} | packages)


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
            f"`{path}` names code, and importing it is not allowed",
            _how_to_allow(path),
        )


def import_path(path: str, allowed: frozenset[str]) -> Callable[..., object]:
    """Return the class or function at `path`; the import happens here.

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
            "install the package that it belongs to, or correct the path",
        ) from None
    if not callable(found):
        raise _refusal(
            "import-failed",
            f"`{path}` is neither a class nor a function",
            "name what makes it: a class or a function",
        )
    home = f"{getattr(found, '__module__', None) or type(found).__module__}:{attribute}"
    if not is_allowed(home, allowed):
        raise _refusal(
            "import-not-allowed",
            f"`{path}` leads to code of the module `{home.partition(':')[0]}`, and nothing allows"
            " to use it",
            _how_to_allow(home),
        )
    factory: Callable[..., object] = found
    return factory


def _how_to_allow(path: str) -> str:
    return (
        f'pass `allow_imports=["{path}"]` or `--allow-import {path}`, or list it in pyproject.toml'
        " under [tool.lmconf] allow-imports"
    )


def _refusal(code: str, message: str, help_: str) -> ProfileError:
    return ProfileError((Diagnostic(code=code, message=message, help=help_),))
