"""Where profiles are: from a name or a path to a file, nearest first.

The order: `$LMCONF_PATH`; `profiles/` and `lmconf.yaml` from the working folder up to the
repository's root; the user's configuration folder; the profiles shipped with lmconf. A name
`package/profile` that is no path means a profile of an installed package.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import ProfileError, UsageError
from lmconf.loader import profile_folders
from lmconf.providers.catalogue import PROVIDERS, provider_of
from lmconf.spec.profile import NAME_PATTERN
from lmconf.system.paths import shipped_folder, with_home

__all__ = [
    "ProfileFile",
    "default_profile",
    "find_all",
    "find_packaged",
    "find_parent",
    "find_profile",
    "is_path",
    "resolve_links",
    "search_folders",
    "split_name",
    "upwards",
]

SUFFIXES = (".yaml", ".yml", ".json")
_PACKAGE = re.compile(r"[^\W\d][\w-]*")
NEAREST_NAME = "lmconf.yaml"


class ProfileFile(Struct, frozen=True):
    """One profile's file: its name, and which kind of place it was found in."""

    name: str
    path: Path
    place: str


def is_path(name: str) -> bool:
    """Say whether `name` is written as a path and not as a profile's name."""
    return name.endswith(SUFFIXES) or "/" in name or os.sep in name or name.startswith("~")


def resolve_links(path: Path) -> Path:
    """Return the file that `path` leads to; `path` itself where no file can have that name."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return path.absolute()


def split_name(name: str) -> tuple[str, str | None]:
    """Return the profile and the LM that `profile:lm` names; the LM is None when it is left out."""
    profile, colon, lm_name = name.rpartition(":")
    if colon and profile and re.match(NAME_PATTERN, lm_name):
        return profile, lm_name
    return name, None


def find_profile(name: str, environment: Mapping[str, str]) -> Path:
    """Return the file that `name`, a profile's name or a path, means.

    Raises:
        ProfileError: there is none; the message says where it was looked for, and near names.
    """
    if is_path(name):
        path = with_home(name)
        file = path if _is_file(path) else _in_package(name)
        if file is not None:
            return file
        raise ProfileError([_no_file(path, name)])
    for profile in find_all(environment):
        if profile.name == name:
            return profile.path
    raise ProfileError([_no_profile(name, environment)])


def default_profile(environment: Mapping[str, str]) -> str:
    """Return what is meant when no profile is named: `$LMCONF_PROFILE`, else `lmconf.yaml`.

    Raises:
        ProfileError: neither exists.
    """
    name = environment.get("LMCONF_PROFILE")
    if name:
        return name
    for folder in upwards():
        if (folder / NEAREST_NAME).is_file():
            return str(folder / NEAREST_NAME)
    raise ProfileError(
        [
            Diagnostic(
                code="no-profile",
                message="no profile was named, and there is no lmconf.yaml from here up to the"
                " repository's root",
                help="name one (`lmconf list` shows them), set LMCONF_PROFILE, or run `lmconf init`",
            )
        ]
    )


def find_parent(name: str, child: Path | None, place: Mark) -> Path:
    """Return the file that the `extends` entry `name`, standing at `place` in `child`, means.

    A path is relative to its child; a bare name is looked up beside the child and in the
    `profiles` folders of the child's own project, and nowhere else.

    Raises:
        ProfileError: there is none.
    """
    start = child.parent if child is not None else Path.cwd()
    if is_path(name):
        path = resolve_links(start / with_home(name))
        file = path if _is_file(path) else _in_package(name)
        if file is not None:
            return file
        beside = did_you_mean(path.name, [other.name for other in _files(path.parent)])
        near = name.removesuffix(Path(name).name) + beside if beside else None
        raise ProfileError([_no_parent(name, place, [path], near)])
    folders = [start, *(folder / "profiles" for folder in upwards(start))]
    for folder in folders:
        match = _in_folder(folder, name)
        if match is not None:
            return match
    near = did_you_mean(name, {f.stem for folder in folders for f in _files(folder)})
    raise ProfileError([_no_parent(name, place, folders, near)])


def find_all(environment: Mapping[str, str]) -> list[ProfileFile]:
    """Return every profile that can be named, nearest first; later ones of a name are shadowed."""
    profiles = []
    for folder, place in _folders(environment):
        alone = folder.parent / NEAREST_NAME
        if place == "project" and alone.is_file():
            profiles.append(ProfileFile(alone.stem, alone, place))
        profiles += [ProfileFile(path.stem, path, place) for path in _files(folder)]
    return profiles


def find_packaged() -> tuple[list[ProfileFile], list[UsageError]]:
    """Return the profiles that packages bring or code has registered, and what cannot be found."""
    found, failures = [], []
    for name in profile_folders.REGISTRY.names():
        place = profile_folders.REGISTRY.package_of(name) or "registered"
        try:
            folder = Path(profile_folders.REGISTRY.load(name) or "")
        except UsageError as error:
            failures.append(error)
        else:
            found += [ProfileFile(f"{name}/{path.stem}", path, place) for path in _files(folder)]
    return found, failures


def search_folders(environment: Mapping[str, str]) -> list[Path]:
    """Return the folders that are searched for a profile's name, in order."""
    return [folder for folder, _ in _folders(environment)]


