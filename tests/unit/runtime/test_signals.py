"""A signal is given once, and wakes threads and tasks of any loop."""

from __future__ import annotations

import asyncio
import threading
import time

from lmconf.system.signal import OneShotEvent


def test_waiting_ends_with_the_time_or_with_the_signal() -> None:
    signal = OneShotEvent()
    assert not signal.wait(0.01)
    assert not asyncio.run(signal.await_given(0.01))
    assert not signal._waiting
    signal.give()
    signal.give()
    assert signal.given
    assert signal.wait(0.0)
    assert asyncio.run(signal.await_given(0.0))


def test_one_signal_wakes_threads_and_tasks_of_several_loops() -> None:
    signal, woken = OneShotEvent(), []

    def in_thread() -> None:
        woken.append(signal.wait(5))

    async def in_tasks() -> None:
        woken.extend(await asyncio.gather(*(signal.await_given(5) for _ in range(3))))

    threads = [threading.Thread(target=in_thread) for _ in range(3)]
    threads += [threading.Thread(target=lambda: asyncio.run(in_tasks())) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(signal._waiting) < 9:
        time.sleep(0.001)
    signal.give()
    for thread in threads:
        thread.join(5)
    assert woken == [True] * 9


def test_a_task_that_is_cancelled_waits_no_more() -> None:
    signal = OneShotEvent()

    async def main() -> None:
        task = asyncio.create_task(signal.await_given(5))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert not signal._waiting
    signal.give()
