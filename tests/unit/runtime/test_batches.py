"""`batch` and `abatch` ask many things side by side, lose nothing, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import io
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BatchFailed,
    CallError,
    Closed,
    NotSent,
    ProfileError,
    ServerError,
    UsageError,
)
from lmconf.runtime import LM, Answer
from tests.loopback import Loopback, Received, Reply, chat, serving

KEY = "sk-a-key-that-nobody-may-see-0123456789"


class Counting:
    """A script for a server: says the prompt back, and knows how many it answered at once."""

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.most = 0
        self.failing: dict[str, Reply] = {}
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> Reply:
        prompt = received.json["messages"][-1]["content"]
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.pause)
        with self._lock:
            self._now -= 1
        return self.failing.get(prompt) or Reply(json=chat(f"<{prompt}>"))


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer that others left is found."""
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()


@pytest.fixture
def script() -> Counting:
    return Counting()


@pytest.fixture
def server(script: Counting) -> Iterator[Loopback]:
    with serving() as made:
        made.script = script
        yield made


@pytest.fixture
def lm(server: Loopback) -> LM:
    return LM(
        "openai/tiny", api_base=server.v1, api_key=KEY, cache=False, num_retries=0, name="tiny"
    )


Batch = Callable[..., list[Any]]


@pytest.fixture(params=["batch", "abatch"])
def batch(request: pytest.FixtureRequest, lm: LM) -> Batch:
    """Either form, called from code without an event loop."""
    if request.param == "batch":
        return lm.batch
    return lambda *args, **kwargs: asyncio.run(lm.abatch(*args, **kwargs))


def refusal(status: int = 400) -> Reply:
    return Reply(status=status, json={"error": {"message": "refused", "type": "x", "code": None}})


def texts(found: list[Any]) -> list[Any]:
    return [each.text if isinstance(each, Answer) else type(each) for each in found]


def batch_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("lmconf-batch")]


def batch_tasks() -> list[str]:
    # LiteLLM has tasks of its own, which live as long as the event loop.
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("lmconf-batch")]


# What is asked and what comes back


def test_the_answers_stand_in_the_order_of_the_inputs(
    batch: Batch, script: Counting, server: Loopback
) -> None:
    server.script = lambda received: Reply(
        json=chat(text := received.json["messages"][-1]["content"]), pause=(9 - int(text)) * 0.01
    )
    assert texts(batch([str(number) for number in range(10)])) == [str(n) for n in range(10)]


def test_an_input_is_a_prompt_messages_or_a_mapping_with_settings_of_its_own(
    batch: Batch, server: Loopback
) -> None:
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "b"}]
    inputs = (
        each
        for each in (
            "a",
            said,
            {"prompt": "c", "temperature": 1.5},
            {"messages": said, "max_tokens": 9, "seed": None},
        )
    )
    found = batch(inputs, temperature=0.25, seed=4, max_concurrency=1)
    assert texts(found) == ["<a>", "<b>", "<c>", "<b>"]
    sent = [received.json for received in server.received]
    assert [body["messages"] for body in sent] == [
        [{"role": "user", "content": "a"}],
        said,
        [{"role": "user", "content": "c"}],
        said,
    ]
    assert [body["temperature"] for body in sent] == [0.25, 0.25, 1.5, 0.25]
    assert [body.get("seed") for body in sent] == [4, 4, 4, None]
    assert sent[3].get("max_completion_tokens", sent[3].get("max_tokens")) == 9


