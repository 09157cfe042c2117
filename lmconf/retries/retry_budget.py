"""How much failing calls may spend on trying again, so that an outage is not multiplied."""

from __future__ import annotations

from lmconf.system.fork import Mutex

__all__ = ["COST", "REFUND", "RetryBudget"]

COST = 5
"""What one more attempt costs."""

REFUND = 1
"""What a call gives back that its first attempt answers; one that was tried again gives `COST`."""


class RetryBudget:
    """A bucket that is full at the beginning, and out of which each further attempt is paid.

    In an outage it is soon empty: of `capacity` 500, a hundred attempts are paid, however many
    calls fail. While most calls succeed it never is. So do the AWS SDKs in their standard mode
    (AWS SDKs and Tools Reference Guide, "Retry behavior"). Safe to use from many threads.
    """

    __slots__ = ("_left", "_lock", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._left = capacity
        self._lock = Mutex()

    @property
    def left(self) -> int:
        """What is left of it."""
        return self._left

    def pays(self) -> bool:
        """Say whether it pays for one more attempt, and pay it."""
        with self._lock:
            if self._left < COST:
                return False
            self._left -= COST
            return True

    def give_back(self, *, tried_again: bool = False) -> None:
        """Take note of an answer; `tried_again` says that it was not that of a first attempt."""
        if self._left >= self.capacity:
            return
        with self._lock:
            self._left = min(self.capacity, self._left + (COST if tried_again else REFUND))
