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
from collections.abc import Callable
from queue import SimpleQueue

from lmconf.forking import Mutex

__all__ = ["Afterwards", "afterwards"]

_LEAVING = 5.0
"""Seconds that the end of the process waits for what remains to be done."""


class Afterwards:
    """Does what it is given in a thread of its own, one thing after the other.

    Warnings that are raised as errors have no caller to be raised to, and are dropped. What a
    process that is killed has left undone stays undone.
    """

    def __init__(self) -> None:
        self._lock = Mutex()
        self._process = 0
        self._works: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._given = False

    def prepare(self) -> None:
        """See that there is a thread; a finalizer, which runs anywhere, cannot start one."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process == os.getpid():
                return
            # What waits in a forked child is its parent's to do.
            self._works, self._given = SimpleQueue(), False
            thread = threading.Thread(
                target=_run, args=(self._works,), name="lmconf afterwards", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the process ends
                return
            self._process = os.getpid()
            atexit.register(self.finish, _LEAVING)

    def do(self, work: Callable[[], object]) -> None:
        """Have `work` done soon; it is done at once where `prepare` could have no thread."""
        if self._process != os.getpid():
            work()
            return
        self._given = True
        self._works.put(work)  # may be called in the middle of itself, by a finalizer

    def finish(self, seconds: float) -> None:
        """Wait until everything is done that was given before, for `seconds` at most."""
        if self._process != os.getpid() or not self._given:
            return
        self._given = False
        done = threading.Event()
        self._works.put(done.set)
        done.wait(seconds)


def _run(works: SimpleQueue[Callable[[], object]]) -> None:
    while True:
        with contextlib.suppress(Warning):
            works.get()()


@functools.cache
def afterwards() -> Afterwards:
    """Return what this process does after calls."""
    return Afterwards()