def test_no_inputs_have_no_answers(batch: Batch, server: Loopback) -> None:
    assert batch([]) == batch(iter(())) == []
    assert not server.received


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (3, r"inputs\[1\]: messages must be a list"),
        (["b"], r"inputs\[1\]: messages\[0\] must be a mapping, not str"),
        ([], r"inputs\[1\]: messages must hold at least one"),
        ({"role": "user", "content": "b"}, r"inputs\[1\]: messages must be in a list"),
        ({"temperature": 1}, r"inputs\[1\]: give a prompt"),
        ({"prompt": "b", "messages": [{"role": "user", "content": "b"}]}, "not both"),
        ({"prompt": "b", 3: 4}, r"inputs\[1\]: the name of a setting must be text, not int"),
        ({"prompt": "b", "temprature": 1}, r"inputs\[1\]: unknown key.*mean `temperature`"),
        ({"prompt": "b", "temperature": "hot"}, r"inputs\[1\]: "),
        ({"prompt": "b", "api_key": KEY}, r"inputs\[1\]: `api_key` belongs to the LM"),
    ],
)
def test_every_input_is_checked_before_anything_is_sent(
    batch: Batch, server: Loopback, wrong: object, told: str
) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        batch(["a", wrong, "c"])
    assert not server.received
    assert KEY not in str(caught.value)


