"""Sockets, files, threads and tasks are as many after many calls as they were before."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmconf.errors import CallError
from lmconf.runtime import LM
from tests.loopback import Reply, chat, chat_chunks, serving, sse

OPEN = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(not OPEN.exists(), reason="it reads /proc")

CHUNKS = sse(*chat_chunks("Hel", "lo."))


def held() -> tuple[int, int]:
    """How many files and sockets are open, and how many threads run."""
    return len(list(OPEN.iterdir())), threading.active_count()


def settles(before: tuple[int, int]) -> bool:
    """Say whether no more is held than `before`, within five seconds: the server has a say, too."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        files, threads = held()
        if files <= before[0] and threads <= before[1]:
            return True
        time.sleep(0.02)
    return False


def warm_up() -> None:
    """Have everything imported, and what a first call leaves for good."""
    with serving() as server:
        server.script = lambda received: (
            Reply(pieces=CHUNKS) if received.json.get("stream") else Reply(json=chat())
        )
        lm = lm_at(server.v1)
        lm("hi")
        list(lm.stream("hi"))
        asyncio.run(several(lm, 4))
        lm.close()


@pytest.fixture
def flat() -> Iterator[None]:
    """What is open and runs after a test is what was before it, without a collection."""
    gc.collect()
    before = (0, 0)
    while before != (before := held()):  # what other tests left may still be going
        time.sleep(0.3)
    gc.disable()
    try:
        yield
        assert settles(before)
    finally:
        gc.enable()


def lm_at(base: str, **settings: Any) -> LM:
    given: dict[str, Any] = {
        "api_key": "",
        "cache": False,
        "num_retries": 0,
        "timeout": 10,
        **settings,
    }
    return LM(MODEL[-1], api_base=base, **given)


MODEL = ["openai/tiny"]


@pytest.fixture(params=["openai/tiny", "deepinfra/tiny", "mistral/tiny"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes out directly, through litellm and an SDK, and through litellm alone."""
    monkeypatch.setattr(f"{__name__}.MODEL", [request.param])
    warm_up()


async def several(lm: LM, number: int, in_flight: int = 16) -> None:
    gate = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with gate:
            assert await lm.acall("hi") == ["Hello."]

    await asyncio.gather(*(one() for _ in range(number)))
    await asyncio.sleep(0.02)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_many_calls_in_turn(either: None, flat: None) -> None:
    with serving(chat()) as server:
        lm = lm_at(server.v1)
        lm("hi")
        before = held()
        for _ in range(200):
            lm("hi")
        assert settles(before)
        lm.close()
        assert settles((before[0] - 2, before[1] - 1))


def test_answers_from_the_cache_leave_nothing_to_the_collector() -> None:
    with serving(chat()) as server, lm_at(server.v1, cache={"store": {"backend": "memory"}}) as lm:
        lm("hi")
        gc.collect()
        gc.disable()
        try:
            for _ in range(300):
                lm("hi")
            assert gc.collect() < 300
        finally:
            gc.enable()


def test_many_calls_at_once(either: None, flat: None) -> None:
    with serving(chat()) as server:
        lm = lm_at(server.v1)
        asyncio.run(several(lm, 200))
        lm("hi")
        lm.close()


def test_many_calls_at_once_and_the_lm_closed_on_its_loop(either: None, flat: None) -> None:
    async def run() -> None:
        async with lm_at(server.v1) as lm:
            await several(lm, 40)
            many = held()[0]
        for _ in range(200):
            if held()[0] <= many - 2:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the connections are still open")

    with serving(chat()) as server:
        asyncio.run(run())


def test_streams_that_are_half_read(either: None, flat: None) -> None:
    async def aread(lm: LM) -> None:
        for _ in range(30):
            async with lm.astream("hi") as stream:
                assert await anext(stream) == "Hel"
            async for _ in lm.astream("hi"):
                break
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with serving(Reply(pieces=CHUNKS)) as server:
        lm = lm_at(server.v1)
        for _ in range(30):
            with lm.stream("hi") as stream:
                assert next(stream) == "Hel"
            assert next(lm.stream("hi")) == "Hel"
        asyncio.run(aread(lm))
        lm.close()


def reset() -> Reply:
    return Reply(drop=True)


def refusal() -> Reply:
    return Reply(status=500, json={"error": {"message": "down"}})


def silence() -> Reply:
    return Reply(json=chat(), pause=0.4)


def half() -> Reply:
    return Reply(json=chat(), cut=20)


@pytest.mark.parametrize("reply", [reset, refusal, silence, half])
def test_calls_that_fail(reply: Callable[[], Reply], either: None, flat: None) -> None:
    async def fail(lm: LM) -> None:
        results = await asyncio.gather(*(lm.acall("hi") for _ in range(16)), return_exceptions=True)
        assert all(isinstance(result, CallError) for result in results)
        del results
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with serving(reply()) as server:
        lm = lm_at(server.v1, timeout=0.1 if reply is silence else 10)
        for _ in range(8):
            with pytest.raises(CallError):
                lm("hi")
            with pytest.raises(CallError):
                list(lm.stream("hi"))
        asyncio.run(fail(lm))
        lm.close()


def test_copies_with_calls(either: None, flat: None) -> None:
    with serving(chat()) as server:
        lm = lm_at(server.v1)
        lm("hi")
        before = held()
        for number in range(50):
            lm.copy(temperature=number / 100)("hi")
            with lm.copy(temperature=number / 100) as copy:
                copy("hi")
            del copy
        assert settles(before)
        lm.close()


def test_lms_that_are_dropped_and_never_closed(either: None, flat: None) -> None:
    with serving(chat()) as server:
        for _ in range(20):
            lm_at(server.v1)("hi")
            asyncio.run(several(lm_at(server.v1), 2))
