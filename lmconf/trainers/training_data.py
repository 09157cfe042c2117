"""Training data: checked line by line before anything is sent, every bad line told by its number."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from msgspec import Struct

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import TrainError
from lmconf.system.paths import with_home
from lmconf.trainers.trainer_protocol import FORMATS, Format

__all__ = ["BadTrainData", "TrainData", "TrainingRow", "check_training_data", "read_rows"]

TOLD = 25
"""How many bad lines a message tells of; `BadTrainData.faults` has them all."""

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
LONGEST = 64 * 2**20
"""A line beyond this is no row."""

TrainData = str | os.PathLike[str] | Iterable[Mapping[str, Any]]
"""A JSONL file's path, or the rows themselves."""


class TrainingRow(Struct, frozen=True):
    """One row, or what is wrong with it; `line` counts from 1."""

    line: int
    value: Mapping[str, Any] | None = None
    fault: str = ""


class BadTrainData(TrainError):
    """Training data cannot be used; `faults` holds each bad line's number and what is wrong."""

    def __init__(self, message: str, faults: tuple[tuple[int, str], ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


RowCheck = Callable[[Format, Mapping[str, Any]], str]
"""Says what of a row one trainer cannot learn from; nothing where it can."""


def check_training_data(
    data: TrainData,
    format_name: str | None,
    formats: tuple[Format, ...],
    least: int,
    fault_of: RowCheck = lambda *_: "",
) -> tuple[Format, list[Mapping[str, Any]]]:
    """Return the format of `data` and its rows, once all of them are right.

    A `format_name` of None is read off the first row. `fault_of` is what the trainer that they are
    for has to say of a row that is right by itself.

    Raises:
        BadTrainData: rows are broken, are of another format, or are too few.
    """
    name = os.fspath(data) if isinstance(data, str | os.PathLike) else "the training data"
    if format_name is not None and format_name.lower() not in FORMATS:
        near = did_you_mean(format_name, FORMATS)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(FORMATS)}"
        raise BadTrainData(f"there is no format of training data {format_name!r}; {hint}")
    lines = list(read_rows(data))
    rows = [row.value for row in lines if row.value is not None]
    format_: Format | None = next(
        (f for f in FORMATS if format_name and f == format_name.lower()), None
    )
    format_ = format_ or (_format_of(rows[0]) if rows else "chat")
    if format_ is None:
        raise BadTrainData(
            f"{name}: the format of its rows cannot be detected from their keys"
            f" ({', '.join(map(str, rows[0]))});"
            f" {_expected_formats()}"
        )
    if format_ not in formats:
        raise BadTrainData(
            f"{name} is of the format {format_!r}, and this trainer takes {', '.join(formats)}"
        )
    judge = _JUDGES[format_]
    faults = []
    for row in lines:
        fault = row.fault
        if row.value is not None:
            fault = next(judge(row.value), "") or fault_of(format_, row.value)
        if fault:
            faults.append((row.line, fault))
    if faults:
        raise BadTrainData(_describe_faults(name, format_, faults, len(lines)), tuple(faults))
    if len(rows) < least:
        noun = "row" if len(rows) == 1 else "rows"
        raise BadTrainData(f"{name} has {len(rows)} {noun}, and this trainer needs {least} or more")
    return format_, rows


def read_rows(data: TrainData) -> Iterator[TrainingRow]:
    """Yield each row of `data` as plain JSON values; empty lines at the end of a file are none.

    Raises:
        BadTrainData: the file cannot be read, or `data` is neither a path nor rows.
    """
    if not isinstance(data, str | os.PathLike):
        yield from _rows_from_code(data)
        return
    path = with_home(os.fspath(data))
    problem = ""
    try:
        with path.open("rb") as file:
            yield from _lines(file)
    except (OSError, ValueError) as error:
        problem = (getattr(error, "strerror", None) or str(error)).lower()
    if problem:
        raise BadTrainData(f"{path} cannot be read: {problem}")


def _rows_from_code(data: Iterable[Mapping[str, Any]]) -> Iterator[TrainingRow]:
    if isinstance(data, Mapping | bytes) or not isinstance(data, Iterable):
        raise BadTrainData(
            f"training data is the path of a JSONL file or a list of rows, not {_kind(data)}"
        )
    for number, value in enumerate(data, 1):
        yield _row_from_code(number, value)


def _row_from_code(number: int, value: object) -> TrainingRow:
    try:
        # What is no character by itself stays an escape, and is told as one of a file.
        text = json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        return TrainingRow(number, fault=f"the row cannot be written as JSON: {error}")
    return _row(number, text.encode("ascii"))


def _plain(value: object) -> object:
    """Return a mapping that json does not know as one that it does."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _lines(file: BinaryIO) -> Iterator[TrainingRow]:
    number, empty = 0, 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if not line.strip():
            empty += 1
            continue
        for before in range(number - empty, number):
            yield TrainingRow(before, fault="the line is empty")
        empty = 0
        if len(line) > LONGEST:
            yield TrainingRow(
                number, fault="the line is longer than 64 MiB, and nothing after it was read"
            )
            return
        yield _row(number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _row(number: int, line: bytes) -> TrainingRow:
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        return TrainingRow(number, fault="the line is not UTF-8 text")
    except UnicodeEncodeError as error:
        return TrainingRow(
            number, fault=f"half a character ({ascii(error.object[error.start])[1:-1]})"
        )
    except RecursionError:
        return TrainingRow(number, fault="the line is nested too deep")
    except json.JSONDecodeError as error:
        return TrainingRow(number, fault=f"broken JSON at column {error.colno}: {error.msg}")
    except ValueError as error:
        return TrainingRow(number, fault=f"broken JSON: {error}")
    if not isinstance(value, Mapping):
        return TrainingRow(number, fault=f"a row is an object, not {_kind(value)}")
    return TrainingRow(number, value)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _format_of(row: Mapping[str, Any]) -> Format | None:
    if "messages" in row:
        return "chat"
    if "preferred_output" in row or "non_preferred_output" in row:
        return "preference"
    return "completion" if "prompt" in row and "completion" in row else None


def _expected_formats() -> str:
    return (
        "a row is {messages: […]} (chat), {prompt, completion} (completion) or"
        " {input: {messages: […]}, preferred_output: […], non_preferred_output: […]} (preference)"
    )


def _describe_faults(name: str, format_: str, faults: list[tuple[int, str]], rows: int) -> str:
    lines = [f"{name}: {len(faults)} of {rows} rows cannot be used as {format_}:"]
    lines += [f"  line {line}: {fault}" for line, fault in faults[:TOLD]]
    if len(faults) > TOLD:
        lines.append(f"  and {len(faults) - TOLD} more")
    return "\n".join(lines)


# --- what a row of each format is ---------------------------------------------------------------


def _chat(row: Mapping[str, Any]) -> Iterator[str]:
    yield from _keys(row, ("messages",), ("tools", "parallel_tool_calls", "functions"))
    messages = row.get("messages")
    yield from _conversation(messages, "messages")
    assert isinstance(messages, list | tuple)
    if messages[-1].get("role") != "assistant":
        yield "the last message must be the assistant's: it is what is learned"
    if not any(m.get("role") == "assistant" and m.get("weight", 1) for m in messages):
        yield "every message of the assistant has the weight 0: there is nothing to learn"


def _completion(row: Mapping[str, Any]) -> Iterator[str]:
    yield from _keys(row, ("prompt", "completion"), ())
    for key in ("prompt", "completion"):
        if not isinstance(row[key], str):
            yield f"`{key}` must be text, not {_kind(row[key])}"
    if not row["completion"].strip():
        yield "`completion` is empty: there is nothing to learn"


def _preference(row: Mapping[str, Any]) -> Iterator[str]:
    yield from _keys(row, ("input", "preferred_output", "non_preferred_output"), ())
    prompt = row["input"]
    if not isinstance(prompt, Mapping):
        yield f"`input` must be an object with `messages`, not {_kind(prompt)}"
    yield from _keys(prompt, ("messages",), ("tools", "parallel_tool_calls"), "input")
    yield from _conversation(prompt["messages"], "input.messages")
    for key in ("preferred_output", "non_preferred_output"):
        yield from _conversation(row[key], key)
        if any(message.get("role") != "assistant" for message in row[key]):
            yield f"`{key}` holds only messages of the assistant"


_JUDGES: dict[Format, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "chat": _chat,
    "completion": _completion,
    "preference": _preference,
}


def _keys(
    row: Mapping[str, Any], required: tuple[str, ...], allowed: tuple[str, ...], where: str = ""
) -> Iterator[str]:
    inside = f" in `{where}`" if where else ""
    for key in required:
        if key not in row:
            near = did_you_mean(key, list(row))
            yield f"`{key}` is missing{inside}" + (f"; there is `{near}`" if near else "")
    for key in row:
        if key not in required + allowed:
            yield f"unknown key `{key}`{inside}"


def _conversation(messages: object, where: str) -> Iterator[str]:
    if not isinstance(messages, list | tuple):
        yield f"`{where}` must be a list of messages, not {_kind(messages)}"
        return
    if not messages:
        yield f"`{where}` is empty"
    for index, message in enumerate(messages):
        yield from _message(message, f"{where}[{index}]")


def _message(message: object, where: str) -> Iterator[str]:
    if not isinstance(message, Mapping):
        yield f"`{where}` must be an object with `role` and `content`, not {_kind(message)}"
        return
    role = message.get("role")
    if role is None:
        yield f"`{where}` has no `role`"
    if role not in ROLES:
        near = did_you_mean(str(role), ROLES)
        yield f"`{where}` has the role {str(role)[:40]!r}" + (
            f"; did you mean {near!r}?" if near else f"; there are {', '.join(ROLES)}"
        )
    content = message.get("content")
    calls = role == "assistant" and (message.get("tool_calls") or message.get("function_call"))
    if content is None and not calls:
        yield f"`{where}` has no `content`"
    if content is not None and not isinstance(content, str | list | tuple):
        yield f"`{where}.content` must be text or a list of parts, not {_kind(content)}"
    if role == "assistant" and isinstance(content, str) and not content.strip() and not calls:
        yield f"`{where}.content` is empty: there is nothing to learn"
    if message.get("weight", 1) not in (0, 1):
        yield f"`{where}.weight` must be 0 or 1"


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case bytes():
            return "bytes"
        case Mapping():
            return "an object"
        case _:
            return "a list"
