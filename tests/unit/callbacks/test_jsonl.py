"""The file of records: one whole line a call, and nothing that was not asked for."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lmconf.callbacks import (
    Attempt,
    CallbackWarning,
    Dispatcher,
    End,
    Failure,
    Fallback,
    LimitWait,
    Retry,
)
from lmconf.callbacks.jsonl import JsonlCallback
from lmconf.errors import BadRequest, UsageError
from tests.programs import run

ROOT = Path(__file__).parents[3]
REQUEST = {"messages": [{"role": "user", "content": "What is ä?"}], "temperature": 0.0}


def end(call_id: str = "1", answer: object = "An umlaut.") -> End:
    return End(
        call_id=call_id,
        lm="gpt",
        model="openai/gpt",
        time=1_700_000_000.25,
        duration=0.5,
        cache_hit=False,
        attempts=2,
        usage={"total_tokens": 7},
        cost=0.25,
        response={"text": answer},
        request=REQUEST,
    )


def failure(error: BaseException) -> Failure:
    return Failure(
        call_id="2",
        lm="gpt",
        model="openai/gpt",
        time=1_700_000_000.0,
        duration=0.5,
        attempts=1,
        error=error,
        request=REQUEST,
    )


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_call_is_one_record(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    JsonlCallback(path).on_end(end())
    assert records(path) == [
        {
            "event": "end",
            "time": "2023-11-14T22:13:20.250+00:00",
            "call_id": "1",
            "lm": "gpt",
            "model": "openai/gpt",
            "duration": 0.5,
            "first_token": None,
            "attempts": 2,
            "waited": 0.0,
            "cache_hit": False,
            "usage": {"total_tokens": 7},
            "cost": 0.25,
            "request_id": None,
            "request": REQUEST,
            "response": {"text": "An umlaut."},
        }
    ]


def test_what_happens_to_a_call_stands_in_its_one_record(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    callback = JsonlCallback(path)
    head: dict[str, Any] = {"call_id": "1", "lm": "gpt", "model": "openai/gpt", "time": 1.0}
    callback.on_attempt(Attempt(**head, number=1, of=3, origin="https://a.example"))
    callback.on_retry(
        Retry(**head, after=1, wait=0.5, reason="rate_limit", error="RateLimited", status=429)
    )
    callback.on_limit_wait(LimitWait(**head, seconds=2.0, limit="requests"))
    callback.on_attempt(Attempt(**head, number=2, of=3, origin="https://a.example"))
    callback.on_fallback(Fallback(**head, source="gpt", target="claude", reason="server_error"))
    callback.on_end(end("another"))
    callback.on_end(end())
    other, record = records(path)
    assert "retries" not in other
    assert record["origins"] == ["https://a.example", "https://a.example"]
    assert record["retries"] == [
        {"after": 1, "wait": 0.5, "reason": "rate_limit", "error": "RateLimited", "status": 429}
    ]
    assert record["limit_waits"] == [{"seconds": 2.0, "limit": "requests"}]
    assert record["fallbacks"][0]["target"] == "claude"


def test_what_is_redacted_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    redact = ["request.messages.*.content", "/uml[a-z]+/", "usage"]
    JsonlCallback(path, redact=redact).on_end(end(answer=["An umlaut.", {"umlaut": 1}]))
    [record] = records(path)
    assert record["request"]["messages"] == [{"role": "user", "content": "***"}]
    assert record["response"] == {"text": ["An ***.", {"***": 1}]}
    assert record["usage"] == "***"
    assert record["request"]["temperature"] == 0.0


@pytest.mark.parametrize("entry", ["/(/", "/open", "//", "a..b", ""])
def test_what_redacts_nothing_is_refused(entry: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        JsonlCallback(tmp_path / "calls.jsonl", redact=[entry])


def test_as_many_rotated_files_are_kept_as_asked_for(tmp_path: Path) -> None:
    callback = JsonlCallback(tmp_path / "calls.jsonl", max_size=600, keep=3)
    for number in range(10):
        callback.on_end(end(str(number)))
    names = sorted(path.name for path in tmp_path.glob("calls*"))
    assert names == ["calls.jsonl", "calls.jsonl.1", "calls.jsonl.2", "calls.jsonl.3"]
    kept = [record["call_id"] for name in reversed(names) for record in records(tmp_path / name)]
    assert kept == [str(number) for number in range(10 - len(kept), 10)]


def test_a_failure_is_a_record_with_its_error(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    error = BadRequest("no: key sk-live-0123456789abcdef", status=400, request_id="r1")
    JsonlCallback(path).on_error(failure(error))
    [record] = records(path)
    assert record["event"] == "error"
    assert record["error"] == {
        "type": "BadRequest",
        "message": "no: key ***",
        "lm": "",
        "attempts": 0,
        "waited": 0.0,
        "status": 400,
        "request_id": "r1",
        "retry_after": None,
        "retryable": False,
        "setting": None,
        "place": None,
        "help": BadRequest.default_help,
        "causes": [],
        "fallbacks": [],
    }
    assert record["request"] == REQUEST


def test_without_content_neither_prompt_nor_answer_nor_quotes_of_them_are_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "calls.jsonl"
    callback = JsonlCallback(path, content=False)
    callback.on_end(end())
    callback.on_error(failure(BadRequest("your prompt 'What is ä?' is bad", status=400)))
    text = path.read_text()
    assert "umlaut" not in text
    assert "What is" not in text
    assert [record["event"] for record in records(path)] == ["end", "error"]
    assert records(path)[0]["usage"] == {"total_tokens": 7}


def test_folder_and_file_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        JsonlCallback(tmp_path / "runs" / "calls.jsonl").on_end(end())
    finally:
        os.umask(before)
    assert mode(tmp_path / "runs") == 0o700
    assert mode(tmp_path / "runs" / "calls.jsonl") == 0o600


def test_a_full_file_is_rotated_and_every_line_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    callback = JsonlCallback(path, max_size=2000)
    for number in range(30):
        callback.on_end(end(str(number)))
    kept = [
        record["call_id"]
        for name in ("calls.jsonl.1", "calls.jsonl")
        for record in records(tmp_path / name)
    ]
    assert kept == [str(number) for number in range(30 - len(kept), 30)]
    assert path.stat().st_size <= 2000
    assert (tmp_path / "calls.jsonl.1").stat().st_size <= 2000
    assert mode(tmp_path / "calls.jsonl.1") == 0o600


def test_a_record_larger_than_the_file_may_be_has_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    callback = JsonlCallback(path, max_size=1000)
    for answer in ("small", "x" * 5000, "small"):
        callback.on_end(end(answer=answer))
    assert records(tmp_path / "calls.jsonl.1")[0]["response"] == {"text": "x" * 5000}
    assert records(path)[0]["response"] == {"text": "small"}


def test_texts_that_break_lines_or_are_no_unicode_are_written_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    JsonlCallback(path).on_end(
        end(answer=["a\nb\r\u2028", "\ud83d", float("inf"), 2**70, {3: None}])
    )
    [record] = records(path)
    assert record["response"]["text"] == ["a\nb\r\u2028", "\ud83d", None, 2**70, {"3": None}]


def test_the_home_folder_may_be_named(machine: Path) -> None:
    JsonlCallback("~/calls.jsonl").on_end(end())
    assert len(records(machine / "calls.jsonl")) == 1


def test_a_file_that_cannot_be_written_harms_no_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    dispatcher = Dispatcher([JsonlCallback(tmp_path / "file" / "calls.jsonl")])
    dispatcher.open()
    with pytest.warns(CallbackWarning, match="JsonlCallback raised NotADirectoryError"):
        dispatcher.tell(end())


FULL = """
import resource, sys
from tests.unit.callbacks.test_jsonl import *
callback = JsonlCallback(sys.argv[1])
callback.on_end(end())
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for _ in range(3):
    try:
        callback.on_end(end(answer="x" * 800))
    except OSError as error:
        print(type(error).__name__)
