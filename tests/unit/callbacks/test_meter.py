"""The meter: what calls come to, in this process and in the file that processes share."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf.callbacks import CallbackWarning, Dispatcher, End, Failure, Retry
from lmconf.callbacks.meter import MeterCallback, default_path, read
from lmconf.callbacks.meter_totals import Totals, bucket_of, merge, percentile
from lmconf.errors import RateLimited, ServerError
from lmconf.testing import fake

ROOT = Path(__file__).parents[3]
MARKER = "sk-live-0123456789abcdef"


def end(
    lm: str = "gpt", *, hit: bool = False, duration: float = 0.5, cost: float | None = 0.25
) -> End:
    return End(
        call_id="1",
        lm=lm,
        model="openai/gpt",
        time=1.0,
        duration=duration,
        cache_hit=hit,
        attempts=0 if hit else 2,
        usage={} if hit else {"prompt_tokens": 5, "completion_tokens": 2},
        cost=None if hit else cost,
        response=f"an answer {MARKER}",
        request={"messages": [{"role": "user", "content": f"a question {MARKER}"}]},
    )


def failure(error: BaseException) -> Failure:
    return Failure(
        call_id="2",
        lm="gpt",
        model="openai/gpt",
        time=1.0,
        duration=0.5,
        attempts=3,
        error=error,
        request={},
    )


def retry() -> Retry:
    return Retry(
        call_id="1",
        lm="gpt",
        model="m",
        time=1.0,
        after=1,
        wait=0.1,
        reason="timeout",
        error="Timeout",
        status=None,
    )


def test_calls_are_added_up_lm_by_lm(tmp_path: Path) -> None:
    meter = MeterCallback(tmp_path / "meter.json")
    meter.on_retry(retry())
    meter.on_end(end())
    meter.on_end(end(hit=True))
    meter.on_end(end(cost=None))
    meter.on_end(end("claude"))
    meter.on_error(failure(RateLimited("slow", status=429)))
    gpt = meter.by_lm["gpt"].report()
    latencies = [gpt.pop(name) for name in ("p50", "p95", "p99")]
    assert gpt == {
        "model": "openai/gpt",
        "calls": 3,
        "cache_hits": 1,
        "attempts": 7,
        "retries": 1,
        "fallbacks": 0,
        "input_tokens": 10,
        "output_tokens": 4,
        "cost": 0.25,
        "unpriced": 1,
        "failures": {"RateLimited": 1},
        "failed": 1,
        "hit_rate": pytest.approx(1 / 3),
    }
    assert latencies == [pytest.approx(0.5, rel=0.03)] * 3
    assert meter.by_lm["claude"].calls == 1


def test_the_calls_of_an_lm_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    with fake(["Hello there.", ServerError("down", status=503), "Bye."]) as server:
        lm = server.lm(callbacks=[{"use": "meter", "path": str(path)}])
        lm("Hi")
        lm("Hi")
        lm.close()
    [totals] = read(path).values()
    assert (totals.calls, totals.attempts, totals.retries) == (2, 3, 1)
    assert totals.output_tokens == 3


def test_the_file_is_for_the_owner_alone_and_holds_figures_only(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "meter.json"
    meter = MeterCallback(path)
    meter.on_end(end())
    meter.on_error(failure(RateLimited(MARKER)))
    meter.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert MARKER not in path.read_text()
    assert "question" not in path.read_text()
    assert read(path)["gpt"].failures == {"RateLimited": 1}


def test_it_is_written_at_most_twice_a_second_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    meter = MeterCallback(path)
    for _ in range(100):
        meter.on_end(end())
    assert 1 <= read(path)["gpt"].calls < 100
    meter.close()
    assert read(path)["gpt"].calls == 100


COUNT = """
import sys
from tests.unit.callbacks.test_meter import *
meter = MeterCallback(sys.argv[1])
for _ in range(50):
    meter.on_end(end())
    meter.close()
"""


def test_processes_add_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"

    def count(_: int) -> None:
        subprocess.run(
            [sys.executable, "-c", COUNT, path],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=True,
        )

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(count, range(2)))
    assert read(path)["gpt"].calls == 100
    assert sum(read(path)["gpt"].seconds.values()) == 100


AT_EXIT = """
import os, sys
from tests.unit.callbacks.test_meter import *
meter = MeterCallback(sys.argv[1])
dispatcher = Dispatcher([meter])
dispatcher.open()
for _ in range(20):
    dispatcher.tell(end())
if os.fork():
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_what_was_not_written_is_written_as_the_program_ends(tmp_path: Path) -> None:
    """Once: a forked child leaves to its parent what the parent counted."""
    path = tmp_path / "meter.json"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AT_EXIT, path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )
    assert read(path)["gpt"].calls == 20


def test_a_file_that_is_none_of_its_own_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    path.write_text("{broken")
    meter = MeterCallback(path)
    meter.on_end(end())
    assert read(path)["gpt"].calls == 1
    assert (tmp_path / "meter.json.broken").read_text() == "{broken"


def test_what_cannot_be_written_is_kept_for_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "meter.json"
    dispatcher = Dispatcher([meter := MeterCallback(path)])
    dispatcher.open()
    with pytest.warns(CallbackWarning, match="MeterCallback raised"):
        dispatcher.tell(end())
        dispatcher.close()
    (tmp_path / "file").unlink()
    meter.close()
    assert read(path)["gpt"].calls == 1


def test_without_a_path_the_file_is_in_the_users_state_folder(machine: Path) -> None:
    MeterCallback().on_end(end())
    assert Path(default_path()).is_relative_to(machine)
    assert json.loads(Path(default_path()).read_text())["version"] == 1


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_right_to_a_few_percent(seconds: list[float], share: float) -> None:
    histogram: dict[int, int] = {}
    for second in seconds:
        bucket = bucket_of(second)
        histogram[bucket] = histogram.get(bucket, 0) + 1
    ordered = sorted(seconds)
    exact = next(second for count, second in enumerate(ordered, 1) if count >= share * len(ordered))
    assert percentile(histogram, share) == pytest.approx(exact, rel=0.03)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=10))
def test_totals_add_up_however_they_are_parted(events: list[tuple[str, int]]) -> None:
    """Adding all at once is adding the halves and then both."""

    def added(some: list[tuple[str, int]]) -> dict[str, Totals]:
        totals: dict[str, Totals] = {}
        for lm, number in some:
            merge(totals, {lm: Totals(calls=number, failures={"X": number}, seconds={number: 1})})
        return totals

    halves = added(events[: len(events) // 2])
    merge(halves, added(events[len(events) // 2 :]))
    assert halves == added(events)
