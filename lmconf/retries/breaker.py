"""A circuit breaker: a server that keeps failing is left alone, and tried now and then by one."""

from __future__ import annotations

from collections.abc import Callable

from lmconf.retries.specs import BreakerPolicy
from lmconf.system.fork import Mutex

__all__ = ["CircuitBreaker"]


class CircuitBreaker:
    """What is known of one server: how often it failed in a row, and until when it rests.

    It is closed at first; `policy.after` failures in a row open it. While it is open, `admits` says no,
    until it has rested for `policy.rest`, or for as long as the server asked for. Then it is half
    open: one caller is let through, and what becomes of that probe closes it or opens it again.
    A probe that nothing is heard of for another rest is given up. `clock` returns seconds that
    never go back. Safe to use from many threads.
    """

    __slots__ = ("_clock", "_failures", "_lock", "_probe", "_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Mutex()
        self._failures = 0
        self._until: float | None = None
        self._probe: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are to go elsewhere, but for a probe."""
        return self._until is not None

    @property
    def rests_for(self) -> float:
        """The seconds until it may be tried again; 0 if it may be now."""
        until = self._until
        return 0.0 if until is None else max(0.0, until - self._clock())

    def admits(self, policy: BreakerPolicy) -> bool:
        """Say whether a request may be sent now; a yes while it is open makes it the probe."""
        if not self.is_open or not policy.after:
            return True
        with self._lock:
            now, until = self._clock(), self._until
            if until is None or now < until:
                return until is None
            if self._probe is not None and now < self._probe + policy.rest:
                return False
            self._probe = now
            return True

    def record_success(self) -> None:
        """Take note of an answer: all is well again."""
        if self._failures or self._until is not None:
            with self._lock:
                self._failures = 0
                self._until = self._probe = None

    def record_failure(self, policy: BreakerPolicy, retry_after: float | None = None) -> bool:
        """Take note of a failure that speaks against the server; say whether it is open now.

        `retry_after` are the seconds that the server asked to be left alone for.
        """
        with self._lock:
            self._failures += 1
            probed, self._probe = self._probe is not None, None
            if policy.after and (probed or self._failures >= policy.after):
                self._until = self._clock() + max(policy.rest, retry_after or 0.0)
            return self._until is not None

    def let_go(self) -> None:
        """Take note that a request came to nothing that speaks for the server or against it."""
        with self._lock:
            self._probe = None
