"""A circuit breaker: what keeps failing is left alone, and tried again now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from lmconf.system.fork import Mutex

__all__ = ["BreakerSettings", "CircuitBreaker", "Rest"]


class BreakerSettings(Protocol):
    """When a breaker opens, and for how long."""

    @property
    def after(self) -> int:
        """How many failures in a row open it; 0: it never opens."""

    @property
    def rest(self) -> float:
        """For how many seconds it stays open."""


class Rest(NamedTuple):
    """Settings of a breaker that opens for `rest` seconds after `after` failures in a row.

    Each further failure doubles the rest, up to `longest`.
    """

    rest: float
    after: int = 1
    longest: float = 0.0


class CircuitBreaker:
    """What is known of one server or file: how often it failed in a row, and until when it rests.

        closed ──`after` failures in a row──▶ open ──`rest` seconds──▶ half open
          ▲                                    ▲                          │
          └──────────── success ───────────────┼──────────────────────────┤
                                               └──────── failure ─────────┘

    While it is open, `admits` says no, until it has rested for as long as the settings say, or as
    the server asked for. Then it is half open: one caller is let through, and the outcome of that
    probe closes it or opens it again. A probe that nothing is heard of for another rest is given
    up. Who lets one caller through by other means asks `rests_for` alone. `clock` returns seconds
    that never go back. Safe to use from many threads; a child of a fork goes on with a copy.
    """

    __slots__ = ("_clock", "_failures", "_lock", "_probe", "_until")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
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

    def admits(self, settings: BreakerSettings) -> bool:
        """Say whether a request may be sent now; a yes while it is open makes it the probe."""
        if not self.is_open or not settings.after:
            return True
        with self._lock:
            now, until = self._clock(), self._until
            if until is None or now < until:
                return until is None
            if self._probe is not None and now < self._probe + settings.rest:
                return False
            self._probe = now
            return True

    def record_success(self) -> None:
        """Take note of an answer: all is well again."""
        if self._failures or self._until is not None:
            with self._lock:
                self._failures = 0
                self._until = self._probe = None

    def record_failure(self, settings: BreakerSettings, retry_after: float | None = None) -> bool:
        """Take note of a failure that speaks against the server; say whether it is open now.

        `retry_after` are the seconds that the server asked to be left alone for.
        """
        with self._lock:
            self._failures += 1
            was_probe, self._probe = self._probe is not None, None
            if settings.after and (was_probe or self._failures >= settings.after):
                rest = self._rest(settings)
                self._until = self._clock() + max(rest, retry_after or 0.0)
            return self._until is not None

    def _rest(self, settings: BreakerSettings) -> float:
        if not isinstance(settings, Rest) or settings.longest <= settings.rest:
            return settings.rest
        doublings = min(max(self._failures - settings.after, 0), 64)
        return min(settings.rest * 2.0**doublings, settings.longest)

    def let_go(self) -> None:
        """Take note that a request came to nothing that speaks for the server or against it."""
        with self._lock:
            self._probe = None
