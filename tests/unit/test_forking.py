"""What is told of a fork, and locks that no child finds taken."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from lmconf.system.fork import Mutex, register_forkable

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def in_child(act: Callable[[], bool]) -> bool:
    """Say whether `act` says so in a forked child, within ten seconds."""
    pid = os.fork()
    if pid == 0:
        said = False
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            said = act()
        finally:
            os._exit(0 if said else 1)
    return os.waitpid(pid, 0)[1] == 0


def test_a_lock_that_another_thread_holds_is_open_in_the_child() -> None:
    mutex = Mutex()
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with mutex:
            taken.set()
            done.wait(30)

    def take() -> bool:
        with mutex, Mutex():
            return True

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    try:
        assert in_child(take)
        assert in_child(lambda: in_child(take))
    finally:
        done.set()
        thread.join()
    assert take()


def test_one_thread_at_a_time_holds_a_lock() -> None:
    mutex, inside, most = Mutex(), 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(500):
            with mutex:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, inside) == (1, 0)


def test_a_lock_may_be_taken_twice_and_is_let_go_after_an_error() -> None:
    once = Mutex()
    with once, once:
        pass
    with pytest.raises(KeyError), once:
        raise KeyError
    with once:
        pass


def test_both_processes_are_told_and_what_is_gone_is_not() -> None:
    class Told:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def before_fork(self) -> None:
            self.heard.append("before")

        def after_fork(self, in_child: bool) -> None:
            self.heard.append("child" if in_child else "parent")

    told, gone = Told(), Told()
    heard = gone.heard
    register_forkable(told)
    register_forkable(gone)
    del gone
    assert in_child(lambda: told.heard == ["before", "child"])
    assert told.heard == ["before", "parent"]
    assert heard == []
