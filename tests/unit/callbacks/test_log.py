"""The log: one event a call, where the application wants it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from lmconf.callbacks import End, Failure, Fallback, LimitWait, Retry
from lmconf.callbacks.log import LogCallback
from lmconf.errors import RateLimited

REQUEST = {"messages": [{"role": "user", "content": "a confidential question"}]}
END = End(
    call_id="c1",
    lm="gpt",
    model="openai/gpt",
    time=1.0,
    duration=0.25,
    cache_hit=True,
    attempts=0,
    usage={"total_tokens": 0},
    cost=0.0,
    response="a confidential answer",
    request=REQUEST,
)
FAILURE = Failure(
    call_id="c2",
    lm="gpt",
    model="openai/gpt",
    time=1.0,
    duration=0.25,
    attempts=3,
    error=RateLimited("you asked: a confidential question", status=429, request_id="r7"),
    request=REQUEST,
)


@pytest.fixture
def captured() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


def test_without_a_configuration_events_go_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    callback = LogCallback()
    callback.on_end(END)
    callback.on_error(FAILURE)
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    for part in ("info", "lm_call", "lm=gpt", "cache_hit=True", "duration=0.25"):
        assert part in first
    for part in ("error", "lm_call_failed", "RateLimited", "status=429", "attempts=3", "r7"):
        assert part in second
    assert "confidential" not in err


def test_the_applications_configuration_is_used(captured: LogCapture) -> None:
    LogCallback().on_end(END)
    LogCallback().on_error(FAILURE)
    assert [(entry["event"], entry["log_level"]) for entry in captured.entries] == [
        ("lm_call", "info"),
        ("lm_call_failed", "error"),
    ]
    assert captured.entries[0]["usage"] == {"total_tokens": 0}
    assert "confidential" not in str(captured.entries)


def test_what_happens_in_between_is_logged_with_levels_of_its_own(captured: LogCapture) -> None:
    head: dict[str, Any] = {"call_id": "c1", "lm": "gpt", "model": "openai/gpt", "time": 1.0}
    callback = LogCallback()
    callback.on_retry(
        Retry(**head, after=1, wait=0.5, reason="timeout", error="Timeout", status=None)
    )
    callback.on_fallback(Fallback(**head, source="gpt", target="claude", reason="timeout"))
    callback.on_limit_wait(LimitWait(**head, seconds=0.5, limit="tokens"))
    assert [(entry["event"], entry["log_level"]) for entry in captured.entries] == [
        ("lm_retry", "warning"),
        ("lm_fallback", "warning"),
        ("lm_limit_wait", "info"),
    ]
    assert captured.entries[0]["wait"] == 0.5


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_the_level_of_a_call_that_succeeds_may_be_chosen(level: str, captured: LogCapture) -> None:
    LogCallback(level).on_end(END)
    assert captured.entries[0]["log_level"] == level
