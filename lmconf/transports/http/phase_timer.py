"""The time that one attempt has, and each of its phases."""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

from lmconf.transports.transport import Phases

__all__ = ["Phase", "PhaseTimer"]

Phase: TypeAlias = Literal["connect", "first_byte", "idle", "total"]
"""What an attempt may be waiting for; each has a bound of its own in `timeout`."""


class PhaseTimer:
    """Bounds each wait of an attempt by its phase, and by what is left of the whole.

    `phase` and `bound` say what the last wait was for, and how many seconds it had.
    """

    def __init__(self, phases: Phases) -> None:
        self.phases = phases
        self.started = time.monotonic()
        self.phase: Phase = "total"
        self.bound: float = phases.total
        self._connecting_since = self.started

    @property
    def left(self) -> float:
        """The seconds until the attempt's deadline."""
        return self.started + self.phases.total - time.monotonic()

    def restart(self, spent: float) -> None:
        """Count the time from now on, as if `spent` seconds had passed."""
        self.started = time.monotonic() - spent

    def start_connecting(self) -> None:
        """Count the time to connect from now on."""
        self._connecting_since = time.monotonic()

    def limit(self, phase: Phase) -> float:
        """Return the seconds that `phase` may go on from now; 0 or less: it is overdue."""
        left, own = self.left, None if phase == "total" else getattr(self.phases, phase)
        self.phase, self.bound = phase, self.phases.total
        if own is None:
            return left
        since = time.monotonic() - self._connecting_since if phase == "connect" else 0.0
        if own - since >= left:
            return left
        self.bound = own
        return float(own - since)

    def linger(self, seconds: float) -> None:
        """Give what still comes after the answer's end `seconds` at most."""
        total = time.monotonic() - self.started + max(min(seconds, self.left), 0.0)
        self.phases = Phases(total=total)
