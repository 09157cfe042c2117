"""The profiles that packages bring: `package/profile` names a file in a package's folder."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from lmconf.errors import UsageError
from lmconf.system.paths import with_home
from lmconf.system.registry import Registry

__all__ = ["REGISTRY", "register_profile", "unregister_profile"]


def _package_folder(place: str) -> str:
    """Return the folder of `package:folder` or `package.folder`; no package is imported.

    Raises:
        ImportError: there is no such package, or no such folder in it.
    """
    package, _, below = (part.strip() for part in place.partition(":"))
    top, *inner = package.split(".")
    spec = find_spec(top)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {top!r}")
    folders = [Path(root, *inner, below) for root in spec.submodule_search_locations or ()]
    for folder in folders:
        if folder.is_dir():
            return str(folder)
    raise ModuleNotFoundError(f"there is no folder {' or '.join(map(str, folders)) or place}")


REGISTRY = Registry("profile", (), resolve=_package_folder)


def register_profile(name: str, folder: str | os.PathLike[str]) -> None:
    """Register a folder of profiles: `name/profile` is the file `profile.yaml` in it.

    Args:
        name: the first part of the profiles' names.
        folder: a path, or `package:folder`.

    Raises:
        UsageError: the name is not valid or belongs to another folder, or the folder does not exist.
    """
    path = with_home(os.fspath(folder)).absolute()
    if not path.is_dir():
        try:
            path = Path(_package_folder(os.fspath(folder)))
        except (ImportError, ValueError):
            path = Path()
    if path == Path():
        raise UsageError(f"the profiles `{name}` have no folder {os.fspath(folder)!r}")
    REGISTRY.register(name, str(path))


def unregister_profile(name: str) -> None:
    """Remove a registered folder of profiles.

    Args:
        name: the first part of the profiles' names. A name that is not registered has no effect.
    """
    REGISTRY.unregister(name)
