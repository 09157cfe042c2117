"""Blocking work on an event loop: one thread for each call or stream, with the task's context.

The loop's own executor is left alone: it has few threads, and a slow server would keep them all.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import copy_context
from typing import Generic, TypeVar

from msgspec import Struct

from lmconf.system.interrupts import start_thread

__all__ = ["iterate_in_thread", "run_in_thread"]

T = TypeVar("T")

AHEAD = 16
"""How many pieces of a stream may wait to be read."""


class _Item(Struct, Generic[T], frozen=True, eq=False):
    value: T


class _End(Struct, frozen=True, eq=False):
    error: BaseException | None


async def run_in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises.

    A task that is cancelled does not wait: the thread ends with `work`, and nobody is told.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_Item[T] | _End] = loop.create_future()

    def settle(found: _Item[T] | _End) -> None:
        if not outcome.done():
            outcome.set_result(found)

    def run() -> None:
        found: _Item[T] | _End
        try:
            found = _Item(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            found = _End(error)
        _call_in_loop(loop, settle, found)

    start_thread(
        threading.Thread(target=copy_context().run, args=(run,), name="lmconf-call", daemon=True)
    )
    found = await outcome
    if isinstance(found, _Item):
        return found.value
    assert found.error is not None
    raise found.error


async def iterate_in_thread(start: Callable[[], Iterable[T]]) -> AsyncIterator[T]:
    """Yield what the iterable that `start` returns yields; it is read a few pieces ahead.

    Closing the iterator ends the thread after the piece that it is waiting for; the iterable is
    closed in that thread.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[_Item[T] | _End] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)
    stopped = threading.Event()

    def read() -> None:
        pieces: Iterable[T] | None = None
        try:
            pieces = start()
            for piece in pieces:
                # A loop may end without closing what ran on it.
                while not room.acquire(timeout=1.0):
                    if loop.is_closed():
                        return
                if stopped.is_set() or not _call_in_loop(loop, arrived.put_nowait, _Item(piece)):
                    return
        finally:
            close = getattr(pieces, "close", None)
            if callable(close):
                close()

    def run() -> None:
        ended = _End(None)
        try:
            read()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            ended = _End(error)
        _call_in_loop(loop, arrived.put_nowait, ended)

    start_thread(
        threading.Thread(target=copy_context().run, args=(run,), name="lmconf-stream", daemon=True)
    )
    try:
        while True:
            found = await arrived.get()
            if isinstance(found, _End):
                break
            room.release()
            yield found.value
    finally:
        stopped.set()
        room.release()
    if found.error is not None:
        raise found.error


def _call_in_loop(loop: asyncio.AbstractEventLoop, hear: Callable[[T], None], news: T) -> bool:
    """Have `loop` call `hear`; say whether it still runs."""
    try:
        loop.call_soon_threadsafe(hear, news)
    except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
        return False
    return True
