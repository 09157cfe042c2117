"""Brings stores, connections and locks unharmed through a fork of the process.

A lock that another thread holds would stay locked in the child for ever, a connection would be
used by two, and a SQLite connection must not cross a fork at all ("How To Corrupt An SQLite
Database File", section 2.6). So whoever asks for it is told before a fork and after it, in both
processes, and a `Mutex` is open in the child whoever held it.
"""

from __future__ import annotations

import _thread
import functools
import os
import threading
import weakref
from typing import Any, Protocol

__all__ = ["Forkable", "Mutex", "register_forkable"]


class Forkable(Protocol):
    """Something with locks or connections."""

    def before_fork(self) -> None:
        """Stand still: take the locks, and let go of every connection that must not cross."""

    def after_fork(self, in_child: bool) -> None:
        """Go on; in the child, locks are made anew and the parent's connections let go of."""


class _Mutexes:
    """Every mutex of this process. It has no lock: a fork may fall anywhere."""

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[Mutex]] = {}

    def add(self, mutex: Mutex) -> None:
        number = id(mutex)
        self._known[number] = weakref.ref(mutex, lambda _: self._known.pop(number, None))

    def open(self) -> None:
        for reference in list(self._known.values()):
            mutex = reference()
            if mutex is not None:
                mutex.after_fork_in_child()


class _ForkHooks:
    """Whoever is to be told of the forks of this process, and the hooks around `os.fork`."""

    def __init__(self) -> None:
        self._told: dict[int, weakref.ref[Forkable]] = {}
        self._still: list[Forkable] = []
        self._one_at_a_time = threading.Lock()
        self.mutexes = _Mutexes()
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
        self.mutexes.open()
        self._go_on(in_child=True)
        self._one_at_a_time = threading.Lock()

    def _go_on(self, in_child: bool) -> None:
        still, self._still = self._still, []
        for forkable in still:
            forkable.after_fork(in_child)


@functools.cache
def _fork_hooks() -> _ForkHooks:
    # Forks happen to a process: what is to be told of them is known to all of it. Should two
    # threads make this at once, each of the two is hooked and tells its own.
    return _ForkHooks()


def register_forkable(forkable: Forkable) -> None:
    """Have `forkable` told before and after each fork of this process, while it lives."""
    _fork_hooks().add(forkable)


class Mutex(_thread.RLock):  # type: ignore[misc]
    """A lock for what is done in a moment, and which holds in no other process.

    What it guards must make sense wherever a thread may be stopped: a child sees it as it was.
    A thread may take it again that holds it, as finalizers do.

    Entering and leaving it is one instruction each: a signal handler that raises finds it taken
    inside its block, which lets go of it, or not at all. Methods in Python would promise neither.
    """

    def __init__(self) -> None:
        super().__init__()
        _fork_hooks().mutexes.add(self)

    def after_fork_in_child(self) -> None:
        """Be open, unless it was the forking thread that held it."""
        lock: Any = self  # mypy: what `threading` itself uses is not known to it
        if not lock._is_owned():  # noqa: SLF001
            lock._at_fork_reinit()  # noqa: SLF001
