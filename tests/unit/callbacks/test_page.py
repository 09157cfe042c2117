"""What docs/callbacks.md shows holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lmconf
from lmconf.callbacks import METHODS
from lmconf.callbacks.record_redaction import Redaction
from lmconf.callbacks.specs import JsonlCallback
from lmconf.testing import fake

PAGE = (Path(__file__).parents[3] / "docs/callbacks.md").read_text(encoding="utf-8")


def block(language: str, number: int) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[number]


def test_the_profile_loads_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    path = tmp_path / "page.yaml"
    path.write_text(block("yaml", 0))
    profile = lmconf.load(str(path))
    uses = [callback.use for callback in profile["gpt"].spec.callbacks]  # type: ignore[union-attr]
    assert uses == ["jsonl", "meter", "log"]


def test_what_is_redacted_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    path = tmp_path / "page.yaml"
    path.write_text(block("yaml", 1))
    [audit] = lmconf.lm(str(path)).spec.callbacks
    assert isinstance(audit, JsonlCallback)
    record = {"request": {"messages": [{"content": "x"}]}, "note": "card 1234567812345678."}
    assert Redaction(audit.redact).of(record) == {
        "request": {"messages": [{"content": "***"}]},
        "note": "card ***.",
    }


def test_the_class_hears_what_calls_cost() -> None:
    names: dict[str, type] = {}
    exec(block("python", 0), names)
    meter = names["CostMeter"]()
    with fake("Hello.") as server:
        server.lm(callbacks=[meter], pricing={"input": 1e6, "output": 0})("Hi")
    assert meter.spent == 1.0


def test_every_method_is_in_the_table() -> None:
    table = set(re.findall(r"`(on_\w+)`", PAGE))
    assert table == {*METHODS.values(), "on_event"}