callback.on_end(end())
"""


def test_a_line_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    done = run(FULL, tmp_path / "calls.jsonl")
    assert done.stdout == "OSError\n" * 3, done.stderr
    assert [record["response"]["text"] for record in records(tmp_path / "calls.jsonl")] == [
        "An umlaut."
    ] * 2


WRITE = """
import sys
from tests.unit.callbacks.test_jsonl import *
callback = JsonlCallback(sys.argv[1], max_size=int(sys.argv[3]))
for number in range(200):
    callback.on_end(end(f"{sys.argv[2]}-{number}", "x" * (number * 37 % 3000)))
"""


@pytest.mark.parametrize("max_size", [10**9, 300_000], ids=["one file", "rotating"])
def test_several_processes_may_write_to_one_file(tmp_path: Path, max_size: int) -> None:
    """No line is lost or mixed with another, while the file is rotated, too."""
    path = tmp_path / "calls.jsonl"
    with ThreadPoolExecutor(3) as threads:
        for done in threads.map(lambda name: run(WRITE, path, name, max_size), "abc"):
            assert done.returncode == 0, done.stderr
    everything = records(path)
    if max_size == 10**9:
        assert len(everything) == 600
    else:
        everything = records(tmp_path / "calls.jsonl.1") + everything
        assert len(everything) > 150
    for name in "abc":
        mine = [int(r["call_id"][2:]) for r in everything if r["call_id"].startswith(name)]
        assert mine == list(range(200 - len(mine), 200))


def test_threads_may_share_a_callback(tmp_path: Path) -> None:
    callback = JsonlCallback(tmp_path / "calls.jsonl")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: callback.on_end(end(str(number))), range(200)))
    assert {record["call_id"] for record in records(tmp_path / "calls.jsonl")} == set(
        map(str, range(200))
    )
