"""What a slow, hanging, failing or async callback does to calls: nothing."""

from __future__ import annotations

import asyncio
import atexit  # noqa: F401 - for the programs below
import contextvars
import functools
import gc
import os
import threading
import time
from pathlib import Path

import pytest

from lmconf.callbacks import CallbackWarning, Dispatcher, End, Start
from lmconf.callbacks.delivery import MOST_WAITING, PATIENCE
from tests import watching
from tests.programs import run

until = functools.partial(watching.until, within=5, look=0.001)

ROOT = Path(__file__).parents[3]
START = Start(call_id="1", lm="gpt", model="m", time=0.0, request={})
END = End(
    call_id="1",
    lm="gpt",
    model="m",
    time=1.0,
    duration=1.0,
    cache_hit=True,
    attempts=0,
    usage=None,
    cost=None,
    response="hi",
    request={},
)
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


class Hanging:
    def __init__(self) -> None:
        self.free = threading.Event()
        self.heard = 0

    def on_start(self, event: Start) -> None:
        self.free.wait(10)
        self.heard += 1

    on_end = on_start


def call(dispatcher: Dispatcher) -> float:
    """Tell of a call; return how long that took."""
    begun = time.perf_counter()
    dispatcher.start(START)
    dispatcher.tell(END)
    return time.perf_counter() - begun


def test_a_callback_that_hangs_holds_up_three_calls_a_moment_and_then_none() -> None:
    hanging = Hanging()
    dispatcher = Dispatcher([hanging])
    assert all(call(dispatcher) < 5 * PATIENCE for _ in range(3))
    assert sum(call(dispatcher) for _ in range(20)) < PATIENCE
    hanging.free.set()
    until(lambda: hanging.heard == 46)


def test_of_too_many_events_the_oldest_are_dropped_with_one_warning() -> None:
    hanging = Hanging()
    dispatcher = Dispatcher([hanging])
    dispatcher.start(START)
    with pytest.warns(CallbackWarning, match="Hanging is too slow") as said:
        for _ in range(2 * MOST_WAITING):
            dispatcher.tell(START)
        dispatcher.tell(START)
    assert len(said) == 1
    hanging.free.set()
    dispatcher.close()
    assert MOST_WAITING <= hanging.heard <= MOST_WAITING + 2


def test_one_that_hangs_does_not_hold_up_the_others() -> None:
    class Quick:
        heard = 0

        def on_end(self, event: End) -> None:
            self.heard += 1

    hanging, quick = Hanging(), Quick()
    dispatcher = Dispatcher([hanging, quick])
    call(dispatcher)
    until(lambda: quick.heard == 1)
    hanging.free.set()


class Async:
    def __init__(self) -> None:
        self.notes: list[object] = []
        self.loops: set[int] = set()

    async def on_start(self, event: Start) -> None:
        await asyncio.sleep(0.001)
        self.loops.add(id(asyncio.get_running_loop()))
        self.notes.append("start")

    async def on_end(self, event: End) -> None:
        self.notes.append(WHO.get())

    async def close(self) -> None:
        self.notes.append("close")


def test_async_methods_run_in_their_order_on_a_loop_of_their_own() -> None:
    """From plain calls and from an event loop; they see the context of the call."""
    callback = Async()
    dispatcher = Dispatcher([callback])
    WHO.set("plain")
    call(dispatcher)

    async def ask() -> int:
        WHO.set("task")
        call(dispatcher)
        return id(asyncio.get_running_loop())

    loop = asyncio.run(ask())
    dispatcher.close()
    assert callback.notes == ["start", "plain", "start", "task", "close"]
    assert len(callback.loops) == 1
    assert loop not in callback.loops
    WHO.set("nobody")


