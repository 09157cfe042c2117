"""Brings stores unharmed through a fork: nothing is in motion while the process is copied.

A lock that another thread holds would stay locked in the child for ever, and a SQLite connection
must not cross a fork at all ("How To Corrupt An SQLite Database File", section 2.6). So every
store stands still before a fork, and goes on after it in both processes.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from typing import Protocol

__all__ = ["Forkable", "stand_still_at_forks"]


class Forkable(Protocol):
    """Something with locks or connections."""

    def before_fork(self) -> None:
        """Take the locks and let go of every connection."""

    def after_fork(self, in_child: bool) -> None:
        """Let go of the locks; in the child they are made anew."""


class _Forking:
    """The living stores of this process, and the hooks around `os.fork`."""

    def __init__(self) -> None:
        self._stores: dict[int, weakref.ref[Forkable]] = {}
        self._still: list[Forkable] = []
        self._one_at_a_time = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before,
                after_in_parent=self._after_in_parent,
                after_in_child=self._after_in_child,
            )

    def add(self, store: Forkable) -> None:
        # No lock: stores are made under locks that a forking thread waits for.
        number = id(store)
        self._stores[number] = weakref.ref(store, lambda _: self._stores.pop(number, None))

    def _before(self) -> None:
        # Two threads that fork at once would otherwise wait for each other's stores.
        self._one_at_a_time.acquire()
        for reference in list(self._stores.values()):
            store = reference()
            if store is not None:
                store.before_fork()
                self._still.append(store)

    def _after_in_parent(self) -> None:
        self._go_on(in_child=False)
        self._one_at_a_time.release()

    def _after_in_child(self) -> None:
        self._go_on(in_child=True)
        self._one_at_a_time = threading.Lock()

    def _go_on(self, in_child: bool) -> None:
        stores, self._still = self._still, []
        for store in stores:
            store.after_fork(in_child)


@functools.cache
def _forking() -> _Forking:
    # Forks happen to a process: what is to be told of them is known to all of it. Should two
    # threads make this at once, each of the two is hooked and tells its own stores.
    return _Forking()


def stand_still_at_forks(store: Forkable) -> None:
    """Have `store` told before and after each fork of this process, while it lives."""
    _forking().add(store)
