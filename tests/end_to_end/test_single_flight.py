"""Identical requests in flight are sent once, whoever asks: threads, tasks, loops and processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmconf.caches import StoredHit, live_store
from lmconf.caches.disk import DiskCache
from lmconf.caches.memory import MemoryCache
from lmconf.caches.process_locks import CLAIMS, ProcessLocks
from lmconf.caches.specs import MemoryStore
from lmconf.caches.write_behind import WriteBehindStore
from lmconf.errors import ServerError, Timeout
from lmconf.runtime import LM
from tests.loopback import USAGE, Loopback, Reply, chat, chat_chunks, serving, sse

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own for what is kept on disk."""
    folder = tmp_path / "kept"
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(folder))
    live_store(MemoryStore()).clear()
    return folder


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(Reply(json=chat(), pause=0.3)) as made:
        yield made


def lm_at(server: Loopback, **settings: Any) -> LM:
    return LM("openai/tiny", **{"api_base": server.v1, "api_key": "", "num_retries": 0, **settings})


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns, or the exception that it raises, in as many threads as there are."""
    together = threading.Barrier(count)

    def run(number: int) -> Any:
        together.wait()
        try:
            return work(number)
        except Exception as error:  # noqa: BLE001 - what it raises is what is asked for
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


@pytest.mark.parametrize("cache", [True, {"store": {"backend": "memory"}}], ids=["disk", "memory"])
def test_threads_that_ask_the_same_share_one_answer_and_one_bill(
    server: Loopback, cache: Any
) -> None:
    lm = lm_at(server, cache=cache)
    answers = at_once(32, lambda _: lm.ask("hi"))
    assert [answer.text for answer in answers] == ["Hello."] * 32
    assert len(server.received) == 1
    assert sorted(answer.cache_hit for answer in answers) == [False] + [True] * 31
    assert lm.usage.total_tokens == USAGE["total_tokens"]
    assert len({id(answer.response) for answer in answers}) == 32


def test_different_requests_are_sent_side_by_side(server: Loopback) -> None:
    lm = lm_at(server)
    begun = time.monotonic()
    at_once(8, lambda number: lm(f"hi {number}"))
    assert len(server.received) == 8
    assert time.monotonic() - begun < 8 * 0.3


def test_a_call_needs_nothing_of_what_another_thread_is_still_loading(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncio", ModuleType("asyncio"))
    assert lm_at(server)("hi") == ["Hello."]


def test_tasks_of_several_event_loops_and_threads_share_one_answer(server: Loopback) -> None:
    lms = [lm_at(server), lm_at(server)]

    async def many() -> list[list[Any]]:
        calls = (lms[number % 2].acall("hi") for number in range(60))
        return list(await asyncio.gather(*calls))

    found = at_once(20, lambda number: asyncio.run(many()) if number < 3 else lms[0]("hi"))
    assert [texts for texts in found if isinstance(texts, Exception)] == []
    assert len(server.received) == 1


def test_what_waits_for_a_stream_gets_the_whole(server: Loopback) -> None:
    pieces = sse(*chat_chunks("Hel", "lo."))
    server.answers(Reply(pieces=pieces, headers={"content-type": "text/event-stream"}, gap=0.1))
    lm = lm_at(server)
    streams = [lm.stream("hi") for _ in range(4)]

    def read_or_ask(number: int) -> list[str]:
        time.sleep(0.1 if number else 0)
        return list(streams[number]) if number < 4 else lm("hi")

    read = at_once(8, read_or_ask)
    assert len(server.received) == 1
    assert all("".join(pieces) == "Hello." for pieces in read), read
    assert sum(len(pieces) > 1 for pieces in read) == 1  # the others came as one piece
    for stream in streams:
        stream.close()


def test_a_stream_that_is_given_up_lets_another_send(server: Loopback) -> None:
    pieces = sse(*chat_chunks("Hel", "lo."))
    server.answers(Reply(pieces=pieces, headers={"content-type": "text/event-stream"}), chat())
    lm = lm_at(server)
    with ThreadPoolExecutor(1) as other:
        with lm.stream("hi") as stream:
            next(stream)
            waiting = other.submit(lm, "hi")
            time.sleep(0.1)
            assert not waiting.done()
        assert waiting.result(10) == ["Hello."]
    assert len(server.received) == 2


def test_a_thread_never_waits_for_a_stream_of_its_own(server: Loopback) -> None:
    pieces = sse(*chat_chunks("Hel", "lo."))
    server.answers(Reply(pieces=pieces, headers={"content-type": "text/event-stream"}), chat())
    lm = lm_at(server, deadline=20)
    with lm.stream("hi") as stream:
        next(stream)
        assert lm("hi") == ["Hello."]
    assert len(server.received) == 2


def test_when_the_sender_fails_one_of_the_others_sends(server: Loopback) -> None:
    server.answers(Reply(500, json={}, pause=0.3), Reply(json=chat(), pause=0.1))
    lm = lm_at(server)
    found = at_once(12, lambda _: lm("hi"))
    assert sum(isinstance(each, ServerError) for each in found) == 1
    assert found.count(["Hello."]) == 11
    assert len(server.received) == 2


@pytest.mark.filterwarnings("ignore::lmconf.runtime.answer.TruncatedWarning")
def test_an_answer_that_may_not_be_kept_is_not_shared_and_nobody_queues_for_it(
    server: Loopback,
) -> None:
    server.answers(Reply(json=chat("Hel", finish_reason="length"), pause=0.3))
    lm = lm_at(server)
    begun = time.monotonic()
    at_once(10, lambda _: lm("hi"))
    assert len(server.received) == 10
    assert time.monotonic() - begun < 3 * 0.3 + 1


def test_what_may_be_kept_may_be_shared(server: Loopback) -> None:
    server.answers(Reply(json=chat("Hel", finish_reason="length"), pause=0.3))
    lm = lm_at(server, cache={"keep": ["truncated"]})
    with pytest.warns(UserWarning, match="truncated"):
        at_once(4, lambda _: lm("hi"))
    assert len(server.received) == 1


async def test_when_the_sender_is_cancelled_another_sends(server: Loopback) -> None:
    lm = lm_at(server)
    first = asyncio.create_task(lm.acall("hi"))
    await asyncio.sleep(0.1)
    others = [asyncio.create_task(lm.acall("hi")) for _ in range(5)]
    await asyncio.sleep(0.05)
    first.cancel()
    assert await asyncio.gather(*others) == [["Hello."]] * 5
    assert len(server.received) == 2


@pytest.mark.parametrize(
    "settings",
    [{"cache": False}, {"cache": {"mode": "refresh"}}, {"rollout_id": 1}],
    ids=["off", "refresh", "rollout"],
)
def test_what_asks_anew_on_purpose_is_sent_each_time(
    server: Loopback, settings: dict[str, Any]
) -> None:
    lm = lm_at(server)
    at_once(4, lambda _: lm("hi", **settings))
    assert len(server.received) == 4


def test_waiting_ends_with_the_deadline(server: Loopback) -> None:
    server.answers(Reply(json=chat(), pause=3))
    slow, quick = lm_at(server), lm_at(server, deadline=0.3)

    def work(number: int) -> Any:
        if not number:
            return slow("hi")
        time.sleep(0.2)
        begun = time.monotonic()
        with pytest.raises(Timeout, match="deadline"):
            quick("hi")
        return time.monotonic() - begun

    whole, waited = at_once(2, work)
    assert whole == ["Hello."]
    assert waited < 1
    assert len(server.received) == 1


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stores that were asked for an answer, each time."""
    asked: list[str] = []

    def count(store: type, find: Callable[[Any, str], StoredHit | None]) -> None:
        def counted(self: Any, key: str) -> StoredHit | None:
            asked.append(store.__name__)
            return find(self, key)

        monkeypatch.setattr(store, "find", counted)

    count(MemoryCache, MemoryCache.find)
    count(DiskCache, DiskCache.find)
    return asked