def test_tasks_that_an_async_callback_starts_go_on_between_events() -> None:
    class Flushing(Async):
        flushed = 0
        task: asyncio.Task[None] | None = None

        async def on_start(self, event: Start) -> None:
            self.task = asyncio.create_task(self.go_on())

        async def go_on(self) -> None:
            while True:
                await asyncio.sleep(0.001)
                self.flushed += 1

    callback = Flushing()
    dispatcher = Dispatcher([callback])
    call(dispatcher)
    until(lambda: callback.flushed > 3)
    dispatcher.close()
    assert callback.task is not None
    until(callback.task.done)


class Gathers:
    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.flushed: list[str] = []

    def on_end(self, event: End) -> None:
        self.waiting.append(event.lm)

    def flush(self) -> None:
        self.flushed += self.waiting
        self.waiting = []


class GathersOnALoop(Gathers):
    async def flush(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0.001)
        super().flush()


@pytest.mark.parametrize("kind", [Gathers, GathersOnALoop])
@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_what_a_callback_gathers_is_flushed_when_nobody_tells_it_any_more(
    kind: type[Gathers], how: str
) -> None:
    callback = kind()
    dispatcher = Dispatcher([callback])
    call(dispatcher)
    assert callback.flushed == []
    if how == "closed":
        dispatcher.close()
        assert callback.flushed == ["gpt"]
    del dispatcher
    gc.collect()
    until(lambda: callback.flushed == ["gpt"])


@pytest.mark.filterwarnings("ignore::lmconf.callbacks.CallbackWarning")
def test_a_flush_that_hangs_ends_with_its_time() -> None:
    class Hangs(GathersOnALoop):
        leaving = 0.05

        async def flush(self) -> None:  # type: ignore[override]
            await asyncio.Event().wait()

    before = threading.active_count()
    dispatcher = Dispatcher([Hangs()])
    call(dispatcher)
    begun = time.monotonic()
    dispatcher.close()
    assert time.monotonic() - begun < 2
    until(lambda: threading.active_count() <= before)


def test_an_async_callback_that_raises_is_warned_of_once() -> None:
    class Failing:
        async def on_end(self, event: End) -> None:
            raise RuntimeError("sk-live-0123456789")

    dispatcher = Dispatcher([Failing()])
    with pytest.warns(CallbackWarning) as said:
        for _ in range(3):
            call(dispatcher)
        dispatcher.close()
    assert [str(warning.message) for warning in said] == [
        "callback Failing raised RuntimeError; calls continue"
    ]


@pytest.mark.parametrize("looping", [False, True])
def test_threads_end_with_the_dispatcher_that_needed_them(looping: bool) -> None:
    threads: list[threading.Thread] = []

    class Plain:
        def on_end(self, event: End) -> None:
            threads.append(threading.current_thread())

    class Looping:
        async def on_end(self, event: End) -> None:
            threads.append(threading.current_thread())

    dispatcher = Dispatcher([Looping() if looping else Plain()])
    call(dispatcher)
    until(lambda: bool(threads))
    assert threads[0].is_alive()
    del dispatcher
    gc.collect()
    until(lambda: not threads[0].is_alive())


def test_an_inline_callback_hears_in_the_thread_of_the_call() -> None:
    class Inline:
        inline = True
        thread = 0

        def on_start(self, event: Start) -> None:
            self.thread = threading.get_ident()

    callback = Inline()
    Dispatcher([callback]).start(START)
    assert callback.thread == threading.get_ident()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_tells_its_callbacks_too() -> None:
    class Counting:
        heard = 0

        def on_end(self, event: End) -> None:
            self.heard += 1

    callback = Counting()
    dispatcher = Dispatcher([callback])
    call(dispatcher)
    until(lambda: callback.heard == 1)
    child = os.fork()
    if not child:
        call(dispatcher)
        dispatcher.close()
        os._exit(callback.heard)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


AT_EXIT = """
import sys, time
from tests.unit.callbacks.test_delivery import *
class Slow:
    def on_end(self, event):
        time.sleep(0.3)
        print("heard", flush=True)
dispatcher = Dispatcher([Slow()])
for _ in range(2):
    call(dispatcher)
"""


