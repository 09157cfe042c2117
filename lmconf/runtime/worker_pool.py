"""Many pieces of work side by side, never more than so many at once: in threads, or as tasks.

Each piece sees the context variables of the caller as they were when it called, and changes none
of them for the others. No thread or task is left when these functions return or raise; after an
interrupt, only a thread that nothing can wake up, and which sends no further request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lmconf.runtime.driver import abandon_calls_on
from lmconf.system.interrupts import is_interrupt, start_thread
from lmconf.system.signal import OneShotEvent
from lmconf.transports import Cancellation, use_cancellation

if TYPE_CHECKING:
    import asyncio

__all__ = ["run_in_tasks", "run_in_threads"]

R = TypeVar("R")

Ended: TypeAlias = Callable[[int, R | Exception], object]
"""Is told the number of each piece that has ended, and what came of it, in no order."""

GRACE = 0.5
"""For so many seconds after an interrupt, calls that are in flight may be answered; for as many
again, those that were cut off are awaited."""

Final: TypeAlias = tuple[type[Exception], ...]
"""The failures after which no further piece is begun; those that have begun go on to their end."""


def run_in_threads(
    work: Callable[[int], R], count: int, width: int, on_outcome: Ended[R], final: Final = ()
) -> None:
    """Call `work` with each number below `count`, in order, in at most `width` threads of its own.

    `on_outcome` is called in the thread of the caller. What it raises is raised once the pieces
    that have begun have ended. An interrupt of that thread is raised at once: calls in flight have
    `GRACE` to end, and are cut off then; a second interrupt ends the wait.
    """
    over, cut = OneShotEvent(), Cancellation()
    context = copy_context()
    context.run(abandon_calls_on, over)
    context.run(use_cancellation, cut)
    numbers, lock, stop = iter(range(count)), threading.Lock(), threading.Event()
    outcomes: SimpleQueue[tuple[int, R | BaseException] | None] = SimpleQueue()

    def next_number() -> int | None:
        with lock:
            return None if stop.is_set() else next(numbers, None)

    def work_on() -> None:
        while (number := next_number()) is not None:
            outcome: R | BaseException
            try:
                outcome = context.copy().run(work, number)
            except BaseException as error:  # noqa: BLE001 - the caller's thread decides
                outcome = error
                if isinstance(error, final):
                    stop.set()
            outcomes.put((number, outcome))
            del outcome
        outcomes.put(None)

    threads = [
        # A daemon: a second interrupt ends the program, whatever a thread still waits for.
        threading.Thread(target=work_on, name=f"lmconf-batch-{place}", daemon=True)
        for place in range(min(width, count))
    ]
    whole = False
    try:
        for thread in threads:
            start_thread(thread)
        for number, outcome in _await_threads(outcomes, len(threads)):
            if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
                raise outcome
            try:
                on_outcome(number, outcome)
            except Exception as error:
                whole = not is_interrupt(error)
                raise
        whole = True
    finally:
        stop.set()
        running = [thread for thread in threads if thread.ident is not None]
        try:
            _join(running, None if whole else GRACE)
        finally:
            over.give()
            cut.give()
            _join(running, GRACE)


def _join(threads: Iterable[threading.Thread], seconds: float | None) -> None:
    """Wait for `threads`, for `seconds` in all at most."""
    until = None if seconds is None else time.monotonic() + seconds
    for thread in threads:
        thread.join(None if until is None else max(until - time.monotonic(), 0.0))


def _await_threads(
    outcomes: SimpleQueue[tuple[int, R | BaseException] | None], threads: int
) -> Iterator[tuple[int, R | BaseException]]:
    while threads:
        item = outcomes.get()
        if item is None:
            threads -= 1
        else:
            yield item


async def run_in_tasks(
    work: Callable[[int], Coroutine[Any, Any, R]],
    count: int,
    width: int,
    on_outcome: Ended[R],
    final: Final = (),
) -> None:
    """Await `work` with each number below `count`, begun in order, in at most `width` tasks.

    When the caller is cancelled, or `on_outcome` raises, the tasks are cancelled, and it is raised
    once they have ended.
    """
    import asyncio  # only who runs an event loop needs it

    numbers, stop = iter(range(count)), False
    running: dict[asyncio.Task[R], int] = {}
    done_tasks: asyncio.Queue[asyncio.Task[R]] = asyncio.Queue()

    def begin() -> bool:
        number = next(numbers, None)
        if number is None:
            return False
        # A task copies the context of whoever makes it.
        task = asyncio.create_task(work(number), name=f"lmconf-batch-{number}")
        running[task] = number
        task.add_done_callback(done_tasks.put_nowait)
        return True

    try:
        while len(running) < width and begin():
            pass
        while running:
            task = await done_tasks.get()
            number = running.pop(task)
            error = task.exception()  # which raises if the task was cancelled
            if error is None:
                on_outcome(number, task.result())
            elif isinstance(error, Exception) and not is_interrupt(error):
                stop = stop or isinstance(error, final)
                on_outcome(number, error)
            else:
                raise error
            if not stop:
                begin()
    finally:
        await _cancel(running)


async def _cancel(tasks: Collection[asyncio.Task[R]]) -> None:
    """Cancel `tasks` and wait for them, whatever comes meanwhile: the caller is raising already."""
    import asyncio

    for task in tasks:
        task.cancel()
    while left := [task for task in tasks if not task.done()]:
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # or the event loop tells of an error that nobody asked for
