"""Work on an event loop that a signal ends in order."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any

from lmconf.cli.entry import Stopped

__all__ = ["run_on_loop"]


def run_on_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`. Ctrl-C, or a signal to end, cancels it, and is raised once it has ended.

    A handler that raises, as the one of other commands does, would raise in the midst of the event
    loop or of an import, and leave a lock taken. A second signal does what the system says.
    """
    before = {number: signal.getsignal(number) for number in _handled_signals()}
    numbers: list[int] = []

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            numbers.append(number)
            for each in before:
                loop.remove_signal_handler(each)
            task.cancel()

        for number in before:
            loop.add_signal_handler(number, stop, number)
        await work

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        if not numbers:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if numbers:
        raise KeyboardInterrupt if numbers[0] == signal.SIGINT else Stopped(numbers[0])


def _handled_signals() -> list[int]:
    """Return the signals that ask this program to end, without those that it was told to ignore."""
    if threading.current_thread() is not threading.main_thread():
        return []
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [n for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)]
