"""Delivery of events to one callback, in their order; it cannot harm a call.

Each callback has its own thread and queue: one that hangs holds up neither calls nor the others.
Events arrive in a copy of the context (`contextvars`) in which they happened. A call waits at its
end until its events have arrived, for `PATIENCE` seconds at most; a callback that was too slow for
that three times is not waited for any more. A callback whose `inline` is true hears in the thread
of the call.

The end of an LM, and that of the program, wait until everything has arrived and is flushed, for
`LEAVING` seconds at most, or as long as the callback's `leaving` says.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import functools
import importlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from lmconf.callbacks.events import METHODS
from lmconf.errors import Error
from lmconf.system.fork import Mutex, register_forkable
from lmconf.system.interrupts import OnDemandThread, is_interrupt

if TYPE_CHECKING:
    import asyncio  # calls that run no event loop do without it

__all__ = ["MOST_WAITING", "PATIENCE", "Delivery", "Hear", "delivery_to", "methods_of"]

PATIENCE = 0.1
"""How many seconds a call waits for a callback, at most, when it ends."""

MOST_WAITING = 1000
"""How many events may wait for one callback: of more, the oldest are dropped."""

LEAVING = 2.0
"""How many seconds the end of an LM or of the program waits for a callback, if it says nothing."""

_STRIKES = 3  # too slow so often, a callback is not waited for any more
_IDLE = 5.0  # seconds after which a thread without work ends

Hear = Callable[..., object]
"""A method of a callback."""


class Delivery:
    """Calls the methods of one callback in the thread of the call; `unsaid` are warnings to be."""

    def __init__(self, callback: object, unsaid: deque[str]) -> None:
        self._callback = callback
        self._unsaid = unsaid
        self._warned: set[bool] = set()

    def post(self, hear: Hear, *events: object) -> None:
        """Have `hear` called with `events`, some time."""
        try:
            hear(*events)
        except Exception as error:
            # Whatever a callback raises, the call goes on; but not after an interrupt of it.
            if is_interrupt(error):
                raise
            self._note(error)

    def deliver(self, hear: Hear, *events: object) -> None:
        """Have `hear` called with `events`, and wait for it with patience."""
        self.post(hear, *events)

    def close(self) -> None:
        """Deliver what waits, then close the callback."""
        for close in methods_of(self._callback, ("close",)):
            self.post(close)

    def end(self) -> None:
        """Have it end when nothing waits any more."""

    def _note(self, error: BaseException | None) -> None:
        """Have what the callback raised warned of, once; None: events were dropped."""
        if (error is None) in self._warned:
            return
        self._warned.add(error is None)
        name = type(self._callback).__name__
        if error is None:
            text = f"callback {name} is too slow: of {MOST_WAITING} waiting events, the oldest are dropped"
        else:
            # The text of others is left out: who knows what a stranger's exception quotes.
            why = f": {error}" if isinstance(error, Error) else ""
            text = f"callback {name} raised {type(error).__name__}{why}; calls continue"
        self._unsaid.append(text)


def delivery_to(callback: object, unsaid: deque[str]) -> Delivery:
    """Return what brings events to `callback`: a thread of its own, unless it is `inline`."""
    inline = getattr(callback, "inline", False) is True
    return (Delivery if inline else CallbackWorker)(callback, unsaid)


class _Item:
    """A call of a method that waits to be made."""

    __slots__ = ("_arrived", "context", "events", "hear")

    def __init__(self, hear: Hear, *events: object, awaited: bool = False) -> None:
        self.hear = hear
        self.events = events
        self.context = contextvars.copy_context()
        self._arrived = threading.Lock() if awaited else None
        if self._arrived is not None:
            self._arrived.acquire()

    def mark_arrived(self) -> None:
        if self._arrived is not None:
            self._arrived.release()

    def wait_for_arrival(self, seconds: float) -> bool:
        return self._arrived is None or self._arrived.acquire(timeout=seconds)


class CallbackWorker(Delivery):
    """Calls the methods of one callback in a thread of its own, one after another.

    An async callback has an event loop in that thread, which runs until the worker is ended: for
    the tasks that the callback starts. The callback is flushed before the thread ends.
    """

    def __init__(self, callback: object, unsaid: deque[str]) -> None:
        super().__init__(callback, unsaid)
        self._on_loop = _is_async(callback)
        self._leaving: float = getattr(callback, "leaving", LEAVING)
        self._flush: Hear | None = next(methods_of(callback, ("flush",)), None)
        if self._on_loop and self._flush is not None:
            self._flush = functools.partial(_in_time, self._flush, self._leaving)
        self._strikes = 0
        self._renew()
        register_forkable(self)
        if self._flush is not None:
            _EXIT.add(self)

    def _renew(self) -> None:
        self._changed = threading.Condition()  # reentrant: finalizers run anywhere
        self._items: deque[_Item] = deque()
        self._thread = OnDemandThread(self._run, "lmconf-callback", self._changed, daemon=True)
        self._ended = False
        self._wake: Callable[[], object] | None = None

    # --- what calls do ---

    def post(self, hear: Hear, *events: object) -> None:
        self._put(_Item(hear, *events))

    def deliver(self, hear: Hear, *events: object) -> None:
        item = _Item(hear, *events, awaited=True)
        self._put(item)
        if self._strikes < _STRIKES and not item.wait_for_arrival(PATIENCE):
            self._strikes += 1

    def close(self) -> None:
        close = next(methods_of(self._callback, ("close",)), None)
        if close is not None or self._items or self._thread.current is not None:
            item = _Item(close or self._flush or (lambda: None), awaited=True)
            self._put(item)
            item.wait_for_arrival(self._leaving)
        self.end()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._notify()

    def leave(self, exit_began: float) -> None:
        """Wait, as the program ends, for all that waits to arrive; not for ever, and only once.

        `exit_began` is when the program began to wait, for whoever else it was.
        """
        if self._items:
            self._start()
        self.end()
        left = self._leaving - (time.monotonic() - exit_began)
        with self._changed:
            if not self._changed.wait_for(lambda: self._thread.current is None, left):
                self._leaving = 0.0

    def _put(self, item: _Item) -> None:
        dropped = None
        with self._changed:
            if len(self._items) >= MOST_WAITING:
                dropped = self._items.popleft()
            self._items.append(item)
            self._ended = False
            self._notify()
        self._start()
        if dropped is not None:
            dropped.mark_arrived()
            self._note(None)

    def _start(self) -> None:
        if self._thread.current is not None:
            return
        _EXIT.add(self)
        if self._thread.start():
            return
        # In place: the program ends, or has no threads left.
        self._thread.adopt()
        self._ended = True
        while not self._is_over():
            self._serve()

    def _notify(self) -> None:
        self._changed.notify_all()
        if self._wake is not None:
            self._wake()

    # --- the thread ---

    def _run(self) -> None:
        while not self._is_over():
            if self._on_loop:
                self._serve_on_loop()
            else:
                self._serve()

    def _is_over(self) -> bool:
        """Say whether this thread is to end: nothing waits, or another one works."""
        with self._changed:
            if self._thread.is_current() and not self._items:
                self._thread.end()
                self._changed.notify_all()
            return not self._thread.is_current()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended, _IDLE)
                item = self._items.popleft() if self._items else None
            if item is None:
                break
            self._handle(item)
        if self._flush is not None:
            self._handle(_Item(self._flush))

    def _handle(self, item: _Item) -> None:
        import inspect

        try:
            result: Any = item.context.run(item.hear, *item.events)
            if inspect.isawaitable(result):
                import asyncio

                asyncio.run(_call(lambda: result))
        except BaseException as error:  # noqa: BLE001 - nothing may end the thread
            self._note(error)
        finally:
            item.mark_arrived()

    def _serve_on_loop(self) -> None:
        import asyncio

        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._aserve(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(_cancel_the_rest(loop))
        finally:
            with self._changed:
                self._wake = None
            loop.close()

    async def _aserve(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        wake = asyncio.Event()
        self._wake = functools.partial(loop.call_soon_threadsafe, wake.set)
        while True:
            with self._changed:
                wake.clear()
                item = self._items.popleft() if self._items else None
                is_ended = self._ended
            if item is not None:
                await item.context.run(loop.create_task, self._ahandle(item))
            elif not is_ended:
                await wake.wait()
            else:
                if self._flush is not None:
                    await loop.create_task(self._ahandle(_Item(self._flush)))
                if not self._items:
                    return

    async def _ahandle(self, item: _Item) -> None:
        try:
            await _call(item.hear, *item.events)
        except BaseException as error:  # noqa: BLE001 - as above
            self._note(error)
        finally:
            item.mark_arrived()

    # --- forks ---

    def before_fork(self) -> None:
        """Do nothing: the threads go on in the parent."""

    def after_fork(self, in_child: bool) -> None:
        """Go on; the child has none of the parent's threads, and what waited is the parent's."""
        if in_child:
            self._renew()


class _Exit:
    """Ends workers with the main thread, while threads and executors can still work.

    An exit handler would come too late for what needs them: to look up the name of a host, say.
    """

    def __init__(self) -> None:
        self._workers: weakref.WeakSet[CallbackWorker] = weakref.WeakSet()
        self._prepared = False
        self._lock = Mutex()

    def add(self, worker: CallbackWorker) -> None:
        """Have `worker` ended at the end."""
        with self._lock:
            self._workers.add(worker)
            was_prepared, self._prepared = self._prepared, True
        if not was_prepared:
            atexit.register(self._end)  # for the calls that other exit handlers make
            # Whoever was registered last comes first, and we must come before the executors' end.
            importlib.import_module("concurrent.futures.thread")
            with contextlib.suppress(AttributeError, RuntimeError):  # an exit handler is left
                threading._register_atexit(self._end)  # type: ignore[attr-defined] # noqa: SLF001

    def _end(self) -> None:
        exit_began = time.monotonic()
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.leave(exit_began)


# One a process by definition: there is one end of it.
_EXIT = _Exit()


async def _call(hear: Hear, *events: object) -> None:
    import inspect

    result: Any = hear(*events)
    if inspect.isawaitable(result):
        await result


async def _in_time(hear: Hear, seconds: float) -> None:
    import asyncio

    await asyncio.wait_for(_call(hear), seconds)


async def _cancel_the_rest(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    until = time.monotonic() + 1.0
    # What is cancelled may begin other tasks: to close its connections, say.
    while rest := [each for each in asyncio.all_tasks(loop) if each is not asyncio.current_task()]:
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=max(0.0, until - time.monotonic()))
        if time.monotonic() >= until:
            return


def _is_async(callback: object) -> bool:
    import inspect

    names = (*METHODS.values(), "on_event", "flush", "close")
    return any(map(inspect.iscoroutinefunction, methods_of(callback, names)))


def methods_of(callback: object, names: Iterable[str]) -> Iterator[Hear]:
    """Yield those of the methods `names` that `callback` has."""
    for name in names:
        method = getattr(callback, name, None)
        if callable(method):
            yield method
