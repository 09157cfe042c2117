"""`lmconf launch`, `ps`, `logs` and `kill`, with the real program and a real server."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lmconf.launchers.folders import servers_folder
from lmconf.launchers.records import ServerRecord, records, running_records, write_record
from lmconf.runtime import LM
from tests.unit.launchers.scripted import until
from tests.watching import alive

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "profiles/models/lmconf-tiny-f16.gguf"
pytestmark = pytest.mark.slow


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "model: openai/lmconf-tiny\ncache: false\nmax_tokens: 16\n"
        f"launch_kwargs: {{use: llama_cpp, weights: {WEIGHTS}, args: {{ctx-size: 512}}}}\n"
    )
    yield path
    for record in running_records():
        record.end()


def started(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lmconf", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def ran(*arguments: object) -> tuple[int, str, str]:
    process = started(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_a_detached_server_stays_until_it_is_killed_and_is_used_by_everybody(
    profile: Path,
) -> None:
    code, url, told = ran("launch", profile, "--detach")
    assert code == 0, told
    (record,) = running_records()
    assert url.strip() == f"{record.url}/v1"
    assert "is ready" in told

    code, _, told = ran("launch", profile, "-d")
    assert (code, "is already running" in told) == (0, True)
    code, told, _ = ran("call", profile, "Say this is a test!", "--no-stream")
    assert (code, told) == (0, "This is a test!\n")
    with LM(
        "openai/lmconf-tiny",
        launch_kwargs={"use": "llama_cpp", "weights": str(WEIGHTS), "args": {"ctx-size": 512}},
    ) as lm:
        server = lm.launch()
        assert (server.pid, server.status()) == (record.pid, "running")
        assert lm("Say this is a test!", cache=False) == ["This is a test!"]
    assert running_records() == [record]  # closing an LM ends nobody else's server
    assert json.loads(ran("ps", "--format", "json")[1])[0]["pid"] == record.pid
    assert str(profile) in ran("ps")[1]
    assert "init:" in ran("logs", profile, "-n", 200)[1]

    code, _, told = ran("launch", profile, "-d", "--set", "launch_kwargs.args.ctx-size=256")
    assert (code, "runs with other arguments" in told) == (4, True)
    code, _, told = ran("kill", profile)
    assert (code, f"stopped {profile}" in told) == (0, True)
    assert not alive(record.pid)
    assert running_records() == []
    assert ran("kill", profile)[0] == 2
    assert "no server is running" in ran("ps")[2]


def in_foreground(profile: Path) -> tuple[subprocess.Popen[str], ServerRecord]:
    process = started("launch", profile)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    (record,) = running_records()
    assert record.owner == process.pid
    return process, record


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_server_in_the_foreground_ends_with_its_program(
    profile: Path, number: int, code: int
) -> None:
    process, record = in_foreground(profile)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    until(lambda: not alive(record.pid), within=2.0)


def test_another_process_may_end_it_and_follow_its_log(profile: Path) -> None:
    process, record = in_foreground(profile)
    follower = started("logs", record.pid, "--follow")
    assert follower.stdout is not None
    assert follower.stdout.readline()
    assert ran("kill", record.pid)[0] == 0
    follower.communicate(timeout=30)
    assert follower.returncode == 0
    _, told = process.communicate(timeout=30)
    assert (process.returncode, "stopped by `lmconf kill`" in told) == (0, True)


def test_a_server_that_dies_is_told_with_the_end_of_its_log(profile: Path) -> None:
    process, record = in_foreground(profile)
    os.kill(record.pid, signal.SIGKILL)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 4
    assert f"the server of {profile} ended" in told
    assert str(record.log) in told


def test_a_start_that_fails_shows_why_and_leaves_nothing(profile: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(WEIGHTS.read_bytes()[:20_000])
    code, out, told = ran("launch", profile, "-d", "--set", f"launch_kwargs.weights={broken}")
    assert (code, out) == (4, "")
    assert "ended with status" in told
    assert "broken.gguf" in told
    assert running_records() == []


def test_an_entry_of_a_process_that_is_gone_counts_for_nothing(profile: Path) -> None:
    assert ran("launch", profile, "-d")[0] == 0
    (record,) = running_records()
    assert record.end()
    assert [each.pid for each in records()] == [record.pid]
    # Another process has got the number of the supervisor meanwhile, and even the lock is held.
    with (Path(record.folder) / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_record(Path(record.folder), msgspec.structs.replace(record, supervisor=os.getpid()))
        assert running_records() == []
        assert ran("kill", "--all")[0] == 0


def test_state_is_private(profile: Path) -> None:
    assert ran("launch", profile, "-d")[0] == 0
    (record,) = running_records()
    folder = Path(record.folder)
    assert folder.parent == servers_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == dict.fromkeys(
        ("address", "lock", "pid", "server.json", "server.log"), 0o600
    )


def test_an_lm_without_a_server_is_told(profile: Path) -> None:
    profile.write_text("model: openai/gpt-4o-mini\n")
    code, _, told = ran("launch", profile)
    assert (code, "has no server of its own" in told) == (2, True)
    assert f"{profile.name}:1:8" in told
    assert "`launch_kwargs: {use: llama_cpp, weights: …}`" in told


def test_a_server_that_loads_is_listed_told_of_and_can_be_killed(
    profile: Path, tmp_path: Path
) -> None:
    """Its program waits for a file before it serves."""
    waits = "import pathlib, sys, time\nprint('loading', flush=True)\nwhile True: time.sleep(0.1)\n"
    words = json.dumps([sys.executable, "-c", waits, "{port}"])
    profile.write_text(f"model: openai/any\nlaunch_kwargs: {{command: {words}}}\n")
    process = started("launch", profile, "--detach")
    until(lambda: any(each.pid for each in running_records()))
    (record,) = running_records()
    assert alive(record.pid)
    assert "(loading)" in ran("ps")[1]
    listed = json.loads(ran("ps", "--format", "json")[1])
    assert (listed[0]["url"], listed[0]["pid"]) == (None, record.pid)
    until(lambda: "loading" in ran("logs", profile)[1])
    code, _, told = ran("launch", profile, "-d")
    assert (code, "is already being started" in told) == (4, True)
    code, _, told = ran("launch", profile, "-d", "--set", "launch_kwargs.host=localhost")
    assert (code, "runs with other arguments and is loading" in told) == (4, True)
    code, _, told = ran("kill", profile)
    assert (code, "it was loading" in told) == (0, True)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, "was stopped before it was ready" in told) == (4, True)
    assert not alive(record.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_ends_while_a_server_loads_leaves_none(profile: Path, number: int) -> None:
    words = json.dumps([sys.executable, "-c", "import time\nwhile True: time.sleep(0.1)", "{port}"])
    profile.write_text(f"model: openai/any\nlaunch_kwargs: {{command: {words}}}\n")
    process = started("launch", profile, "--detach")
    until(lambda: any(each.pid for each in running_records()))
    (record,) = running_records()
    process.send_signal(number)
    process.communicate(timeout=30)
    until(lambda: not alive(record.pid) and not running_records(), within=2.0)


def test_ctrl_c_ends_whoever_follows_a_log_and_not_the_server(profile: Path) -> None:
    assert ran("launch", profile, "-d")[0] == 0
    (record,) = running_records()
    follower = started("logs", profile, "-f")
    assert follower.stdout is not None
    assert follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    _, told = follower.communicate(timeout=30)
    assert (follower.returncode, "Traceback" in told) == (130, False)
    assert running_records() == [record]
