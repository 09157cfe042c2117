"""The servers that are too large for every run, as they are, started from profiles.

`make test-serving` runs this. `LMCONF_REAL_KILLS` says how many owners of each are killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmconf.errors import AuthenticationFailed, LaunchError
from lmconf.launchers.records import running_records
from lmconf.runtime import LM
from tests.serving.servers import KINDS, adapter, interpreter, launched
from tests.unit.launchers.scripted import of_session, until
from tests.watching import alive

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("LMCONF_REAL_KILLS", "2"))
SAID = "This is a test!"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::lmconf.TruncatedWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _state(folder: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One state folder for all: the servers of a kind outlive a test."""
    monkeypatch.setenv("LMCONF_STATE_DIR", str(folder))


@pytest.fixture(scope="module", params=KINDS)
def lm(request: pytest.FixtureRequest) -> Iterator[LM]:
    """One server for all tests of a kind: each takes half a minute to start."""
    server = launched(request.param)
    with LM("openai/acme/tiny", launch_kwargs=server, max_tokens=20, cache=False) as made:
        yield made


def session(lm: LM) -> list[int]:
    """Every process of the LM's server."""
    server = lm.server
    assert server is not None
    return of_session(server.pid)


def test_the_first_call_starts_it_and_it_answers(lm: LM) -> None:
    assert lm("Say this is a test!") == [SAID]
    server = lm.server
    assert server is not None
    assert server.status() == "running"
    assert server.logs()
    assert [record.pid for record in running_records()] == [server.pid]
    assert str(server.pid) not in json.dumps(lm.dump_state())


def test_it_streams(lm: LM) -> None:
    with lm.stream("Say this is a test!") as stream:
        pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == SAID
    assert stream.answer.text == SAID


def test_it_completes_text(lm: LM) -> None:
    text = lm.copy(model_type="text")
    assert text("Once upon a time")[0]


def test_it_answers_many_at_once(lm: LM) -> None:
    async def ask() -> list[object]:
        return [*await asyncio.gather(*(lm.acall("Say this is a test!") for _ in range(8)))]

    assert asyncio.run(ask()) == [[SAID]] * 8


def test_its_port_is_taken_for_another(lm: LM) -> None:
    port = int(lm.launch().url.rpartition(":")[2])
    other = lm.copy(launch_kwargs={"port": port})
    with pytest.raises(LaunchError, match=rf"port {port} on 127\.0\.0\.1 is taken by the server"):
        other.launch()
    assert lm("Say this is a test!") == [SAID]


def test_a_server_that_was_killed_leaves_no_worker_and_the_next_call_starts_another(
    lm: LM,
) -> None:
    first = lm.launch()
    before = session(lm)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not of_session(first.pid), within=10.0)
    assert lm("Say this is a test!") == [SAID]
    assert not set(session(lm)) & set(before)


def test_killing_it_ends_all_its_processes(lm: LM) -> None:
    server = lm.launch()
    assert session(lm)
    lm.kill()
    assert of_session(server.pid) == []
    assert lm.server is None
    assert running_records() == []


OWNER = """
import json, sys
sys.path.insert(0, {root!r})
from lmconf.runtime import LM
lm = LM("openai/acme/tiny", launch_kwargs=json.loads(sys.argv[1]), max_tokens=20, cache=False)
print("begun", flush=True)
print(lm("Say this is a test!"), lm.server.pid, flush=True)
input()
"""


@pytest.mark.parametrize("cycle", range(KILLS))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_it_is_left_when_its_owner_is_killed(kind: str, cycle: int) -> None:
    """Every other owner is killed while the model loads."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(root=ROOT.as_posix()), json.dumps(launched(kind))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "begun\n"
    if cycle % 2:
        until(lambda: bool(running_records() and running_records()[0].pid))
        pid = running_records()[0].pid
        time.sleep(random.Random(cycle).uniform(0.0, 15.0))
    else:
        said, _, told = owner.stdout.readline().strip().rpartition(" ")
        assert said == str([SAID])
        pid = int(told)
    assert of_session(pid)
    owner.kill()
    owner.communicate()
    until(lambda: not of_session(pid), within=2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_tells_why_it_cannot_serve(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    lm = LM("openai/acme/tiny", launch_kwargs=launched(kind, weights=str(tmp_path)))
    with pytest.raises(LaunchError, match=r"before it was ready: \S") as raised:
        lm.launch()
    assert "signal 9 is what the system sends" not in str(raised.value)
    assert running_records() == []


def test_vllm_serves_adapters_to_those_who_know_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", "blue-moon-4711")
    server = launched(
        "vllm",
        adapters={"polite": str(adapter(tmp_path / "polite"))},
        args={"api-key": {"$env": "SERVER_KEY"}},
    )
    with LM(
        "openai/polite",
        launch_kwargs=server,
        api_key={"$env": "SERVER_KEY"},
        max_tokens=20,
        cache=False,
    ) as lm:
        assert lm("Say this is a test!") != [SAID]
        running = lm.launch()
        base = LM(
            f"openai/{server['weights']}",
            api_base=running.api_base,
            api_key={"$env": "SERVER_KEY"},
            max_tokens=20,
            cache=False,
        )
        assert base("Say this is a test!") == [SAID]
        with pytest.raises(AuthenticationFailed):
            base.copy(api_key="")("hi")
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, check=True)
        assert b"blue-moon" not in listed.stdout
        for file in running.log.parent.rglob("*"):
            assert not file.is_file() or b"blue-moon" not in file.read_bytes()
    assert not alive(running.pid)


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    server = launched("transformers") | {"use": "vllm", "args": {}}
    with pytest.raises(LaunchError, match="lacks the package vllm"):
        LM("openai/acme/tiny", launch_kwargs=server).launch()
    assert interpreter("transformers")
