"""One thing that happens once, for which threads and tasks of any event loop may wait."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["OneShotEvent"]


class OneShotEvent:
    """Is given once, from any thread; whoever waits for it then goes on.

    It has no lock, so that a finalizer may give it, whatever its thread was doing just then.
    """

    __slots__ = ("_given", "_waiting")

    def __init__(self) -> None:
        self._given = False
        self._waiting: deque[Callable[[], object]] = deque()

    @property
    def given(self) -> bool:
        """Whether it was given."""
        return self._given

    def give(self) -> None:
        """Let everybody who waits go on; giving it again changes nothing."""
        self._given = True
        while self._waiting:
            with contextlib.suppress(IndexError):  # another one was quicker
                self._waiting.popleft()()

    def wait(self, seconds: float, other: OneShotEvent | None = None) -> bool:
        """Wait in this thread for `seconds` at most, and say whether the signal was given.

        The wait ends when `other` is given, too.
        """
        # An Event has a lock of its own, which a finalizer could find taken by its own thread.
        closed = threading.Lock()
        closed.acquire()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the other one was quicker
                closed.release()

        try:
            if self._join(wake) and (other is None or other._join(wake)):  # noqa: SLF001
                closed.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))
        finally:
            self._leave(wake)
            if other is not None:
                other._leave(wake)  # noqa: SLF001 - it is one of ours
        return self._given

    async def await_given(self, seconds: float) -> bool:
        """Wait in this task for `seconds` at most, and say whether the signal was given."""
        import asyncio  # only who runs an event loop needs it

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def done() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and nobody waits
                loop.call_soon_threadsafe(done)

        if not self._join(wake):
            return True
        try:
            await asyncio.wait((future,), timeout=max(seconds, 0.0))
        finally:
            self._leave(wake)
        return self._given

    def _join(self, wake: Callable[[], object]) -> bool:
        """Note whom to wake; False: the signal was given already."""
        self._waiting.append(wake)
        if self._given:
            self._leave(wake)
        return not self._given

    def _leave(self, wake: Callable[[], object]) -> None:
        with contextlib.suppress(ValueError):
            self._waiting.remove(wake)
