"""One thing that happens once, for which threads and tasks of any event loop may wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Signal"]


class Signal:
    """Is given once, from any thread; whoever waits for it then goes on."""

    __slots__ = ("_given", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # it may be given in a finalizer
        self._given = False
        self._waiting: list[Callable[[], object]] = []

    @property
    def given(self) -> bool:
        """Whether it was given."""
        return self._given

    def give(self) -> None:
        """Let everybody who waits go on; giving it again changes nothing."""
        with self._lock:
            self._given = True
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def wait(self, seconds: float) -> bool:
        """Wait in this thread for `seconds` at most, and say whether the signal was given."""
        event = threading.Event()
        if not self._join(event.set):
            return True
        try:
            event.wait(max(seconds, 0.0))
        finally:
            self._leave(event.set)
        return self._given

    async def awaited(self, seconds: float) -> bool:
        """Wait in this task for `seconds` at most, and say whether the signal was given."""
        import asyncio  # only who runs an event loop needs it

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def done() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            if not loop.is_closed():
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
        with self._lock:
            if not self._given:
                self._waiting.append(wake)
            return not self._given

    def _leave(self, wake: Callable[[], object]) -> None:
        with self._lock:
            if wake in self._waiting:
                self._waiting.remove(wake)
