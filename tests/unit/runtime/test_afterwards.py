"""What is left to be done after calls is done in its order, and waited for by whoever asks."""

from __future__ import annotations

import threading

from lmconf.system.background import BackgroundWorker


def test_everybody_who_finishes_waits_for_what_is_undone() -> None:
    afterwards, done, go_on = BackgroundWorker(), [], threading.Event()
    afterwards.prepare()
    afterwards.do(lambda: done.append(go_on.wait(30)))
    early = threading.Thread(target=afterwards.finish, args=(0.0,))
    early.start()
    early.join(30)
    assert not done
    threading.Timer(0.05, go_on.set).start()
    afterwards.finish(30)
    assert done == [True]


def test_a_warning_that_is_an_error_ends_nothing() -> None:
    afterwards, done = BackgroundWorker(), []

    def warn() -> None:
        raise UserWarning("it is raised")

    afterwards.prepare()
    afterwards.do(warn)
    afterwards.do(lambda: done.append(True))
    afterwards.finish(30)
    assert done == [True]
