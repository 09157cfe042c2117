"""Adding an LM to a profile's file, with everything that is there left as it is, comments and all.

The text gets lines at the end of `lms:` and nothing else. What comes out is loaded before it takes
the file's place: every other LM must be what it was, and the new one what it is to be.
"""

from __future__ import annotations

import secrets
import warnings
from pathlib import Path

import yaml

from lmconf.document.writing import write
from lmconf.errors import Error, ProfileError, UsageError
from lmconf.loading.files import write_atomically
from lmconf.loading.opening import ProfileWarning, load
from lmconf.profile.lm import LMSpec
from lmconf.runtime.lm import LM
from lmconf.spec.patterns import matches

__all__ = ["Undeclared", "declare", "entry_of"]

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"


class Undeclared(UsageError):
    """An LM cannot be added to a file safely; the file is as it was. `entry` is what to add."""

    def __init__(self, message: str, entry: str = "") -> None:
        super().__init__(message)
        self.entry = entry


def entry_of(lm: LM, name: str) -> str:
    """Return the lines that declare `lm` under `lms:`, without indentation."""
    state = {key: value for key, value in lm.dump_state("minimal").items() if key != "lmconf"}
    return write({name: state})


def declare(path: Path, name: str, lm: LM) -> None:
    """Add `lm` as `name` to the LMs of the profile in `path`.

    Raises:
        Undeclared: the file has no block `lms:` that can be added to, has such an LM already, or
            would mean something else afterwards.
        OSError: the file cannot be written; it is as it was.
    """
    entry = entry_of(lm, name)
    if not matches(NAME, name):
        raise Undeclared(f"{name!r} is no name for an LM: letters, digits, `_` and `-`", entry)
    try:
        before = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise Undeclared(f"{path} is not UTF-8 text", entry) from None
    after = inserted(before, entry, path)
    problem = _problem(path, after, name, lm.spec)
    if problem:
        raise Undeclared(f"{path} was left as it is: {problem}", entry)
    write_atomically(path, after)


def inserted(text: str, entry: str, path: Path) -> str:
    """Return `text` with `entry` as the last one of `lms:`.

    Raises:
        Undeclared: there is no block `lms:`, or not one with a line for each LM.
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
            raise Undeclared(f"the LMs of {path} do not stand on lines of their own", entry)
        raise Undeclared(f"{path} is a profile of one LM and has no `lms:`", entry)
    raise Undeclared(f"{path} cannot be added to", entry)


def _end(node: yaml.Node) -> int:
    """Return the number of the line after the last one of `node`, counted from 0."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        below = [
            part for pair in node.value for part in (pair if isinstance(pair, tuple) else [pair])
        ]
        return max(_end(part) for part in below)
    mark = node.end_mark
    # A block of text ends where the next line begins.
    ended = mark.column == 0 and mark.line > node.start_mark.line
    return int(mark.line if ended else mark.line + 1)


def _is_comment(line: str, indent: int) -> bool:
    return line.lstrip().startswith("#") and len(line) - len(line.lstrip()) >= indent


def _problem(path: Path, after: str, name: str, wanted: LMSpec) -> str:
    """Return what is wrong with `after` in the place of the file's text; nothing if all is well."""
    beside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.yaml")
    problem = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfileWarning)
        try:
            was = load(path)
            if name in was:
                return f"it has an LM named {name!r} already"
            beside.write_bytes(after.encode("utf-8"))
            now = load(beside)
            if set(now) != {*was, name} or any(now[each].spec != was[each].spec for each in was):
                problem = "other LMs would change"
            elif now[name].spec != wanted:
                problem = "`defaults` of the profile would change the new LM"
        except ProfileError as error:
            problem = f"it would not be valid: {error}"
        except Error as error:
            problem = str(error)
        finally:
            beside.unlink(missing_ok=True)
    return problem
