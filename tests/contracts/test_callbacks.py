"""What every built-in callback keeps to."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from lmconf.callbacks import KINDS, Callback, Deferred, Dispatcher, End, Failure, Start, make
from lmconf.callbacks.specs import (
    CallbackSpec,
    JsonlCallback,
    LiteLLMLogger,
    LiteLLMLoggerArgs,
    LogCallback,
    MeterCallback,
    OtelCallback,
)
from lmconf.errors import RateLimited

SPECS: dict[str, Callable[[Path], CallbackSpec]] = {
    "log": lambda folder: LogCallback(use="log"),
    "jsonl": lambda folder: JsonlCallback(use="jsonl", path=str(folder / "runs" / "calls.jsonl")),
    "otel": lambda folder: OtelCallback(use="otel", content=True),
    "meter": lambda folder: MeterCallback(use="meter", path=str(folder / "runs" / "meter.json")),
    "litellm_logger": lambda folder: LiteLLMLogger(
        use="litellm_logger", args=LiteLLMLoggerArgs(name="langsmith")
    ),
}
REQUEST = {"messages": [{"role": "user", "content": "Say \ud83d \u2028 this\nis a test!"}], "n": 1}
START = Start(call_id="c1", lm="gpt", model="openai/gpt", time=1.0, request=REQUEST)
END = End(
    call_id="c1",
    lm="gpt",
    model="openai/gpt",
    time=1.5,
    duration=0.5,
    cache_hit=False,
    attempts=1,
    usage={"prompt_tokens": 3, "completion_tokens": float("nan")},
    cost=0.001,
    response={"choices": (object(), b"x")},
    request=REQUEST,
)
FAILURE = Failure(
    call_id="c2",
    lm="gpt",
    model="openai/gpt",
    time=2.0,
    duration=0.5,
    attempts=9,
    error=RateLimited("slow down", status=429),
    request=REQUEST,
)


@pytest.fixture(params=sorted(SPECS))
def callback(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callback:
    monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2-1")
    monkeypatch.setenv("LANGSMITH_BASE_URL", "http://127.0.0.1:9")
    return make(SPECS[request.param](tmp_path))


def test_every_kind_is_held_to_the_contract() -> None:
    assert set(SPECS) == set(KINDS)


def test_making_a_callback_has_no_effect(
    callback: Callback, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
    assert capfd.readouterr() == ("", "")


def test_any_event_is_taken_without_a_warning(callback: Callback) -> None:
    """Warnings are errors here: odd texts, numbers and objects in an event harm nothing."""
    dispatcher = Dispatcher([callback])
    for _ in range(2):
        dispatcher.start(START)
        dispatcher.tell(END)
        dispatcher.tell(FAILURE)
    dispatcher.close()


def test_standard_output_stays_the_programs_own(
    callback: Callback, capfd: pytest.CaptureFixture[str]
) -> None:
    dispatcher = Dispatcher([callback])
    dispatcher.start(START)
    dispatcher.tell(END)
    dispatcher.tell(FAILURE)
    assert capfd.readouterr().out == ""


def test_structlog_is_left_as_the_application_configured_it(callback: Callback) -> None:
    dispatcher = Dispatcher([callback])
    dispatcher.start(START)
    dispatcher.tell(END)
    assert not structlog.is_configured()


def test_events_are_values_that_cannot_change() -> None:
    with pytest.raises(AttributeError):
        START.lm = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(START)) == START


def test_no_built_in_callback_waits_to_be_made(callback: Callback) -> None:
    assert not isinstance(callback, Deferred)
