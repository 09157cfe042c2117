"""What signal handlers raise while a thread is started."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lmconf.system.interrupts import start_thread


class OutOfTime(Exception):
    pass


@pytest.mark.parametrize("late", [False, True], ids=["before it runs", "as it runs"])
def test_what_a_handler_raises_as_a_thread_is_started_comes_as_it_is(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = threading.Event()
    start: Any = threading._start_new_thread  # type: ignore[attr-defined]

    def interrupted(function: Any, arguments: Any) -> None:
        if late:
            start(function, arguments)
            assert runs.wait(5)
        raise OutOfTime

    monkeypatch.setattr(threading, "_start_new_thread", interrupted)
    thread = threading.Thread(target=runs.set)
    with pytest.raises(OutOfTime):
        start_thread(thread)
    monkeypatch.undo()
    if late:
        thread.join(5)
    assert runs.is_set() is late
