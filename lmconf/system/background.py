"""What remains to be done after a call, and may wait for a disk or a network: by one thread.

A stream ends wherever its reader is: on an event loop, or in a finalizer that runs in the middle
of anything. Neither may wait.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

from lmconf.system.fork import Mutex
from lmconf.system.interrupts import start_thread

__all__ = ["BackgroundWorker", "background_worker"]

Work: TypeAlias = Callable[[], object]

_LEAVING = 5.0
"""Seconds that the end of the process waits for what remains to be done."""


class BackgroundWorker:
    """Does what it is given in a thread of its own, one thing after the other.

    Warnings that are raised as errors have no caller to be raised to, and are dropped. What a
    process that is killed has left undone stays undone.
    """

    def __init__(self) -> None:
        self._lock = Mutex()
        self._process = 0
        self._works: SimpleQueue[Work] = SimpleQueue()
        self._undone: deque[None] = deque()

    def prepare(self) -> None:
        """See that there is a thread; a finalizer, which runs anywhere, cannot start one."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process == os.getpid():
                return
            # What waits in a forked child is its parent's to do.
            self._works, self._undone = SimpleQueue(), deque()
            thread = threading.Thread(
                target=_run_worker,
                args=(self._works, self._undone),
                name="lmconf afterwards",
                daemon=True,
            )
            try:
                start_thread(thread)
            except RuntimeError:  # the process ends
                return
            self._process = os.getpid()
            atexit.register(self.finish, _LEAVING)

    def do(self, work: Work) -> None:
        """Have `work` done soon; it is done at once where `prepare` could have no thread."""
        if self._process != os.getpid():
            work()
            return
        # Both may be called in the middle of themselves, by a finalizer.
        self._undone.append(None)
        self._works.put(work)

    def finish(self, seconds: float) -> None:
        """Wait until everything is done that was given before, for `seconds` at most."""
        if self._process == os.getpid() and self._undone:
            done = threading.Event()
            self.do(done.set)
            done.wait(seconds)


def _run_worker(works: SimpleQueue[Work], undone: deque[None]) -> None:
    while True:
        try:
            with contextlib.suppress(Warning):
                works.get()()
        finally:
            undone.popleft()


@functools.cache
def background_worker() -> BackgroundWorker:
    """Return what this process does after calls."""
    return BackgroundWorker()
