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

__all__ = ["each_in_thread", "in_thread"]

T = TypeVar("T")

AHEAD = 16
"""How many pieces of a stream may wait to be read."""


class _Came(Struct, Generic[T], frozen=True, eq=False):
    value: T


class _Ended(Struct, frozen=True, eq=False):
    error: BaseException | None


async def in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises.

    A task that is cancelled does not wait: the thread ends with `work`, and nobody is told.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_Came[T] | _Ended] = loop.create_future()

    def settle(found: _Came[T] | _Ended) -> None:
        if not outcome.done():
            outcome.set_result(found)

    def run() -> None:
        found: _Came[T] | _Ended
        try:
            found = _Came(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            found = _Ended(error)
        _tell(loop, settle, found)

    threading.Thread(
        target=copy_context().run, args=(run,), name="lmconf-call", daemon=True
    ).start()
    found = await outcome
    if isinstance(found, _Came):
        return found.value
    assert found.error is not None
    raise found.error


async def each_in_thread(start: Callable[[], Iterable[T]]) -> AsyncIterator[T]:
    """Yield what the iterable that `start` returns yields; it is read a few pieces ahead.

    Closing the iterator ends the thread after the piece that it is waiting for; the iterable is
    closed in that thread.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[_Came[T] | _Ended] = asyncio.Queue()
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
                if stopped.is_set() or not _tell(loop, arrived.put_nowait, _Came(piece)):
                    return
        finally:
            close = getattr(pieces, "close", None)
            if callable(close):
                close()

    def run() -> None:
        ended = _Ended(None)
        try:
            read()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            ended = _Ended(error)
        _tell(loop, arrived.put_nowait, ended)

    threading.Thread(
        target=copy_context().run, args=(run,), name="lmconf-stream", daemon=True
    ).start()
    try:
        while True:
            found = await arrived.get()
            if isinstance(found, _Ended):
                break
            room.release()
            yield found.value
    finally:
        stopped.set()
        room.release()
    if found.error is not None:
        raise found.error


def _tell(loop: asyncio.AbstractEventLoop, hear: Callable[[T], None], news: T) -> bool:
    """Have `loop` call `hear`; say whether it still runs."""
    try:
        loop.call_soon_threadsafe(hear, news)
    except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
        return False
    return True
