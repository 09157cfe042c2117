"""What all calls of this process know of a server in common: its retry budget and breakers."""

from __future__ import annotations

import functools

from lmconf.retries.specs import BUDGET
from lmconf.system.circuit_breaker import CircuitBreaker
from lmconf.system.fork import Mutex

__all__ = ["COST", "REFUND", "OriginState", "RetryBudget", "origins"]

COST = 5
"""What one more attempt costs."""

REFUND = 1
"""What a call gives back that its first attempt answers; one that was tried again gives `COST`."""

MOST = 1024
"""How many servers are remembered; a program that meets more forgets the first ones."""


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


class OriginState:
    """Budgets by origin, and breakers by origin and model.

    A model has a breaker of its own: one that is overloaded says nothing of its siblings at the
    same address, which are often the fallbacks.
    """

    def __init__(self) -> None:
        self._budgets: dict[tuple[str, int], RetryBudget] = {}
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}
        self._lock = Mutex()

    def budget(self, origin: str, said: bool | int) -> RetryBudget | None:
        """Return the budget of `origin`, None where the policy has `said` false."""
        if said is False:
            return None
        key = (origin, BUDGET if said is True else said)
        found = self._budgets.get(key)
        if found is None:
            with self._lock:
                if len(self._budgets) >= MOST:
                    del self._budgets[next(iter(self._budgets))]
                found = self._budgets.setdefault(key, RetryBudget(key[1]))
        return found

    def breaker(self, origin: str, model: str) -> CircuitBreaker:
        """Return the breaker of `model` at `origin`."""
        key = (origin, model)
        found = self._breakers.get(key)
        if found is None:
            with self._lock:
                if len(self._breakers) >= MOST:
                    del self._breakers[next(iter(self._breakers))]
                found = self._breakers.setdefault(key, CircuitBreaker())
        return found

    def forget(self) -> None:
        """Forget every server: budgets are full again, and breakers closed."""
        with self._lock:
            self._budgets.clear()
            self._breakers.clear()


@functools.cache
def origins() -> OriginState:
    """Return what this process knows: all LMs of one server must meet in the same."""
    return OriginState()