def _folders(environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield each folder once, where it comes first, with the kind of place that it is."""
    entries = [entry for entry in environment.get("LMCONF_PATH", "").split(os.pathsep) if entry]
    folders = [(with_home(entry), "LMCONF_PATH") for entry in entries]
    folders += [(folder / "profiles", "project") for folder in upwards()]
    folders += [(_user_folder(environment), "user"), (shipped_folder("profiles"), "shipped")]
    visited = set()
    for folder, place in folders:
        whole = os.path.realpath(folder)
        if whole not in visited:
            visited.add(whole)
            yield folder, place


def _user_folder(environment: Mapping[str, str]) -> Path:
    from platformdirs import user_config_path

    return user_config_path("lmconf", appauthor=False) / "profiles"


def upwards(start: Path | None = None) -> Iterator[Path]:
    """Yield `start` (the working folder) and its parents up to the repository's root.

    Outside a repository only `start` itself is a project.
    """
    here = (start or Path.cwd()).resolve()
    climb = [here, *here.parents]
    for index, folder in enumerate(climb):
        if (folder / ".git").exists():
            yield from climb[: index + 1]
            return
    yield here


def _in_folder(folder: Path, name: str) -> Path | None:
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if _is_file(path):
            return path
    return None


def _in_package(name: str) -> Path | None:
    """Return the file of the profile `package/profile`; None if `name` is none.

    Raises:
        ProfileError: there is such a package, and no such profile in it.
        UsageError: the package's profiles cannot be found.
    """
    package, _, profile = name.partition("/")
    if not (_PACKAGE.fullmatch(package) and re.fullmatch(NAME_PATTERN, profile)):
        return None
    folder = profile_folders.REGISTRY.load(package)
    if folder is None:
        return None
    found = _in_folder(Path(folder), profile)
    if found is None:
        names = [path.stem for path in _files(Path(folder))]
        near = did_you_mean(profile, names)
        raise ProfileError(
            [
                Diagnostic(
                    code="no-profile",
                    message=f"the package `{package}` has no profile `{profile}`; looked in {folder}",
                    help=f"did you mean `{package}/{near}`?"
                    if near
                    else f"it has: {', '.join(names)}",
                )
            ]
        )
    return found


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - `is_file` raises for names longer than can be


def _files(folder: Path) -> list[Path]:
    """Return the profiles in `folder`, by name; of one name, the one that it means first."""
    try:
        entries = [path for path in folder.iterdir() if path.suffix in SUFFIXES]
    except (OSError, ValueError):
        return []
    entries.sort(key=lambda path: (path.stem, SUFFIXES.index(path.suffix)))
    return [path for path in entries if _is_file(path)]


def _no_file(path: Path, name: str) -> Diagnostic:
    if provider_of(name)[0] in PROVIDERS:
        return Diagnostic(
            code="no-profile",
            message=f"`{name}` is a model, and no profile or file of that name exists",
            help=f'in Python, use lmconf.LM("{name}"); the command line wants a profile:'
            f" a file that says `model: {name}`",
        )
    if os.path.isdir(path):  # noqa: PTH112 - `is_dir` raises for names longer than a name can be
        return Diagnostic(
            code="no-profile",
            message=f"{path} is a folder",
            help="name a file in it; `lmconf validate` takes whole folders",
        )
    near = did_you_mean(path.name, [other.name for other in _files(path.parent)])
    return Diagnostic(
        code="no-profile",
        message=f"there is no file {path}",
        help=f"did you mean {path.parent / near}?"
        if near
        else f"the working folder is {Path.cwd()}",
    )


def _no_profile(name: str, environment: Mapping[str, str]) -> Diagnostic:
    near = did_you_mean(name, {each.name for each in find_all(environment)})
    folders = ", ".join(_show_path(folder) for folder in search_folders(environment))
    profile, lm_name = split_name(name)
    if lm_name is not None:
        help_ = f"in Python one LM is lmconf.lm({name!r}), and lmconf.load({profile!r}) loads all"
    elif near:
        help_ = f"did you mean `{near}`?"
    else:
        help_ = "`lmconf list` shows every profile; `lmconf init` writes a first one"
    return Diagnostic(
        code="no-profile",
        message=f"there is no profile named `{name}`; looked in {folders}",
        help=help_,
    )


def _no_parent(name: str, place: Mark, paths: list[Path], near: str | None) -> Diagnostic:
    places = ", ".join(_show_path(path) for path in paths)
    places = places if is_path(name) else f"{places.replace(', ', '/, ')}/"
    return Diagnostic(
        code="unknown-parent",
        message=f"there is no profile `{name}` to extend",
        mark=place,
        path=("extends",),
        label=f"did you mean `{near}`?" if near else "",
        help=f"looked for it at {places}" if is_path(name) else f"looked for it in {places}",
    )


def _show_path(path: Path) -> str:
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except ValueError:
        return str(path)
