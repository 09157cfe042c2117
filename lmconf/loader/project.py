"""Settings of the project that code runs in: `[tool.lmconf]` in its pyproject.toml."""

from __future__ import annotations

import sys
from pathlib import Path

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import ProfileError
from lmconf.loader.discovery import upwards

__all__ = ["project_allow_imports"]

_KNOWN = ("allow-imports",)


def project_allow_imports() -> frozenset[str]:
    """Return the import paths that the nearest pyproject.toml allows.

    Raises:
        ProfileError: `[tool.lmconf]` holds something else than it may.
    """
    for folder in upwards():
        path = folder / "pyproject.toml"
        if path.is_file():
            return _read_allow_imports(path)
    return frozenset()


def _read_allow_imports(path: Path) -> frozenset[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise _project_error(path, f"cannot be read: {type(error).__name__}", "") from None
    if "lmconf" not in text:
        return frozenset()
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tool = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError as error:
        raise _project_error(path, f"is not valid TOML: {error}", "") from None
    table = tool.get("lmconf", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise _project_error(path, "tool.lmconf must be a table", "write it as [tool.lmconf]")
    for key in table:
        if key not in _KNOWN:
            near = did_you_mean(key, _KNOWN)
            help_ = f"did you mean `{near}`?" if near else f"known keys: {', '.join(_KNOWN)}"
            raise _project_error(path, f"[tool.lmconf] has an unknown key `{key}`", help_)
    allowed = table.get("allow-imports", [])
    if not isinstance(allowed, list) or not all(isinstance(item, str) for item in allowed):
        raise _project_error(
            path, "[tool.lmconf] allow-imports must be a list of texts", 'such as ["acme.hooks"]'
        )
    return frozenset(allowed)


def _project_error(path: Path, what: str, help_: str) -> ProfileError:
    mark = Mark(Source(str(path)))
    return ProfileError(
        [Diagnostic(code="project-settings", message=f"{path} {what}", mark=mark, help=help_)]
    )
