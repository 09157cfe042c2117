"""Brings stores, connections and locks unharmed through a fork of the process.

A lock that another thread holds would stay locked in the child for ever, a connection would be
used by two, and a SQLite connection must not cross a fork at all ("How To Corrupt An SQLite
Database File", section 2.6). So whoever asks for it is told before a fork and after it, in both
processes, and a `Mutex` is open in the child whoever held it.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from typing import Protocol

__all__ = ["Forkable", "Mutex", "stand_still_at_forks"]


class Forkable(Protocol):
    """Something with locks or connections."""

    def before_fork(self) -> None:
        """Stand still: take the locks, and let go of every connection that must not cross."""

    def after_fork(self, in_child: bool) -> None:
        """Go on; in the child, locks are made anew and the parent's connections let go of."""


class _Forking:
    """Whoever is to be told of the forks of this process, and the hooks around `os.fork`."""

    def __init__(self) -> None:
        self._told: dict[int, weakref.ref[Forkable]] = {}
        self._still: list[Forkable] = []
        self._one_at_a_time = threading.Lock()
        self.renewing = threading.RLock()  # a finalizer may come in between
        self.process = object()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before,
                after_in_parent=self._after_in_parent,
                after_in_child=self._after_in_child,
            )

    def add(self, forkable: Forkable) -> None:
        # No lock: stores are made under locks that a forking thread waits for.
        number = id(forkable)
        self._told[number] = weakref.ref(forkable, lambda _: self._told.pop(number, None))

    def _before(self) -> None:
        # Two threads that fork at once would otherwise wait for each other's stores.
        self._one_at_a_time.acquire()
        for reference in list(self._told.values()):
            forkable = reference()
            if forkable is not None:
                forkable.before_fork()
                self._still.append(forkable)

    def _after_in_parent(self) -> None:
        self._go_on(in_child=False)
        self._one_at_a_time.release()

    def _after_in_child(self) -> None:
        self.process = object()
        self.renewing = threading.RLock()  # a finalizer may come in between
        self._go_on(in_child=True)
        self._one_at_a_time = threading.Lock()

    def _go_on(self, in_child: bool) -> None:
        still, self._still = self._still, []
        for forkable in still:
            forkable.after_fork(in_child)


@functools.cache
def _forking() -> _Forking:
    # Forks happen to a process: what is to be told of them is known to all of it. Should two
    # threads make this at once, each of the two is hooked and tells its own.
    return _Forking()


def stand_still_at_forks(forkable: Forkable) -> None:
    """Have `forkable` told before and after each fork of this process, while it lives."""
    _forking().add(forkable)


class Mutex:
    """A lock for what is done in a moment, and which holds in no other process.

    What it guards must make sense wherever a thread may be stopped: a child sees it as it was.
    With `reentrant` a thread may take it again that holds it, as finalizers do.
    """

    __slots__ = ("_forking", "_lock", "_make", "_process")

    def __init__(self, *, reentrant: bool = False) -> None:
        self._make = threading.RLock if reentrant else threading.Lock
        self._lock = self._make()
        self._forking = _forking()
        self._process: object = None

    def __enter__(self) -> None:
        if self._process is not self._forking.process:
            self._renew()
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        forking = self._forking
        with forking.renewing:
            if self._process is not forking.process:
                if self._process is not None:
                    self._lock = self._make()
                self._process = forking.process
