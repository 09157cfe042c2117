"""A clock that goes when it is told to, and a bell that tells whether it rang."""

from __future__ import annotations


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bell:
    def __init__(self) -> None:
        self.rung = 0

    def give(self) -> None:
        self.rung += 1
