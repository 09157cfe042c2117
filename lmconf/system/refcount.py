"""What LMs that are copies of one another have in common, and who still needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, TypeVar

from lmconf.system.fork import Mutex

__all__ = ["ResourceHold", "SharedResource"]


class SharedResource:
    """Something that is opened when it is first needed, and ended when nobody holds it any more.

    Whoever needs it has a `ResourceHold` on it; it ends with the last one. It may be needed again later,
    and is opened anew then.
    """

    def __init__(self) -> None:
        # A hold may be let go of by a finalizer, in the very thread that has the lock.
        self.lock = Mutex()
        self.held = 0

    def end(self) -> None:
        """End it if it is open."""
        raise NotImplementedError

    async def aend(self) -> None:
        """End it if it is open, from an event loop."""
        import asyncio  # only who runs an event loop needs it

        await asyncio.to_thread(self.end)


S = TypeVar("S", bound=SharedResource)


class ResourceHold(Generic[S]):
    """Says that `shared` is needed, until it is let go of or is gone itself."""

    __slots__ = ("let_go", "shared")

    def __init__(self, shared: S) -> None:
        self.shared = shared
        self.let_go = False
        with shared.lock:
            shared.held += 1

    def end(self) -> None:
        """Need it no longer; the last one ends it."""
        if self._was_the_last():
            self.shared.end()

    async def aend(self) -> None:
        """Need it no longer; the last one ends it, from an event loop."""
        if self._was_the_last():
            await self.shared.aend()

    def _was_the_last(self) -> bool:
        with self.shared.lock:
            if self.let_go:
                return False
            self.let_go = True
            self.shared.held -= 1
            return self.shared.held == 0

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # What is open when the interpreter ends has a finalizer of its own.
        if not finalizing() and not self.let_go:
            self.end()
