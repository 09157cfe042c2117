"""Training data is judged line by line before anything is begun, every bad line by its number."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lmconf.errors import TrainError
from lmconf.trainers import local_worker, training_data
from lmconf.trainers.local import LocalTrainer
from lmconf.trainers.trainer_protocol import FORMATS
from lmconf.trainers.training_data import BadTrainData, check_training_data

ASKED = {"role": "user", "content": "Hello"}
SAID = {"role": "assistant", "content": "Hi"}


def fault(row: Any, format: str = "chat") -> str:
    with pytest.raises(BadTrainData) as caught:
        check_training_data([row], format, FORMATS, 1)
    ((line, told),) = caught.value.faults
    assert line == 1
    return told


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"message": [ASKED, SAID]}, "`messages` is missing; there is `message`"),
        ({"messages": "hello"}, "`messages` must be a list of messages, not text"),
        ({"messages": []}, "`messages` is empty"),
        ({"messages": [ASKED]}, "the last message must be the assistant's"),
        ({"messages": [{"content": "x"}, SAID]}, "`messages[0]` has no `role`"),
        ({"messages": [{"role": "usr", "content": "x"}, SAID]}, "did you mean 'user'?"),
        ({"messages": [{"role": "robot", "content": "x"}, SAID]}, "there are system, developer"),
        ({"messages": [{"role": "user"}, SAID]}, "`messages[0]` has no `content`"),
        ({"messages": [ASKED, {**SAID, "content": "  "}]}, "there is nothing to learn"),
        ({"messages": [ASKED, {**SAID, "weight": 2}]}, "`messages[1].weight` must be 0 or 1"),
        (
            {"messages": [ASKED, {**SAID, "content": 7}]},
            "must be text or a list of parts, not a nu",
        ),
        ({"messages": [ASKED, SAID], "label": 1}, "unknown key `label`"),
        ({"messages": [ASKED, SAID], 7: 1}, "unknown key `7`"),
        ({7: 1}, "`messages` is missing"),
        ({"messages": [ASKED, {**SAID, "weight": 0}]}, "has the weight 0: there is nothing"),
        ({"messages": [ASKED, {**SAID, "content": "\ud83d"}]}, "half a character (\\ud83d)"),
        ({"messages": [ASKED, {**SAID, "score": float("nan")}]}, "Out of range float values"),
        ({"messages": [ASKED, {**SAID, "at": Path()}]}, "PosixPath is not a JSON value"),
        ([ASKED], "a row is an object, not a list"),
    ],
)
def test_what_is_wrong_with_a_conversation(row: Any, told: str) -> None:
    assert told in fault(row)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "a"}, "`completion` is missing"),
        ({"prompt": 1, "completion": "b"}, "`prompt` must be text, not a number"),
        ({"prompt": "a", "completion": " "}, "`completion` is empty"),
    ],
)
def test_what_is_wrong_with_a_completion(row: Any, told: str) -> None:
    assert told in fault(row, "completion")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"input": [ASKED]}, "`input` must be an object with `messages`, not a list"),
        ({"input": {"messages": []}}, "`input.messages` is empty"),
        ({"preferred_output": [ASKED]}, "holds only messages of the assistant"),
        ({"non_preferred_output": None}, "must be a list of messages, not null"),
    ],
)
def test_what_is_wrong_with_a_preference(change: Any, told: str) -> None:
    right = {
        "input": {"messages": [ASKED]},
        "preferred_output": [SAID],
        "non_preferred_output": [SAID],
    }
    assert check_training_data([right], None, FORMATS, 1)[0] == "preference"
    assert told in fault({**right, **change}, "preference")


def test_every_bad_line_of_a_file_is_told_by_its_number(tmp_path: Path) -> None:
    good = json.dumps({"messages": [ASKED, SAID]}).encode()
    file = tmp_path / "train.jsonl"
    lines = [b"\xef\xbb\xbf" + good, b"{broken", good, b"", b"[1]", b'{"a": NaN}', b"\xff", good]
    file.write_bytes(b"\n".join(lines) + b"\n\n")
    with pytest.raises(BadTrainData) as caught:
        check_training_data(file, None, FORMATS, 1)
    assert [line for line, _ in caught.value.faults] == [2, 4, 5, 6, 7]
    told = str(caught.value)
    assert told.startswith(f"{file}: 5 of 8 rows cannot be used as chat:")
    assert "line 2: broken JSON at column 2" in told
    assert "line 4: the line is empty" in told
    assert "line 7: the line is not UTF-8 text" in told


def test_lines_end_as_they_do_on_windows_and_text_may_hold_other_ends(tmp_path: Path) -> None:
    row = {"messages": [ASKED, {**SAID, "content": "one\u2028two\x85three"}]}
    file = tmp_path / "train.jsonl"
    file.write_bytes(f"{json.dumps(row, ensure_ascii=False)}\r\n\r\n".encode())
    (kept,) = check_training_data(file, None, FORMATS, 1)[1]
    assert kept == row
    file.write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    assert local_worker.read_rows(str(file)) == [row]


def test_nothing_is_read_after_a_line_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "LONGEST", 1000)
    with pytest.raises(BadTrainData, match="line 1: the line is longer than"):
        check_training_data("/dev/zero", None, FORMATS, 1)
    file = tmp_path / "train.jsonl"
    file.write_bytes(json.dumps({"messages": [ASKED, SAID]}).encode().ljust(1000) + b"\n")
    with pytest.raises(BadTrainData, match="line 1: the line is longer than"):
        check_training_data(file, None, FORMATS, 1)


@pytest.mark.parametrize(
    ("given", "what"),
    [(5, "a number"), (None, "null"), ({"messages": []}, "an object"), (b"", "b")],
)
def test_what_is_neither_a_path_nor_rows_is_told(given: Any, what: str) -> None:
    with pytest.raises(BadTrainData, match=f"or a list of rows, not {what}"):
        check_training_data(given, None, FORMATS, 1)


def test_rows_of_any_mapping_become_plain_ones() -> None:
    frozen = MappingProxyType({"messages": (MappingProxyType(ASKED), SAID)})
    assert check_training_data([frozen], None, FORMATS, 1)[1] == [{"messages": [ASKED, SAID]}]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [ASKED, SAID], "tools": [{}]}, "without tools"),
        ({"messages": [ASKED, {"role": "assistant", "tool_calls": [{}]}, SAID]}, "without tools"),
        ({"messages": [{**ASKED, "content": [{"type": "text"}]}, SAID]}, "whose content is text"),
    ],
)
def test_what_cannot_be_learned_on_this_machine_is_told_by_its_line(row: Any, told: str) -> None:
    right = {"messages": [ASKED, SAID]}
    assert len(check_training_data([right, row], None, FORMATS, 1)[1]) == 2
    with pytest.raises(BadTrainData) as caught:
        check_training_data([right, row], None, FORMATS, 1, LocalTrainer().fault)
    ((line, fault),) = caught.value.faults
    assert (line, told in fault) == (2, True)


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    with pytest.raises(BadTrainData, match="and 75 more") as caught:
        check_training_data([{"prompt": 1, "completion": "x"}] * 100, "completion", FORMATS, 1)
    assert len(caught.value.faults) == 100


def test_a_format_is_read_off_the_first_row_or_asked_for(tmp_path: Path) -> None:
    assert (
        check_training_data([{"prompt": "a", "completion": "b"}], None, FORMATS, 1)[0]
        == "completion"
    )
    assert check_training_data([{"messages": [ASKED, SAID]}], "CHAT", FORMATS, 1)[0] == "chat"
    with pytest.raises(TrainError, match="did you mean 'chat'"):
        check_training_data([{"messages": [ASKED, SAID]}], "chats", FORMATS, 1)
    with pytest.raises(TrainError, match="cannot be detected from their keys"):
        check_training_data([{"text": "a"}], None, FORMATS, 1)
    with pytest.raises(TrainError, match="this trainer takes chat"):
        check_training_data([{"prompt": "a", "completion": "b"}], None, ("chat",), 1)


def test_a_missing_file_and_too_few_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"none\.jsonl cannot be read: no such file"):
        check_training_data(tmp_path / "none.jsonl", None, FORMATS, 1)
    with pytest.raises(TrainError, match="has 1 row, and this trainer needs 10"):
        check_training_data([{"messages": [ASKED, SAID]}], None, FORMATS, 10)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(TrainError, match="has 0 rows"):
        check_training_data(tmp_path / "empty.jsonl", None, FORMATS, 1)