def test_many_wrong_inputs_are_told_of_in_short(batch: Batch) -> None:
    with pytest.raises(UsageError, match=r"inputs\[0\].*inputs\[2\].*; and 97 more$"):
        batch([None] * 100)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"inputs": "one prompt"}, "not str"),
        ({"inputs": {"prompt": "a"}}, "not dict"),
        ({"inputs": 3}, "not int"),
        ({"max_concurrency": 0}, "1 or more, not 0"),
        ({"max_concurrency": True}, "not True"),
        ({"errors": "ignore"}, "'raise' or 'return', not 'ignore'"),
        ({"progress": "yes"}, "not str"),
        ({"model": "openai/other"}, "`model` belongs to the LM"),
    ],
)
def test_wrong_arguments_are_told(
    batch: Batch, server: Loopback, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        batch(**{"inputs": ["a"], **arguments})
    assert not server.received


def test_settings_of_all_that_do_not_fit_are_told_as_for_one_call(batch: Batch) -> None:
    with pytest.raises(ProfileError, match="did you mean `temperature`"):
        batch(["a"], temprature=1)


def test_a_closed_lm_takes_no_batch(batch: Batch, lm: LM) -> None:
    lm.close()
    with pytest.raises(Closed):
        batch(["a"])


# How many at once


@pytest.mark.parametrize("width", [1, 3, 100])
def test_never_more_are_in_flight_than_was_said(batch: Batch, script: Counting, width: int) -> None:
    script.pause = 0.02
    found = batch([str(number) for number in range(12)], max_concurrency=width)
    assert len(found) == 12
    assert script.most <= width
    assert script.most > 1 or width == 1


async def test_no_more_tasks_exist_than_may_be_in_flight(lm: LM, script: Counting) -> None:
    script.pause = 0.002
    most = 0

    def count(done: int, total: int) -> None:
        nonlocal most
        most = max(most, len(batch_tasks()))

    await lm.abatch(map(str, range(200)), max_concurrency=4, progress=count)
    assert 1 < most <= 4
    assert batch_tasks() == []


def test_two_thousand_items_from_the_cache_leave_no_thread_and_no_task(
    server: Loopback, batch: Batch, lm: LM
) -> None:
    prompts = [str(number % 20) for number in range(2_000)]
    batch(prompts[:20], cache=True)
    assert len(server.received) == 20
    threads = threading.active_count()
    found = batch(prompts, cache=True, max_concurrency=8)
    assert texts(found) == [f"<{prompt}>" for prompt in prompts]
    assert all(answer.cache_hit for answer in found)
    assert len(server.received) == 20
    assert threading.active_count() <= threads
    assert batch_threads() == []


# Errors


def test_an_item_that_fails_loses_none_of_the_others(batch: Batch, script: Counting) -> None:
    script.failing = {"1": refusal(), "3": refusal(500)}
    with pytest.raises(BatchFailed) as caught:
        batch(["0", "1", "2", "3"])
    failed = caught.value
    assert isinstance(failed, CallError)
    assert texts(failed.results) == ["<0>", BadRequest, "<2>", ServerError]
    assert failed.errors == {1: failed.results[1], 3: failed.results[3]}
    assert failed.lm == "tiny"
    assert failed.retryable
    first, _, second = str(failed).partition("\n")[0].partition("; item 3: ServerError: ")
    assert first.startswith("tiny: 2 of 4 items failed: item 1: BadRequest: ")
    assert second
    again = pickle.loads(pickle.dumps(failed))
    assert (str(again), texts(again.results)) == (str(failed), texts(failed.results))


def test_the_message_about_many_failures_is_short(batch: Batch, server: Loopback) -> None:
    server.script = lambda _: refusal()
    with pytest.raises(BatchFailed, match=r"^tiny: 50 of 50 items failed: .*; and 47 more") as it:
        batch([str(number) for number in range(50)])
    assert len(str(it.value)) < 2_000
    assert not it.value.retryable


def test_errors_may_be_returned_in_their_places(batch: Batch, script: Counting) -> None:
    script.failing = {"1": refusal()}
    found = batch(["0", "1", "2"], errors="return")
    assert texts(found) == ["<0>", BadRequest, "<2>"]
    assert batch(["0"], errors="return")[0].text == "<0>"


def test_after_an_error_that_every_item_would_meet_no_more_are_sent(
    batch: Batch, server: Loopback, script: Counting
) -> None:
    script.failing = {"2": refusal(401)}
    found = batch([str(number) for number in range(50)], max_concurrency=2, errors="return")
    assert len(server.received) <= 25
    assert isinstance(found[2], AuthenticationFailed)
    assert texts(found[:2]) == ["<0>", "<1>"]
    skipped = [each for each in found if isinstance(each, NotSent)]
    assert len(skipped) == 50 - len(server.received)
    assert "because item 2 failed: AuthenticationFailed" in str(skipped[0])
    with pytest.raises(BatchFailed, match=r"1 of 50 items failed and \d\d were not sent: item 2:"):
        batch([str(number) for number in range(50)], max_concurrency=2)


def test_an_lm_that_is_closed_meanwhile_ends_its_batch(batch: Batch, lm: LM) -> None:
    found = batch(
        [str(number) for number in range(50)],
        max_concurrency=2,
        errors="return",
        progress=lambda done, total: lm.close(),
    )
    assert any(isinstance(each, Answer) for each in found)
    assert sum(isinstance(each, NotSent) for each in found) >= 40
    assert any(isinstance(each, Closed) for each in found)


def test_a_mistake_in_code_stands_in_its_place_with_its_frames(
    lm: LM, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, aask = LM.ask, LM.aask

    def broken(self: LM, prompt: str, messages: Any, **settings: Any) -> Answer:
        if prompt == "1":
            raise ZeroDivisionError
        return ask(self, prompt, messages, **settings)

    async def abroken(self: LM, prompt: str, messages: Any, **settings: Any) -> Answer:
        if prompt == "1":
            raise ZeroDivisionError
        return await aask(self, prompt, messages, **settings)

    monkeypatch.setattr(LM, "ask", broken)
    monkeypatch.setattr(LM, "aask", abroken)
    found = batch(["0", "1", "2"], errors="return")
    assert texts(found) == ["<0>", ZeroDivisionError, "<2>"]
    assert "broken" in "".join(traceback.format_exception(found[1]))
    with pytest.raises(BatchFailed, match="item 1: ZeroDivisionError"):
        batch(["0", "1", "2"])


def test_an_error_keeps_nothing_alive_and_shows_no_key(batch: Batch, server: Loopback) -> None:
    server.script = lambda _: refusal()
    with pytest.raises(BatchFailed) as caught:
        batch(["0", {"prompt": "1", "temperature": 1.0}], errors="raise")
    for error in caught.value.errors.values():
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert KEY not in shown


# Progress


def test_progress_is_told_after_each_item_in_the_thread_of_the_caller(
    batch: Batch, script: Counting
) -> None:
    script.failing = {"1": refusal()}
    told: list[tuple[int, int, bool]] = []
    here = threading.current_thread()

    def tell(done: int, total: int) -> None:
        told.append((done, total, threading.current_thread() is here))

    batch(map(str, range(5)), errors="return", progress=tell)
    assert told == [(done, 5, True) for done in range(1, 6)]


def test_what_progress_raises_stops_the_batch(batch: Batch, server: Loopback) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        batch([str(number) for number in range(100)], max_concurrency=2, progress=stop)
    sent = len(server.received)
    assert sent < 20
    assert batch_threads() == []
    time.sleep(0.05)
    assert len(server.received) == sent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_nothing_elsewhere(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch(["a", "b"], progress=True)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    batch(["a", "b", "c"], progress=True)
    shown = terminal.getvalue()
    assert shown.startswith("\r1 of 3 (33%), ")
    assert "\r3 of 3 (100%), " in shown
    assert shown.count("\n") == 1
    assert shown.endswith("\x1b[K\n")


def test_a_terminal_that_goes_away_stops_no_batch(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    terminal.close()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert texts(batch(["a", "b"], progress=True)) == ["<a>", "<b>"]


# Context


def test_each_item_sees_the_context_of_the_caller_and_changes_it_for_itself_alone(
    server: Loopback, script: Counting
) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    class Watch:
        def on_start(self, event: Any) -> None:
            seen.append(variable.get())
            variable.set("changed by an item")

    lm = LM("openai/tiny", api_base=server.v1, api_key="", cache=False, callbacks=[Watch()])
    variable.set("the caller's")
    prompts = [str(number) for number in range(6)]
    with lmconf.context(disable_history=True):
        lm.batch(prompts, max_concurrency=2)
        asyncio.run(lm.abatch(prompts, max_concurrency=2))
    assert seen == ["the caller's"] * 12
    assert variable.get() == "the caller's"
    assert len(lm.history) == 0
    lm.batch(prompts)
    assert sorted(entry["prompt"] for entry in lm.history) == prompts


# Interrupts


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer that signals")
def test_an_interrupt_sends_nothing_more_and_waits_for_what_is_in_flight(
    lm: LM, server: Loopback, script: Counting
) -> None:
    script.pause = 0.2
    lm.ask("warm")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            lm.batch([str(number) for number in range(100)], max_concurrency=4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert batch_threads() == []
    sent = len(server.received) - 1
    assert 1 <= sent <= 4
    assert len(lm.history) == 1 + sent, "what was in flight has been answered and kept"


async def test_a_cancelled_batch_cancels_what_is_in_flight_and_leaves_no_task(
    lm: LM, server: Loopback, script: Counting
) -> None:
    await lm.aask("warm")
    script.pause = 5.0
    task = asyncio.create_task(lm.abatch(map(str, range(100)), max_concurrency=4))
    while len(server.received) < 5:  # noqa: ASYNC110 - the server runs in a thread
        await asyncio.sleep(0.01)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 2.0
    assert batch_tasks() == []
    assert len(server.received) == 5
    assert len(lm.history) == 1


async def test_a_batch_may_be_given_a_deadline(lm: LM, script: Counting) -> None:
    await lm.aask("warm")
    script.pause = 5.0
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(lm.abatch(["a", "b"]), 0.1)
    assert batch_tasks() == []


async def test_failures_of_cancelled_tasks_are_not_complained_of(
    lm: LM, script: Counting, server: Loopback
) -> None:
    troubles: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: troubles.append(told))
    server.script = lambda _: refusal()

    def stop(done: int, total: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await lm.abatch(map(str, range(50)), progress=stop)
    gc.collect()
    await asyncio.sleep(0)
    assert troubles == []


def test_a_batch_runs_in_any_thread(lm: LM) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(lm.batch(["a", "b"])))
    thread.start()
    thread.join()
    assert texts(found) == ["<a>", "<b>"]


def test_a_batch_counts_in_its_block_and_reads_answers_in_their_form(
    batch: Batch, server: Loopback
) -> None:
    server.script = lambda _: Reply(json=chat('{"total": 3}'))
    with lmconf.track_usage() as usage:
        found = batch(["a", "b", "c"], response_format={"type": "json_object"})
    assert [answer.parsed for answer in found] == [{"total": 3}] * 3
    assert usage.total.calls == 3
