"""While a server loads its model, everything else goes on, and whoever waits may stop waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmconf.errors import LaunchError, Timeout
from lmconf.launchers.records import ServerRecord, running_records
from lmconf.runtime import LM
from tests.standins.kinds import HERE, TINY, working
from tests.unit.launchers.scripted import until
from tests.watching import alive

pytestmark = pytest.mark.slow

LOADS = """
import os, pathlib, sys, time
gate, *command = sys.argv[1:]
while not pathlib.Path(gate).exists():
    time.sleep(0.02)
os.execv(command[0], command)
"""


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "gate"


@pytest.fixture
def lm(gate: Path, tmp_path: Path) -> Iterator[LM]:
    """Its server loads until `gate` is there."""
    words = "--host {host} --port {port} --name {model} --weights {weights}".split()
    serves = [sys.executable, str(HERE / "any_server.py"), *words]
    server = {
        "command": [sys.executable, "-c", LOADS, str(gate), *serves],
        "weights": str(TINY),
        "env": dict(working(tmp_path)["command"].env),
        "ready": {"interval": 0.02},
    }
    with LM("openai/acme/tiny", launch_kwargs=server, max_tokens=16, cache=False) as made:
        yield made


def loading() -> int:
    """The process id of the one server that loads."""
    until(lambda: any(each.pid for each in _loads()))
    (record,) = _loads()
    return record.pid


def _loads() -> list[ServerRecord]:
    return [record for record in running_records() if record.loads]


def test_an_event_loop_goes_on_while_a_server_loads(lm: LM, gate: Path) -> None:
    async def ask() -> None:
        calls = [asyncio.create_task(lm.acall("Say this is a test!")) for _ in range(40)]
        longest = 0.0
        for _ in range(50):
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)
            lm.copy(temperature=0.5).close()
        # Threads of the loop are free for others, too.
        await asyncio.wait_for(asyncio.to_thread(gate.touch), 5)
        assert set(map(tuple, await asyncio.gather(*calls))) == {("This is a test!",)}
        assert longest < 1.0

    asyncio.run(ask())


def test_a_call_waits_no_longer_than_its_deadline_and_the_server_goes_on(
    lm: LM, gate: Path
) -> None:
    hasty = lm.copy(deadline=0.5)
    begun = time.monotonic()
    with pytest.raises(Timeout, match=r"not ready within the call's deadline of 0\.5s"):
        hasty("hi")
    assert time.monotonic() - begun < 5.0
    pid = loading()
    gate.touch()
    server = lm.launch()
    assert server.pid == pid
    assert lm("Say this is a test!") == ["This is a test!"]


def test_a_task_that_is_cancelled_leaves_the_server_loading_for_others(lm: LM, gate: Path) -> None:
    async def ask() -> None:
        first = asyncio.create_task(lm.acall("hi"))
        second = asyncio.create_task(lm.acall("Say this is a test!"))
        await asyncio.sleep(0.3)
        first.cancel()
        await asyncio.to_thread(gate.touch)
        assert await second == ["This is a test!"]
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(ask())


@pytest.mark.parametrize("end", ["kill", "close"])
def test_ending_it_ends_a_server_that_loads_at_once(lm: LM, end: str) -> None:
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            lm("hi")
        except Exception as error:  # noqa: BLE001 - it is looked at below
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    pid = loading()
    begun = time.monotonic()
    getattr(lm, end)()
    assert time.monotonic() - begun < 5.0
    assert not alive(pid)
    thread.join()
    assert "was stopped before it was ready" in str(failures)


def test_an_interrupt_while_one_waits_leaves_nothing_behind(lm: LM) -> None:
    pids = []

    def interrupt() -> None:
        pids.append(loading())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    for wait in (lm.launch, lambda: lm("hi")):
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            wait()
        thread.join()
        until(lambda: not alive(pids[-1]))
        until(lambda: not running_records())


def test_everybody_who_waited_is_told_why_a_server_did_not_start(gate: Path) -> None:
    lm = LM(
        "openai/acme/tiny",
        launch_kwargs={"command": [sys.executable, "-c", "raise SystemExit(7)", "{port}"]},
        cache=False,
    )
    failures = []

    def ask() -> None:
        with pytest.raises(LaunchError, match="ended with status 7") as raised:
            lm("hi")
        failures.append(raised.value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in failures}) == 8
    assert time.monotonic() - begun < 10.0


def test_a_fork_does_not_wait_for_the_start_that_its_parent_has_begun(lm: LM, gate: Path) -> None:
    starting = threading.Thread(target=lm.launch)
    starting.start()
    loading()
    forked = os.fork()
    if not forked:
        gate.touch()
        os._exit(lm("Say this is a test!") != ["This is a test!"])
    _, code = os.waitpid(forked, 0)
    starting.join()
    assert code == 0
    assert lm("Say this is a test!") == ["This is a test!"]


def test_a_server_that_was_killed_is_started_again_by_the_next_call(lm: LM, gate: Path) -> None:
    gate.touch()
    first = lm.launch()
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: first.status() == "died")
    assert lm("Say this is a test!") == ["This is a test!"]
    assert lm.server is not first


def test_a_second_launch_with_other_arguments_is_told(lm: LM, gate: Path) -> None:
    waiting = threading.Thread(target=lm.launch)
    waiting.start()
    loading()
    with pytest.raises(LaunchError, match=r"other arguments: call kill\(\) first"):
        lm.launch({"stop_grace": 1.0})
    gate.touch()
    waiting.join()
    with pytest.raises(LaunchError, match=r"other arguments: call kill\(\) first"):
        lm.launch({"stop_grace": 1.0})


def test_a_start_that_fails_at_once_is_over_and_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []

    class Failing:
        def start(self, *_: object) -> None:
            tries.append(1)
            raise LaunchError("not today")

    monkeypatch.setattr("lmconf.runtime.server.launcher", lambda _: Failing())
    lm = LM("openai/any", launch_kwargs={"use": "llama_cpp"})
    for _ in range(200):
        with pytest.raises(LaunchError, match="not today"):
            lm.launch()
    assert len(tries) == 200
