"""How much passed in the last minute, and when more may."""

from __future__ import annotations

from collections import deque
from math import inf

__all__ = ["MINUTE", "SlidingWindow", "WindowEntry"]

MINUTE = 60.0
"""The seconds of a window."""


class WindowEntry:
    """An amount that passed at a time."""

    __slots__ = ("amount", "at", "counts")

    def __init__(self, at: float, amount: int) -> None:
        self.at = at
        self.amount = amount
        self.counts = True


class SlidingWindow:
    """The amounts of the last 60 seconds.

    A bucket that fills evenly lets twice its content pass within its first minute; this lets no
    60 seconds have more than what is allowed, wherever they begin, as servers count that have
    windows of their own.
    """

    __slots__ = ("_entries", "_total")

    def __init__(self) -> None:
        self._entries: deque[WindowEntry] = deque()
        self._total = 0

    def total(self, now: float) -> int:
        """Return how much passed in the 60 seconds until `now`."""
        while self._entries and self._entries[0].at + MINUTE <= now:
            entry = self._entries.popleft()
            entry.counts = False
            self._total -= entry.amount
        return self._total

    def opens_at(self, amount: int, most: int, now: float) -> float:
        """Return when `amount` may pass where `most` may pass in a minute; what is past is now.

        An amount that is larger than `most` passes when nothing else did for a minute.
        """
        total = self.total(now)
        opens = -inf
        for entry in self._entries:
            if total + amount <= most or total == 0:
                break
            total -= entry.amount
            opens = entry.at + MINUTE
        return opens

    def add(self, amount: int, now: float) -> WindowEntry:
        """Note that `amount` passes now."""
        entry = WindowEntry(now, amount)
        self._entries.append(entry)
        self._total += amount
        return entry

    def correct(self, entry: WindowEntry, amount: int) -> None:
        """Note that it was `amount` in truth."""
        if entry.counts:
            self._total += amount - entry.amount
            entry.amount = amount
