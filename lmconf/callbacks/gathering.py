"""What has been heard of calls that go on, for callbacks that tell of a call as a whole."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from lmconf.forking import Mutex

__all__ = ["MOST_GATHERED", "Gathering"]

MOST_GATHERED = 10_000
"""Of how many calls at once something is kept; the oldest are forgotten."""

T = TypeVar("T")


class Gathering(Generic[T]):
    """Keeps something for each call by its id, until it is taken at the call's end."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, T] = OrderedDict()
        self._lock = Mutex()

    def keep(self, call_id: str, what: T) -> None:
        """Keep `what` for a call."""
        with self._lock:
            self._calls[call_id] = what
            if len(self._calls) > MOST_GATHERED:
                self._calls.popitem(last=False)

    def get(self, call_id: str) -> T | None:
        """Return what is kept for a call, if anything is."""
        return self._calls.get(call_id)

    def take(self, call_id: str) -> T | None:
        """Return what is kept for a call, and keep it no longer."""
        with self._lock:
            return self._calls.pop(call_id, None)
