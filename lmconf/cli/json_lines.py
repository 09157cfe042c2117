"""Files of JSON, one value on each line: the prompts of a batch, and what came of them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from msgspec import DecodeError, Struct
from msgspec import json as msgspec_json

from lmconf.cli.terminal import fit, say, write_file
from lmconf.document.yaml.limits import DEPTH
from lmconf.errors import CallError, Error
from lmconf.runtime import Answer

if TYPE_CHECKING:
    from lmconf.runtime import Answer

__all__ = [
    "FileWriter",
    "InputLine",
    "InvalidLines",
    "OrderedWriter",
    "Writer",
    "decode_line",
    "dump_line",
    "outcome_row",
    "plain",
    "read",
    "refuse_lines",
]


def plain(answer: Answer) -> dict[str, Any]:
    """Return what is known of `answer` as data that the json module writes."""
    from lmconf.schema.frozen import thaw

    return {
        "text": answer.text,
        "texts": list(answer.texts),
        "lm": answer.lm,
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "parsed": thaw(answer.parsed),
        "reasoning": answer.reasoning,
        "tool_calls": thaw(answer.tool_calls),
        "usage": thaw(answer.usage),
        "cost": answer.cost,
        "cache_hit": answer.cache_hit,
        "attempts": answer.attempts,
        "request_id": answer.request_id,
        "logprobs": thaw(answer.logprobs),
    }


_HALF = re.compile("[\ud800-\udfff]")
_SHOWN = 50  # lines that are told of one by one


class InvalidLines(Error):
    """Lines of an input cannot be sent: the message tells every one of them with its number."""


class InputLine(Struct, frozen=True, eq=False):
    """One line of an input: its number in the file, what it says, and the digest of that."""

    number: int
    item: object
    digest: str


def read(source: str) -> tuple[list[InputLine], dict[int, str]]:
    """Return the lines of the file `source` (`-`: standard input), and what is wrong with others.

    Raises:
        OSError: it cannot be read.
    """
    data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    lines, faults = [], {}
    for number, text in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not text.strip():
            continue
        item, fault = decode_line(text.strip())
        if fault:
            faults[number] = fault
        else:
            lines.append(InputLine(number, item, _digest(item)))
    return lines, faults


def decode_line(text: bytes) -> tuple[object, str]:
    """Return the value that a line says, or what is wrong with it."""
    try:
        item = msgspec_json.decode(text)
        json.loads(text, object_pairs_hook=_reject_duplicates)
    except UnicodeDecodeError as error:
        return None, f"it is not UTF-8 text (byte {error.start + 1})"
    except DecodeError as error:
        message = str(error).removeprefix("JSON is malformed: ")
        return None, f"it is not JSON: {message[:1].lower()}{message[1:]}"
    except _DuplicateKey as duplicate:
        return None, f"the key `{fit(str(duplicate))}` occurs twice in one object"
    except RecursionError:
        return None, _TOO_DEEP
    return (None, _TOO_DEEP) if _is_deeper(item, DEPTH) else (item, "")


_TOO_DEEP = f"it is nested more than {DEPTH} deep"


class _DuplicateKey(Exception):
    """A key occurs twice in one object: which of its values is meant cannot be known."""


def _reject_duplicates(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) > 1:
        keys: set[str] = set()
        for key, _ in pairs:
            if key in keys:
                raise _DuplicateKey(key)
            keys.add(key)


def _is_deeper(item: object, depth: int) -> bool:
    """Say whether more than `depth` collections stand inside one another in `item`."""
    level = [item]
    for _ in range(depth + 1):
        below: list[object] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
        level = [each for each in below if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def dump_line(row: Mapping[str, Any]) -> str:
    """Return a row of an output as one line; half of a surrogate pair, which none reads, is lost."""
    return _HALF.sub("\ufffd", json.dumps(row, ensure_ascii=False))


def _digest(item: object) -> str:
    return sha256(msgspec_json.encode(item, order="sorted")).hexdigest()[:32]


def refuse_lines(source: str, faults: Mapping[int, str]) -> None:
    """Tell what is wrong with lines of `source`.

    Raises:
        InvalidLines: there are any.
    """
    if not faults:
        return
    problems = [f"  line {number}: {faults[number]}" for number in sorted(faults)]
    if len(problems) > _SHOWN:
        problems = [*problems[:_SHOWN], f"  and {len(problems) - _SHOWN:,} more"]
    what = "1 line is" if len(faults) == 1 else f"{len(faults):,} lines are"
    name = "standard input" if source == "-" else source
    raise InvalidLines("\n".join([f"{name}: {what} invalid; nothing was sent", *problems]))


def outcome_row(
    index: int, line: InputLine, settings: Mapping[str, Any], mark: str, outcome: Answer | Exception
) -> str:
    """Return the row that says what came of the input `line`, the one at `index`.

    `settings` steer its answer, and `mark` is the fingerprint of both.
    """
    head: dict[str, Any] = {
        "index": index,
        "input": line.digest,
        "fingerprint": mark,
        "asked": settings,
    }
    if isinstance(outcome, Answer):
        return dump_line({**head, **plain(outcome)})
    error: dict[str, Any] = {"type": type(outcome).__name__}
    if isinstance(outcome, CallError):
        error |= {
            "message": fit(outcome.message),
            "status": outcome.status,
            "attempts": outcome.attempts,
            "request_id": outcome.request_id,
        }
    else:
        error["message"] = fit(str(outcome))
    return dump_line({**head, "error": error})


class Writer(Protocol):
    """Where the lines of an output go."""

    def put(self, index: int, text: str) -> None:
        """Take the line that belongs to the input at `index`."""

    def finish(self) -> None:
        """Write what is not written yet: everything is in order then."""


class OrderedWriter:
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


class FileWriter:
    """Writes each line at once, so that none is lost; at the end, all are put in order.

    `lines` holds the rows of an earlier run: they stay until another takes their place.
    """

    def __init__(self, path: Path, lines: Mapping[int, str]) -> None:
        self._path = path
        self._lines = dict(lines)
        self._write()
        self._ordered = True
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
            self._write()

    def _write(self) -> None:
        text = "".join(f"{self._lines[index]}\n" for index in sorted(self._lines))
        if not self._path.exists() or self._path.read_bytes() != text.encode():
            write_file(self._path, text)
