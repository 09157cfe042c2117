"""Adding an LM to a profile's file, with everything that is there left as it is, comments and all.

The text gets lines at the end of `lms:` and nothing else, but a line `main:` where the LM that was
meant without being named, the only one, would not be any more. What comes out is loaded before it
takes the file's place: every other LM must be what it was, and the new one what it is to be.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

import yaml

from lmconf.document.yaml.writer import write
from lmconf.errors import Error, ProfileError, UsageError
from lmconf.loader.api import ProfileWarning, load
from lmconf.loader.profile import Profile
from lmconf.runtime import LM
from lmconf.schema.patterns import matches
from lmconf.spec.lm import LMSpec
from lmconf.system.files import write_atomically
from lmconf.system.paths import shipped_folder

__all__ = ["CannotAddLM", "add_to_profile", "check_can_add", "entry_of"]

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"


class CannotAddLM(UsageError):
    """An LM cannot be added to a file safely; the file is as it was. `entry` is what to add."""

    def __init__(self, message: str, entry: str = "") -> None:
        super().__init__(message)
        self.entry = entry


def entry_of(lm: LM, name: str) -> str:
    """Return the lines that declare `lm` under `lms:`, without indentation."""
    state = {key: value for key, value in lm.dump_state("minimal").items() if key != "lmconf"}
    return write({name: state})


def add_to_profile(path: Path, name: str, lm: LM) -> None:
    """Add `lm` as `name` to the LMs of the profile in `path`; one that is there already stays.

    Of several processes that add to one file, each adds to what the others wrote.

    Raises:
        CannotAddLM: the file has no block `lms:` that can be added to, has another LM of that name,
            is read-only or shipped with lmconf, or would mean something else afterwards.
        OSError: the file cannot be written; it is as it was.
    """
    with _hold_folder_lock(path):
        for _ in range(_TRIES):
            before, after = _plan_change(path, name, lm)
            if path.read_bytes() == before:
                if after is not None:
                    write_atomically(path, after)
                return
    raise CannotAddLM(
        f"{path} was not changed: another process is writing to it", entry_of(lm, name)
    )


def check_can_add(path: Path, name: str, lm: LM) -> None:
    """See that an LM like `lm` could be added to the profile in `path` as `name`.

    Raises:
        CannotAddLM, OSError: as `add_to_profile`.
    """
    if _plan_change(path, name, lm)[1] is None:
        raise CannotAddLM(f"{path} has an LM named {name!r} already", entry_of(lm, name))


_TRIES = 5
"""How often a file is read again that someone wrote to meanwhile."""


@contextlib.contextmanager
def _hold_folder_lock(path: Path) -> Iterator[None]:
    """Hold the lock of the folder of `path`, which every process takes that adds to a profile."""
    import fcntl  # there is none on Windows, where nothing is trained

    fd = os.open(path.resolve().parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _plan_change(path: Path, name: str, lm: LM) -> tuple[bytes, str | None]:
    """Return the content of the file and what it is to be; None where `lm` is there already."""
    entry = entry_of(lm, name)
    if not matches(NAME, name):
        raise CannotAddLM(
            f"{name!r} is not a valid name for an LM: letters, digits, `_` and `-`", entry
        )
    content = path.read_bytes()
    if shipped_folder("profiles").resolve() in path.resolve().parents:
        raise CannotAddLM(f"{path} is shipped with lmconf: extend it in your own profile", entry)
    if not path.stat().st_mode & 0o222 or not os.access(path, os.W_OK):
        raise CannotAddLM(f"{path} is read-only", entry)
    try:
        before = content.decode("utf-8")
    except UnicodeDecodeError:
        raise CannotAddLM(f"{path} is not UTF-8 text", entry) from None
    after = insert_entry(before, entry, path)
    problem, was = _load_profile(path)
    if was is not None:
        if name in was and was[name].spec == lm.spec:
            return content, None
        problem = _find_problem(path, after, name, lm.spec, was)
        if problem == _OTHER_MAIN and was.spec.main is not None:
            after = insert_entry(before, entry, path, main=was.spec.main)
            problem = _find_problem(path, after, name, lm.spec, was)
    if problem:
        raise CannotAddLM(f"{path} was not changed: {problem}", entry)
    return content, after


def insert_entry(text: str, entry: str, path: Path, main: str | None = None) -> str:
    """Return `text` with `entry` as the last one of `lms:`, and a line `main:` where one is given.

    Raises:
        CannotAddLM: there is no block `lms:`, or not one with a line for each LM.
    """
    lms = _block(text, path, entry)
    last, value = lms.value[-1]
    indent = last.start_mark.column
    lines = text.splitlines(keepends=True)
    if any(line.endswith("\r\n") for line in lines):
        entry = entry.replace("\n", "\r\n")
    at = max(_end(last), _end(value))
    # Comments that are indented as deep belong to the entry above them.
    while at < len(lines) and _is_comment(lines[at], indent):
        at += 1
    if at and lines[at - 1][-1:] != "\n":
        lines[at - 1] += "\r\n" if "\r\n" in entry else "\n"
    indented = "".join(
        (" " * indent + line if line.strip() else line) for line in entry.splitlines(keepends=True)
    )
    if main is not None:
        indented += f"main: {main}" + ("\r\n" if "\r\n" in entry else "\n")
    return "".join([*lines[:at], indented, *lines[at:]])


def _block(text: str, path: Path, entry: str) -> yaml.MappingNode:
    root: yaml.Node | None = None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        root = None
    if isinstance(root, yaml.MappingNode) and not root.flow_style:
        for key, value in root.value:
            if key.value != "lms":
                continue
            if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
                return value
            raise CannotAddLM(f"the LMs of {path} do not stand on lines of their own", entry)
        raise CannotAddLM(f"{path} is a profile of one LM and has no `lms:`", entry)
    raise CannotAddLM(f"{path} cannot be added to", entry)


def _end(node: yaml.Node) -> int:
    """Return the number of the line after the last one of `node`, counted from 0."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        below = [
            part for pair in node.value for part in (pair if isinstance(pair, tuple) else [pair])
        ]
        return max(_end(part) for part in below)
    mark = node.end_mark
    # A block of text ends where the next line begins.
    is_line_start = mark.column == 0 and mark.line > node.start_mark.line
    return int(mark.line if is_line_start else mark.line + 1)


def _is_comment(line: str, indent: int) -> bool:
    return line.lstrip().startswith("#") and len(line) - len(line.lstrip()) >= indent


_OTHER_MAIN = "another LM would be the profile's main one"


def _find_problem(path: Path, after: str, name: str, spec: LMSpec, was: Profile) -> str:
    """Return what is wrong with `after` in the place of the file's text; nothing if all is well."""
    beside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.yaml")
    if name in was:
        return f"it has an LM named {name!r} already"
    try:
        beside.write_bytes(after.encode("utf-8"))
        problem, now = _load_profile(beside)
    except OSError as error:
        # The name of that file would mean nothing to whoever asked for `path`.
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        beside.unlink(missing_ok=True)
    if now is None:
        return problem
    if set(now) != {*was, name} or any(now[each].spec != was[each].spec for each in was):
        return "other LMs would change"
    if now[name].spec != spec:
        return "`defaults` of the profile would change the new LM"
    return "" if now.spec.main == was.spec.main else _OTHER_MAIN


def _load_profile(path: Path) -> tuple[str, Profile | None]:
    """Return the profile in `path`, or why there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfileWarning)
        try:
            return "", load(path)
        except ProfileError as error:
            return f"it would not be valid: {error}", None
        except Error as error:
            return str(error), None