def test_what_waits_is_heard_before_the_program_ends() -> None:
    done = run(AT_EXIT)
    assert (done.stdout, done.stderr) == ("heard\nheard\n", "")


HANGING = """
import atexit, sys, time
begun = []
atexit.register(lambda: print(time.monotonic() - begun[0]))  # runs last
from tests.unit.callbacks.test_delivery import *
class Hangs(GathersOnALoop):
    leaving = 1.0
    async def flush(self):
        await asyncio.sleep(60)
dispatchers = [Dispatcher([Hangs()]) for _ in range(4)]
class HangsInPlace(Gathers):
    leaving = 1.0
    def flush(self):
        time.sleep(60)
dispatchers += [Dispatcher([HangsInPlace()]) for _ in range(4)]
for dispatcher in dispatchers:
    call(dispatcher)
begun.append(time.monotonic())
"""


AGAIN = """
from tests.unit.callbacks.test_delivery import *
class Slow:
    def on_end(self, event):
        time.sleep(0.2)
        print("heard", flush=True)
dispatcher = Dispatcher([Slow()])
for _ in range(2):
    call(dispatcher)
    dispatcher.close()
call(dispatcher)
atexit.register(call, dispatcher)  # runs after the end of the main thread
"""


def test_the_end_of_the_program_waits_for_threads_that_begin_as_others_end() -> None:
    done = run(AGAIN)
    assert (done.stdout, done.stderr) == ("heard\n" * 4, "")


class Interrupted(Exception):
    """What a signal handler raises."""


def interrupt_next_start(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Have a signal handler raise before or after the next thread is started."""
    start = threading.Thread.start
    left = ["one"]

    def started(thread: threading.Thread) -> None:
        interrupts = bool(left) and bool(left.pop())
        if not interrupts or when == "after":
            start(thread)
        if interrupts:
            raise Interrupted

    monkeypatch.setattr(threading.Thread, "start", started)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", [Gathers, GathersOnALoop])
def test_a_thread_whose_start_was_interrupted_is_started_by_the_next_call(
    kind: type[Gathers], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    callback = kind()
    dispatcher = Dispatcher([callback])
    dispatcher.open()
    interrupt_next_start(monkeypatch, when)
    with pytest.raises(Interrupted):
        dispatcher.tell(END)
    dispatcher.tell(END)
    dispatcher.close()
    assert callback.flushed == ["gpt", "gpt"]
    until(lambda: threading.active_count() <= before)


INTERRUPTED = """
from tests.unit.callbacks.test_delivery import *
class Hears:
    def on_end(self, event):
        print("heard", flush=True)
dispatcher = Dispatcher([Hears()])
dispatcher.open()
patch = pytest.MonkeyPatch()
interrupt_next_start(patch, "before")
try:
    dispatcher.tell(END)
except Interrupted:
    patch.undo()
"""


def test_what_waits_for_a_thread_whose_start_was_interrupted_is_heard_at_the_end() -> None:
    done = run(INTERRUPTED)
    assert (done.stdout, done.stderr) == ("heard\n", "")


def test_flushes_that_hang_hold_up_the_end_of_a_program_once_for_all_of_them() -> None:
    done = run(HANGING)
    assert done.stderr == ""
    assert 0.9 < float(done.stdout) < 5.0  # one after the other would take eight seconds


LEFT_RUNNING = """
from tests.unit.callbacks.test_delivery import *
class Closes:
    async def on_end(self, event: End) -> None:
        self.task = asyncio.create_task(self.serve())
        await asyncio.sleep(0)
    async def serve(self) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            asyncio.create_task(self.close_connections())
    async def close_connections(self) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)  # the program must not end under it
            print("closed", flush=True)
dispatcher = Dispatcher([Closes()])
call(dispatcher)
"""


def test_the_end_of_the_program_waits_for_tasks_that_end() -> None:
    """And for those that they begin as they end."""
    done = run(LEFT_RUNNING)
    assert (done.stdout, done.stderr) == ("closed\n", "")
