"""`lmconf meter`: what was counted, as a table and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmconf.callbacks import End, Failure
from lmconf.callbacks.meter import MeterCallback, default_path
from lmconf.errors import RateLimited
from tests.unit.cli.running import Lmconf


def count(path: str | Path, lm: str = "support:gpt") -> None:
    meter = MeterCallback(path)
    common: dict[str, Any] = {
        "call_id": "1",
        "lm": lm,
        "model": "openai/gpt",
        "time": 1.0,
        "request": {},
    }
    for hit in (False, True):
        meter.on_end(
            End(
                **common,
                duration=1.5,
                cache_hit=hit,
                attempts=0 if hit else 1,
                usage={} if hit else {"prompt_tokens": 1200, "completion_tokens": 30},
                cost=None if hit else 0.0125,
                response=None,
            )
        )
    meter.on_error(Failure(**common, duration=0.1, attempts=1, error=RateLimited("slow")))
    meter.close()


def test_a_file_is_shown_as_a_table(project: Path, lmconf: Lmconf) -> None:
    count(project / "meter.json")
    ran = lmconf("meter", "meter.json")
    assert ran.code == 0
    head, row = ran.out.splitlines()
    assert head.split() == [
        "LM", "calls", "hits", "failed", "retries", "input", "output", "cost", "p50", "p95", "p99",
    ]  # fmt: skip
    assert row.split() == [
        "support:gpt", "2", "1", "(50%)", "1", "0", "1,200", "30", "$0.0125", "1.51s", "1.51s", "1.51s",
    ]  # fmt: skip


def test_for_programs_there_is_json(project: Path, lmconf: Lmconf) -> None:
    count(project / "meter.json")
    [row] = lmconf("meter", "meter.json", "--json").json
    assert row["lm"] == "support:gpt"
    assert (row["calls"], row["hit_rate"], row["failures"]) == (2, 0.5, {"RateLimited": 1})
    assert row["p95"] == pytest.approx(1.5, rel=0.03)


def test_without_a_name_it_is_the_meter_that_names_no_file(machine: Path, lmconf: Lmconf) -> None:
    ran = lmconf("meter")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing is recorded yet" in ran.err
    count(default_path(), "tiny")
    assert lmconf("meter").out.splitlines()[1].startswith("tiny")


def test_a_profile_or_an_lm_names_the_file_of_its_meter(project: Path, lmconf: Lmconf) -> None:
    (project / "profiles/counted.yaml").write_text(
        "defaults: {callbacks: [{use: meter, path: ../runs/meter.json}]}\n"
        "lms: {gpt: {model: openai/gpt-4o}, plain: {model: openai/gpt-4o, callbacks: []}}\n"
    )
    count(project / "runs/meter.json")
    for name in ("counted", "counted:gpt"):
        assert lmconf("meter", name).out.splitlines()[1].startswith("support:gpt")
    ran = lmconf("meter", "counted:plain")
    assert ran.code == 1
    assert "has no meter" in ran.err


def test_what_is_no_file_of_a_meter_is_told(project: Path, lmconf: Lmconf) -> None:
    (project / "other.json").write_text('{"lms": 3}')
    ran = lmconf("meter", "other.json")
    assert ran.code == 1
    assert "is not a valid meter file" in ran.err
