"""Files of JSON, one value on each line: the prompts of a batch, and what came of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Protocol

from msgspec import DecodeError, Struct
from msgspec import json as msgspec_json

from lmconf.cli.answers import plain
from lmconf.cli.output import write_file
from lmconf.cli.terminal import fit, say
from lmconf.errors import CallError, Error
from lmconf.runtime.answer import Answer

__all__ = ["InFile", "InOrder", "Line", "Unfit", "Writer", "kept", "outcome", "read", "refuse"]

_SHOWN = 50  # lines that are told of one by one


class Unfit(Error):
    """Lines of an input cannot be sent: the message tells every one of them with its number."""


class Line(Struct, frozen=True, eq=False):
    """One line of an input: its number in the file, what it says, and the digest of that."""

    number: int
    item: object
    digest: str


def read(source: str) -> tuple[list[Line], dict[int, str]]:
    """Return the lines of the file `source` (`-`: standard input), and what is wrong with others.

    Raises:
        OSError: it cannot be read.
    """
    data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    lines, faults = [], {}
    for number, text in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not text.strip():
            continue
        item, fault = _decoded(text.strip())
        if fault:
            faults[number] = fault
        else:
            lines.append(Line(number, item, _digest(item)))
    return lines, faults


def _decoded(text: bytes) -> tuple[object, str]:
    try:
        return msgspec_json.decode(text), ""
    except UnicodeDecodeError as error:
        return None, f"it is not UTF-8 text (byte {error.start + 1})"
    except DecodeError as error:
        told = str(error).removeprefix("JSON is malformed: ")
        return None, f"it is not JSON: {told[:1].lower()}{told[1:]}"


def _digest(item: object) -> str:
    return sha256(msgspec_json.encode(item, order="sorted")).hexdigest()[:16]


def refuse(source: str, faults: Mapping[int, str]) -> None:
    """Tell what is wrong with lines of `source`.

    Raises:
        Unfit: there are any.
    """
    if not faults:
        return
    told = [f"  line {number}: {faults[number]}" for number in sorted(faults)]
    if len(told) > _SHOWN:
        told = [*told[:_SHOWN], f"  and {len(told) - _SHOWN:,} more"]
    what = "1 line does" if len(faults) == 1 else f"{len(faults):,} lines do"
    name = "standard input" if source == "-" else source
    raise Unfit("\n".join([f"{name}: {what} not fit, and nothing was sent", *told]))


def outcome(index: int, line: Line, found: Answer | Exception) -> str:
    """Return the line that says what came of the input `line`, the one at `index`."""
    head: dict[str, Any] = {"index": index, "input": line.digest}
    if isinstance(found, Answer):
        return json.dumps({**head, **plain(found)}, ensure_ascii=False)
    told: dict[str, Any] = {"type": type(found).__name__}
    if isinstance(found, CallError):
        told |= {
            "message": fit(found.message),
            "status": found.status,
            "attempts": found.attempts,
            "request_id": found.request_id,
        }
    else:
        told["message"] = fit(str(found))
    return json.dumps({**head, "error": told}, ensure_ascii=False)


def kept(output: Path, lines: Sequence[Line]) -> dict[int, str]:
    """Return the answers that stand in `output` already, by the index of the input they belong to.

    An error, a line that was cut short and an answer to another input count for nothing.
    """
    found = {}
    for text in _texts(output):
        said, _ = _decoded(text.encode())
        if not isinstance(said, dict) or "error" in said or "text" not in said:
            continue
        index = said.get("index")
        if type(index) is int and 0 <= index < len(lines) and said["input"] == lines[index].digest:
            found[index] = text
    return found


def _texts(output: Path) -> Iterator[str]:
    try:
        text = output.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return iter(())
    return (line for line in text.split("\n") if line.strip())


class Writer(Protocol):
    """Where the lines of an output go."""

    def put(self, index: int, text: str) -> None:
        """Take the line that belongs to the input at `index`."""

    def finish(self) -> None:
        """Write what is not written yet: everything is in order then."""


class InOrder:
    """Prints each line once those before it are printed."""

    def __init__(self) -> None:
        self._next = 0
        self._waiting: dict[int, str] = {}

    def put(self, index: int, text: str) -> None:
        """Print `text`, and what has waited for it, or have it wait."""
        self._waiting[index] = text
        while self._next in self._waiting:
            say(self._waiting.pop(self._next))
            self._next += 1

    def finish(self) -> None:
        """Print what waits for a line that will not come."""
        for index in sorted(self._waiting):
            say(self._waiting.pop(index))


class InFile:
    """Writes each line at once, so that none is lost; at the end, all are put in order.

    `kept` holds the lines of an earlier run, which stay.
    """

    def __init__(self, path: Path, kept: Mapping[int, str]) -> None:
        self._path = path
        self._lines = dict(kept)
        self._ordered = True
        write_file(path, self._text())
        self._file: IO[str] = path.open("a", encoding="utf-8", newline="\n")

    def put(self, index: int, text: str) -> None:
        """Write `text` at the end."""
        self._ordered = self._ordered and index > max(self._lines, default=-1)
        self._lines[index] = text
        self._file.write(f"{text}\n")
        self._file.flush()

    def finish(self) -> None:
        """Close the file, and put its lines in order."""
        self._file.close()
        if not self._ordered:
            write_file(self._path, self._text())

    def _text(self) -> str:
        return "".join(f"{self._lines[index]}\n" for index in sorted(self._lines))
