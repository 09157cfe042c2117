"""Limits over a real socket: how many requests are in flight, and that no permit is ever lost."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lmconf import LM, RateLimited, Timeout
from lmconf.callbacks import LimitWait
from lmconf.limits import Gate
from tests.loopback import Loopback, Received, Reply, chat, chat_chunks, serving, sse
from tests.watching import until

pytestmark = pytest.mark.filterwarnings("ignore::lmconf.TruncatedWarning")


class Counting:
    """Answers, and counts the requests that are in flight."""

    def __init__(self, pause: float = 0.0) -> None:
        self.lock = threading.Lock()
        self.pause = pause
        self.now = self.most = self.answered = 0

    def __call__(self, received: Received) -> Reply:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.pause)
        with self.lock:
            self.now -= 1
            self.answered += 1
        return Reply(json=chat())


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


def lm_at(server: Loopback, **settings: Any) -> LM:
    given: dict[str, Any] = {
        "api_base": server.v1,
        "api_key": "sk-limits-0123456789abcdef",
        "cache": False,
        "retry": {"initial": 0.01, "max": 0.01},
    }
    return LM("openai/tiny", **given | settings)


def gate_of(lm: LM) -> Gate:
    parts = lm._parts()
    assert parts.gating is not None
    return parts.gating.share_of(lm.spec).gate


def test_tasks_and_threads_share_a_gate_of_seven_and_all_are_answered(server: Loopback) -> None:
    server.script = counting = Counting(0.002)
    lm = lm_at(server, limits={"max_concurrency": 7})
    answers: list[list[Any]] = []

    def in_thread() -> None:
        answers.append(lm("hi"))

    async def in_tasks() -> None:
        answers.extend(await asyncio.gather(*(lm.acall("hi") for _ in range(500))))

    threads = [threading.Thread(target=in_thread) for _ in range(50)]
    for thread in threads:
        thread.start()
    asyncio.run(in_tasks())
    for thread in threads:
        thread.join(60)
    assert len(answers) == 550
    assert counting.answered == 550
    assert 5 <= counting.most <= 7
    assert gate_of(lm).in_flight == 0


def test_lms_of_one_origin_and_key_share_a_gate_and_others_do_not(server: Loopback) -> None:
    one = lm_at(server, limits={"max_concurrency": 2})
    same = lm_at(server, limits={"max_concurrency": 5}, temperature=0.5)
    other = lm_at(server, limits={"max_concurrency": 2}, api_key="sk-other-0123456789abcdef")
    assert gate_of(one) is gate_of(same)
    assert gate_of(one) is not gate_of(other)
    assert gate_of(same).most == 2
    assert "sk-limits" not in repr(vars(gate_of(one)))


def test_a_rotated_key_passes_another_gate(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMITS_KEY", "sk-first-0123456789abcdef")
    lm = lm_at(server, limits={"rpm": 1}, api_key={"$env": "LIMITS_KEY"}, deadline=0.2)
    lm("hi")
    with pytest.raises(Timeout):
        lm("hi")
    monkeypatch.setenv("LIMITS_KEY", "sk-second-0123456789abcdef")
    lm("hi")


def test_waiting_ends_with_the_deadline_and_says_what_it_waited_for(server: Loopback) -> None:
    lm = lm_at(server, limits={"rpm": 2}, deadline=0.3)
    lm("hi")
    lm("hi")
    started = time.monotonic()
    with pytest.raises(Timeout, match=r"its turn under `limits\.rpm`") as caught:
        lm("hi")
    assert 0.25 <= time.monotonic() - started < 2
    assert (caught.value.attempts, caught.value.setting) == (0, "deadline")
    assert not caught.value.retryable
    assert "raise `limits` or `deadline`" in str(caught.value)
    assert len(server.received) == 2
    assert gate_of(lm).in_flight == 0


def test_no_permit_is_held_while_a_call_waits_to_try_again(server: Loopback) -> None:
    server.answers(Reply(status=500, json={"error": {"message": "no"}}), chat())
    lm = lm_at(
        server,
        limits={"max_concurrency": 1},
        retry={"initial": 1.0, "max": 1.0, "jitter": "none"},
    )
    first = threading.Thread(target=lm, args=("hi",))
    first.start()
    until(lambda: server.received and not gate_of(lm).in_flight, look=0.005)
    lm("ho")
    first.join(20)
    assert [each.json["messages"][0]["content"] for each in server.received] == ["hi", "ho", "hi"]


def test_a_storm_of_cancelled_tasks_loses_no_permit(server: Loopback) -> None:
    server.script = Counting(0.05)
    lm = lm_at(server, limits={"max_concurrency": 3})

    async def storm() -> None:
        for round_ in range(4):
            tasks = [asyncio.create_task(lm.acall("hi")) for _ in range(30)]
            await asyncio.sleep(0.02 * round_)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert gate_of(lm).in_flight == 0
        await asyncio.gather(*(lm.acall("hi") for _ in range(6)))

    asyncio.run(storm())
    assert repr(gate_of(lm)) == "<Gate 0 in flight, 0 waiting>"


def test_a_call_cancelled_by_a_timeout_of_the_loop_leaves_the_line(server: Loopback) -> None:
    lm = lm_at(server, limits={"rpm": 1})

    async def main() -> None:
        await lm.acall("hi")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(lm.acall("hi"), 0.05)

    asyncio.run(main())
    assert repr(gate_of(lm)) == "<Gate 0 in flight, 0 waiting>"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="threads get no signals here")
def test_a_thread_that_is_interrupted_leaves_the_line(server: Loopback) -> None:
    lm = lm_at(server, limits={"max_concurrency": 1})
    held = gate_of(lm).permit(0)
    main = threading.main_thread().ident
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(main or 0, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        lm("hi")
    timer.join()
    assert repr(gate_of(lm)) == "<Gate 1 in flight, 0 waiting>"
    held.end()
    lm("hi")


def test_a_stream_holds_its_permit_until_it_has_ended(server: Loopback) -> None:
    server.answers(Reply(pieces=sse(*chat_chunks("a ", "b ", "c "))))
    lm = lm_at(server, limits={"max_concurrency": 1}, deadline=5)
    with lm.stream("hi") as stream:
        assert next(stream) == "a "
        assert gate_of(lm).in_flight == 1
        assert list(stream) == ["b ", "c "]
        assert gate_of(lm).in_flight == 0


@pytest.mark.parametrize("how", ["closed", "dropped", "broken"])
def test_a_stream_that_is_not_read_to_its_end_gives_its_permit_back(
    server: Loopback, how: str
) -> None:
    chunks = chat_chunks("a ", "b ", "c ", finish=None if how == "broken" else "stop")
    server.answers(Reply(pieces=sse(*chunks, done=False)))
    lm = lm_at(server, limits={"max_concurrency": 1}, deadline=5)
    stream = lm.stream("hi")
    assert next(stream) == "a "
    assert gate_of(lm).in_flight == 1
    if how == "closed":
        stream.close()
    elif how == "dropped":
        del stream
    else:
        with pytest.raises(Exception, match="stream"):
            list(stream)
    assert gate_of(lm).in_flight == 0


@pytest.mark.parametrize("how", ["closed", "dropped", "cancelled"])
def test_an_asynchronous_stream_gives_its_permit_back_as_well(server: Loopback, how: str) -> None:
    server.answers(Reply(pieces=sse(*chat_chunks("a ", "b ", "c ")), gap=0.05))
    lm = lm_at(server, limits={"max_concurrency": 1}, deadline=5)

    async def read(begun: asyncio.Event) -> None:
        async for _ in lm.astream("hi"):
            begun.set()
            await asyncio.sleep(10)

    async def main() -> None:
        if how == "cancelled":
            begun = asyncio.Event()
            task = asyncio.create_task(read(begun))
            await begun.wait()
            assert gate_of(lm).in_flight == 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del task
        else:
            stream = lm.astream("hi")
            assert await anext(stream) == "a "
            if how == "closed":
                await stream.aclose()
            del stream
        assert gate_of(lm).in_flight == 0

    asyncio.run(main())


def test_an_adaptive_gate_falls_with_a_refusal_and_tries_on(server: Loopback) -> None:
    refusal = Reply(status=429, json={"error": {"message": "slow down"}})
    server.answers(refusal, refusal, chat())
    lm = lm_at(server, limits={"max_concurrency": "adaptive"})
    assert lm("hi") == ["Hello."]
    assert gate_of(lm).most == 16
    server.answers(refusal)
    with pytest.raises(RateLimited):
        lm("hi", num_retries=3)
    assert gate_of(lm).most == 16


def test_what_a_call_really_used_counts_in_the_place_of_what_it_might(server: Loopback) -> None:
    lm = lm_at(server, limits={"tpm": 1100}, max_tokens=1000, deadline=0.3)
    for _ in range(5):  # 7 tokens each
        lm("hi")
    server.answers({**chat(), "usage": {"prompt_tokens": 500, "completion_tokens": 500}})
    lm("hi")
    with pytest.raises(Timeout, match=r"limits\.tpm"):
        lm("hi")


def test_a_batch_keeps_to_the_limits(server: Loopback) -> None:
    server.script = counting = Counting(0.005)
    lm = lm_at(server, limits={"max_concurrency": 3})
    assert len(lm.batch(["hi"] * 30)) == 30
    assert counting.most <= 3


def test_a_call_answered_by_a_store_passes_no_gate(server: Loopback) -> None:
    lm = lm_at(server, limits={"rpm": 1}, cache={"store": {"backend": "memory"}}, deadline=0.5)
    for _ in range(5):
        lm("kept by limits")
    assert len(server.received) == 1


def test_callbacks_hear_of_the_waiting(server: Loopback) -> None:
    heard: list[LimitWait] = []

    class Hears:
        def on_limit_wait(self, event: LimitWait) -> None:
            heard.append(event)

    server.script = lambda received: (
        Reply(pieces=sse(*chat_chunks("a ", "b ")))
        if received.json.get("stream")
        else Reply(json=chat())
    )
    lm = lm_at(server, limits={"max_concurrency": 1}, callbacks=[Hears()])
    with lm.stream("hi") as stream:
        next(stream)
        thread = threading.Thread(target=lm, args=("ho",))
        thread.start()
        time.sleep(0.1)
    thread.join(5)
    lm.close()
    (event,) = heard
    assert event.limit == "max_concurrency"
    assert 0.05 < event.seconds < 5


def test_an_lm_without_limits_has_no_gate(server: Loopback) -> None:
    lm = lm_at(server)
    lm("hi")
    assert lm._parts().gating is None
