"""Brings events to one callback in a thread of its own, so that no call waits for it for long.

Each callback has its own thread and queue: one that hangs holds up neither calls nor the others.
Events arrive in their order, in a copy of the context (`contextvars`) in which they happened. A
call waits at its end until its events have arrived, for `PATIENCE` seconds at most; a callback
that was too slow for that three times is not waited for any more.

The end of an LM, and that of the program, wait until everything has arrived and is flushed, for
`LEAVING` seconds at most, or as long as the callback's `leaving` says.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import functools
import importlib
import inspect
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from lmconf.system.fork import Mutex
from lmconf.system.interrupts import start_thread

__all__ = ["LEAVING", "MOST_WAITING", "PATIENCE", "CallbackWorker"]

PATIENCE = 0.1
"""How many seconds a call waits for a callback, at most, when it ends."""

MOST_WAITING = 1000
"""How many events may wait for one callback: of more, the oldest are dropped."""

LEAVING = 2.0
"""How many seconds the end of an LM or of the program waits for a callback, if it says nothing."""

_STRIKES = 3  # too slow so often, a callback is not waited for any more
_IDLE = 5.0  # seconds after which a thread without work ends

Hear = Callable[..., object]
Report = Callable[[BaseException | None], None]


class CallbackWorker:
    """Calls the methods of one callback in a thread of its own, one after another.

    `report` is told in that thread of what a method raised, and with None that events were
    dropped. With `looping`, an event loop runs in that thread as long as the courier lives, for
    the tasks that an async callback starts. `flush` is called, in that thread, before it ends: the
    courier is closed or nobody has it any more, or the program ends, and waits `leaving` seconds.
    """

    def __init__(
        self,
        report: Report,
        *,
        looping: bool,
        flush: Hear | None = None,
        leaving: float = LEAVING,
    ) -> None:
        if looping and flush is not None:
            flush = functools.partial(_in_time, flush, leaving)
        self._queue = _Queue(report, looping=looping, flush=flush, leaving=leaving)
        self._flush = flush
        self._leaving = leaving
        self._strikes = 0
        weakref.finalize(self, self._queue.end).atexit = False

    def post(self, hear: Hear, *events: object) -> None:
        """Have `hear` called with `events`, some time."""
        self._queue.put(_Item(hear, events))

    def deliver(self, hear: Hear, *events: object) -> None:
        """Have `hear` called with `events`, and wait for it with patience."""
        item = _Item(hear, events, awaited=True)
        self._queue.put(item)
        if self._strikes < _STRIKES and not item.arrives(PATIENCE):
            self._strikes += 1

    def close(self, close: Hear | None) -> bool:
        """Deliver what waits, then call `close`; say whether that was done in time."""
        if close is None and not self._queue.running:
            return True
        item = _Item(close or self._flush or _no_operation, (), awaited=True)
        self._queue.put(item)
        done = item.arrives(self._leaving)
        self._queue.end()
        return done


class _Item:
    __slots__ = ("arrived", "context", "events", "hear")

    def __init__(self, hear: Hear, events: tuple[object, ...], *, awaited: bool = False) -> None:
        self.hear = hear
        self.events = events
        self.context = contextvars.copy_context()
        self.arrived = threading.Lock() if awaited else None
        if self.arrived is not None:
            self.arrived.acquire()

    def call(self) -> object:
        return self.context.run(self.hear, *self.events)

    def has_arrived(self) -> None:
        if self.arrived is not None:
            self.arrived.release()

    def arrives(self, seconds: float) -> bool:
        return self.arrived is None or self.arrived.acquire(timeout=seconds)


def _no_operation() -> None:
    return None


class _Queue:
    """What waits for one callback. Its thread keeps it alive, and it does not know its courier."""

    def __init__(
        self, report: Report, *, looping: bool, flush: Hear | None, leaving: float
    ) -> None:
        self._report = report
        self._looping = looping
        self._flush = flush
        self._leaving = leaving
        if flush is not None:
            _ENDING.tell(self)
        self._renew()

    def _renew(self) -> None:
        # A forked child has none of the parent's threads, and what waited is the parent's.
        self._process = os.getpid()
        self._changed = threading.Condition()  # reentrant: finalizers run anywhere
        self._items: deque[_Item] = deque()
        self.running = False
        self._threads = 0  # one that ends, and perhaps the next
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def put(self, item: _Item) -> None:
        if self._process != os.getpid():
            self._renew()
        dropped = None
        with self._changed:
            if len(self._items) >= MOST_WAITING:
                dropped = self._items.popleft()
            self._items.append(item)
            self._ended = False
            started, self.running = self.running, True
            if started:
                self._notify()
            else:
                self._threads += 1
                atexit.register(self.leave)
        if not started:
            self._start()
        if dropped is not None:
            dropped.has_arrived()
            self._report(None)

    def end(self) -> None:
        """Have the thread end when nothing waits any more."""
        if self._process != os.getpid():
            return
        with self._changed:
            self._ended = True
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        if self._loop is not None and self._wake is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="lmconf-callback", daemon=True)
        try:
            start_thread(thread)
        except RuntimeError:  # the interpreter is ending, or has no threads left
            self._run_to_the_end(0.0)
            self._thread_ended()

    def _run(self) -> None:
        try:
            if self._looping:
                self._run_looping()
            else:
                self._run_to_the_end()
        finally:
            self._thread_ended()

    def _thread_ended(self) -> None:
        with self._changed:
            self._threads -= 1
            if not self._threads:
                atexit.unregister(self.leave)
            self._changed.notify_all()

    def leave(self, begun: float | None = None) -> None:
        """Wait, as the program ends, until the thread has ended; not for ever, and only once.

        `begun` is when the program began to wait, for whoever else it was.
        """
        self.end()
        if self._process != os.getpid():
            return
        waited = 0.0 if begun is None else time.monotonic() - begun
        with self._changed:
            if not self._changed.wait_for(lambda: not self._threads, self._leaving - waited):
                self._leaving = 0.0

    def _is_over(self) -> bool:
        """Say whether nothing waits, and the thread is to end."""
        with self._changed:
            if self._items:
                return False
            self.running, self._loop = False, None
            self._changed.notify_all()
            return True

    def _run_to_the_end(self, idle: float = _IDLE) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended, idle)
                item = self._items.popleft() if self._items else None
            if item is not None:
                self._handle(item)
                continue
            if self._flush is not None:
                self._handle(_Item(self._flush, ()))
            if self._is_over():
                return

    def _handle(self, item: _Item) -> None:
        try:
            made: Any = item.call()
            if inspect.isawaitable(made):
                asyncio.run(_await_result(made))
        except BaseException as error:  # noqa: BLE001 - nothing may end the thread
            self._report(error)
        finally:
            item.has_arrived()

    def _run_looping(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            over = False
            while not over:
                loop.run_until_complete(self._until_ended(loop))
                if self._flush is not None:
                    loop.run_until_complete(self._ahandle(loop, _Item(self._flush, ())))
                over = self._is_over()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(_cancel_the_rest(loop))
        finally:
            loop.close()

    async def _until_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        wake = asyncio.Event()
        with self._changed:
            self._loop, self._wake = loop, wake
        while True:
            with self._changed:
                wake.clear()
                item = self._items.popleft() if self._items else None
                if item is None and self._ended:
                    return
            if item is None:
                await wake.wait()
            else:
                await self._ahandle(loop, item)

    async def _ahandle(self, loop: asyncio.AbstractEventLoop, item: _Item) -> None:
        try:
            made: Any = item.call()
            if inspect.isawaitable(made):
                await item.context.run(loop.create_task, _await_result(made))
        except BaseException as error:  # noqa: BLE001 - as above
            self._report(error)
        finally:
            item.has_arrived()


class _ExitFlush:
    """Has queues flushed when the main thread ends, while threads and executors can still work.

    An exit handler would come too late for what needs them: to look up the name of a host, say.
    """

    def __init__(self) -> None:
        self._queues: weakref.WeakSet[_Queue] = weakref.WeakSet()
        self._prepared = False
        self._lock = Mutex()

    def tell(self, queue: _Queue) -> None:
        """Have `queue` told of the end."""
        with self._lock:
            self._queues.add(queue)
            prepared, self._prepared = self._prepared, True
        if not prepared:
            # Whoever was registered last comes first, and we must come before the executors' end.
            importlib.import_module("concurrent.futures.thread")
            with contextlib.suppress(AttributeError, RuntimeError):  # an exit handler is left
                threading._register_atexit(self._end)  # type: ignore[attr-defined] # noqa: SLF001

    def _end(self) -> None:
        begun = time.monotonic()
        with self._lock:
            queues = list(self._queues)
        for queue in queues:
            queue.end()
        for queue in queues:
            queue.leave(begun)


# One a process by definition: there is one end of it.
_ENDING = _ExitFlush()


async def _await_result(made: Any) -> None:
    await made


async def _in_time(hear: Hear, seconds: float) -> None:
    made: Any = hear()
    if inspect.isawaitable(made):
        await asyncio.wait_for(_await_result(made), seconds)


async def _cancel_the_rest(loop: asyncio.AbstractEventLoop) -> None:
    until = time.monotonic() + 1.0
    # What is cancelled may begin other tasks: to close its connections, say.
    while rest := [each for each in asyncio.all_tasks(loop) if each is not asyncio.current_task()]:
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=max(0.0, until - time.monotonic()))
        if time.monotonic() >= until:
            return
