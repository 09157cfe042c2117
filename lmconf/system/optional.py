"""Packages that lmconf can do without, and the error that says what to install."""

from __future__ import annotations

from importlib.util import find_spec

from lmconf.errors import MissingDependency

__all__ = ["describe_missing", "install_command", "is_installed", "require"]


def is_installed(module: str) -> bool:
    """Say whether `module` can be imported; at most the packages around it are imported for that."""
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def install_command(extra: str) -> str:
    """Return the command that installs an extra of lmconf's."""
    return f"pip install 'lmconf-runtime[{extra}]'"


def describe_missing(*packages: str, extra: str, purpose: str) -> str:
    """Return what is said where `purpose` needs `packages`, which come with `extra`."""
    what = "package" if len(packages) == 1 else "packages"
    return f"{purpose} needs the {what} {', '.join(packages)}: {install_command(extra)}"


def require(module: str, extra: str, purpose: str, *, package: str = "") -> None:
    """Raise unless `module` is installed.

    Args:
        module: What is imported.
        extra: The extra of lmconf's that brings it.
        purpose: What needs it, as the subject of a sentence.
        package: The distribution that holds the module, where it has another name.

    Raises:
        MissingDependency: it is not; the message says what to install.
    """
    if not is_installed(module):
        raise MissingDependency(describe_missing(package or module, extra=extra, purpose=purpose))
