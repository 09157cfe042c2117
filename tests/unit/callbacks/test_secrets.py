"""No credential is in anything that a built-in callback writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from lmconf.errors import AuthenticationFailed, ServerError
from lmconf.testing import fake

MARKER = "sk-live-0123456789abcdef"


@pytest.fixture
def captured() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


def test_records_logs_and_totals_hold_no_secret(
    tmp_path: Path, captured: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a key, a header, and an address, nor what a server repeats of them."""
    monkeypatch.setenv("SECRET", MARKER)
    monkeypatch.setenv("SECRET_BASE", f"https://user:{MARKER}@llm.example/{MARKER}")
    with fake(
        [
            ServerError(f"bad key {MARKER}", status=503),
            "Hello.",
            AuthenticationFailed(f"bad key {MARKER}", status=401),
        ]
    ) as server:
        lm = server.lm(
            callbacks=[
                {"use": "jsonl", "path": str(tmp_path / "calls.jsonl")},
                {"use": "meter", "path": str(tmp_path / "meter.json")},
                {"use": "log", "level": "info"},
            ],
            api_key=MARKER,
            api_base={"$env": "SECRET_BASE"},
            headers={"X-Api-Key": {"$env": "SECRET"}},
        )
        lm("Hi")
        with pytest.raises(AuthenticationFailed):
            lm("Hi")
        lm.close()
    written = (tmp_path / "calls.jsonl").read_text() + (tmp_path / "meter.json").read_text()
    assert MARKER not in written + str(captured.entries)
    assert [entry["event"] for entry in captured.entries] == [
        "lm_retry",
        "lm_call",
        "lm_call_failed",
    ]
    first, second = map(json.loads, (tmp_path / "calls.jsonl").read_text().splitlines())
    assert first["retries"][0]["error"] == "ServerError"
    assert second["error"]["type"] == "AuthenticationFailed"


def test_a_fallback_is_told_to_the_callbacks_of_the_lm_that_was_called(tmp_path: Path) -> None:
    with fake([ServerError("down", status=503), "Hello."]) as server:
        lm = server.lm(
            callbacks=[{"use": "jsonl", "path": str(tmp_path / "calls.jsonl")}],
            num_retries=0,
            fallbacks=[{"model": "openai/other", "api_key": "", "transport": server.name}],
        )
        lm("Hi")
        lm.close()
    [record] = map(json.loads, (tmp_path / "calls.jsonl").read_text().splitlines())
    assert record["event"] == "end"
    [fallback] = record["fallbacks"]
    assert fallback["error"] == "ServerError"
    assert len(record["origins"]) == 2
