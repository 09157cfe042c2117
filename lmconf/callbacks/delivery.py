"""Brings events to one callback in a thread of its own, so that no call waits for it for long.

Each callback has its own thread and queue: one that hangs holds up neither calls nor the others.
Events arrive in their order, in a copy of the context (`contextvars`) in which they happened. A
call waits at its end until its events have arrived, for `PATIENCE` seconds at most; a callback
that was too slow for that three times is not waited for any more.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["MOST_WAITING", "PATIENCE", "Courier"]

PATIENCE = 0.1
"""How many seconds a call waits for a callback, at most, when it ends."""

MOST_WAITING = 1000
"""How many events may wait for one callback: of more, the oldest are dropped."""

_STRIKES = 3  # too slow so often, a callback is not waited for any more
_IDLE = 5.0  # seconds after which a thread without work ends
_LEAVING = 2.0  # seconds that the end of an LM or of the program waits for a callback

Hear = Callable[..., object]
Report = Callable[[BaseException | None], None]


class Courier:
    """Calls the methods of one callback in a thread of its own, one after another.

    `report` is told in that thread of what a method raised, and with None that events were
    dropped. With `looping`, an event loop runs in that thread as long as the courier lives, for
    the tasks that an async callback starts.
    """

    def __init__(self, report: Report, *, looping: bool) -> None:
        self._queue = _Queue(report, looping=looping)
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
        item = _Item(close or _nothing, (), awaited=True)
        self._queue.put(item)
        done = item.arrives(_LEAVING)
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


def _nothing() -> None:
    return None


class _Queue:
    """What waits for one callback. Its thread keeps it alive, and it does not know its courier."""

    def __init__(self, report: Report, *, looping: bool) -> None:
        self._report = report
        self._looping = looping
        self._renew()

    def _renew(self) -> None:
        # A forked child has none of the parent's threads, and what waited is the parent's.
        self._process = os.getpid()
        self._changed = threading.Condition()  # reentrant: finalizers run anywhere
        self._items: deque[_Item] = deque()
        self.running = False
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
            started = self.running
            self.running = True
            if started:
                self._notify()
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
        run = self._run_looping if self._looping else self._run
        try:
            threading.Thread(target=run, name="lmconf-callback", daemon=True).start()
        except RuntimeError:  # the interpreter is ending, or has no threads left
            self._run_here()
            return
        atexit.register(self._leave)

    def _run_here(self) -> None:
        while (item := self._take()) is not None:
            self._handle(item)

    def _leave(self) -> None:
        """Wait, as the program ends, until nothing waits any more; not for ever."""
        self.end()
        if self._process != os.getpid():
            return
        with self._changed:
            self._changed.wait_for(lambda: not self.running, _LEAVING)

    def _take(self) -> _Item | None:
        """Return what comes next; None, and the thread is over, if nothing does."""
        with self._changed:
            if not self._items:
                self.running = False
                self._changed.notify_all()
                return None
            return self._items.popleft()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended, _IDLE)
            item = self._take()
            if item is None:
                break
            self._handle(item)
        atexit.unregister(self._leave)

    def _handle(self, item: _Item) -> None:
        try:
            made: Any = item.call()
            if inspect.isawaitable(made):
                asyncio.run(_awaited(made))
        except BaseException as error:  # noqa: BLE001 - nothing may end the thread
            self._report(error)
        finally:
            item.has_arrived()

    def _run_looping(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._until_ended(loop))
            loop.run_until_complete(_cancel_the_rest(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
            atexit.unregister(self._leave)

    async def _until_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        wake = asyncio.Event()
        with self._changed:
            self._loop, self._wake = loop, wake
        while True:
            with self._changed:
                wake.clear()
                item = self._items.popleft() if self._items else None
                if item is None and self._ended:
                    self.running, self._loop = False, None
                    self._changed.notify_all()
                    return
            if item is None:
                await wake.wait()
            else:
                await self._ahandle(loop, item)

    async def _ahandle(self, loop: asyncio.AbstractEventLoop, item: _Item) -> None:
        try:
            made: Any = item.call()
            if inspect.isawaitable(made):
                await item.context.run(loop.create_task, _awaited(made))
        except BaseException as error:  # noqa: BLE001 - as above
            self._report(error)
        finally:
            item.has_arrived()


async def _awaited(made: Any) -> None:
    await made


async def _cancel_the_rest(loop: asyncio.AbstractEventLoop) -> None:
    rest = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*rest, return_exceptions=True), 1.0)