def test_a_miss_asks_each_store_once(server: Loopback, lookups: list[str]) -> None:
    server.answers(chat())
    lm = lm_at(server)
    for number in range(3):
        lookups.clear()
        lm(f"hi {number}")
        assert lookups == ["MemoryCache", "DiskCache"]
    lookups.clear()
    lm("hi 2")
    assert lookups == ["MemoryCache"]
    assert len(server.received) == 3


def after_a_miss(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Have `work` done once, when the stores have been asked and before the call goes on."""
    find = WriteBehindStore.find
    waiting = [work]

    def found_nothing(self: WriteBehindStore, key: str) -> StoredHit | None:
        found = find(self, key)
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(WriteBehindStore, "find", found_nothing)


def test_an_answer_that_another_thread_stored_just_now_is_found(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = lm_at(server)
    with ThreadPoolExecutor(1) as other:
        after_a_miss(monkeypatch, lambda: other.submit(lm, "hi").result(10))
        assert lm("hi") == ["Hello."]
    assert len(server.received) == 1


# --- processes ---


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such locks")
def test_an_answer_that_another_process_stored_just_now_is_found(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask() -> None:
        with process(HOLD, server.v1) as other:
            assert other.wait(60) == 0

    after_a_miss(monkeypatch, ask)
    assert lm_at(server)("hi") == ["Hello."]
    assert len(server.received) == 1


FORKED = """
import os, sys, threading, time
from lmconf.runtime import LM
lm = LM("openai/tiny", api_base=sys.argv[1], api_key="", num_retries=0)
begin = time.time() + 0.5
children = []
for _ in range(int(sys.argv[2])):
    pid = os.fork()
    if pid == 0:
        found = []
        threads = [threading.Thread(target=lambda: found.append(lm("hi"))) for _ in range(2)]
        time.sleep(max(0, begin - time.time()))
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        sys.exit(found != [["Hello."]] * 2)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
"""

HOLD = """
import sys
from lmconf.runtime import LM
LM("openai/tiny", api_base=sys.argv[1], api_key="", num_retries=0)("hi")
"""


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such locks")
def test_sixteen_calls_of_eight_processes_are_one_request(server: Loopback) -> None:
    with process(FORKED, server.v1, 8) as asking:
        out, _ = asking.communicate(timeout=60)
    assert out == f"{[0] * 8}\n"
    assert len(server.received) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such locks")
def test_when_the_sending_process_is_killed_another_sends(server: Loopback) -> None:
    server.answers(Reply(json=chat(), pause=5), chat())
    lm = lm_at(server)
    with process(HOLD, server.v1) as holder:
        end = time.monotonic() + 30
        while not server.received and time.monotonic() < end:
            time.sleep(0.01)
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(lm, "hi")
            time.sleep(0.2)
            assert not waiting.done()
            os.kill(holder.pid, signal.SIGKILL)
            killed = time.monotonic()
            assert waiting.result(4) == ["Hello."]
            assert time.monotonic() - killed < 2
    assert len(server.received) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such locks")
def test_claims_of_two_processes_exclude_each_other_and_end_with_the_process(
    tmp_path: Path,
) -> None:
    ours, theirs = (
        ProcessLocks(tmp_path),
        ProcessLocks(tmp_path),
    )  # two open files are as two processes
    key, other = "ab" * 32, "cd" * 32
    assert ours.take(key)
    assert not theirs.take(key)
    assert theirs.take(other)
    before = time.monotonic()
    assert theirs.answered_since(key, before) == (False, False)
    ours.let_go(key, unshared=True)
    assert theirs.answered_since(key, before) == (True, True)
    assert theirs.answered_since(key, time.monotonic() + 1) == (False, False)
    assert theirs.take(key)
    theirs.close()
    assert ours.take(key)
    assert (tmp_path / CLAIMS).stat().st_mode & 0o777 == 0o600


def test_where_nothing_can_be_locked_everybody_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    claims = ProcessLocks(tmp_path / "file")
    assert claims.take("ab" * 32)
    claims.let_go("ab" * 32)
    assert claims.answered_since("ab" * 32, 0.0) == (False, False)
