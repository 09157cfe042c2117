"""How many requests may be in flight where the server alone knows: found out by asking.

The number grows while all is well and falls when the server says that it is too much: additive
increase and multiplicative decrease, after a slow start that doubles (RFC 5681, section 3.1).
Everything is decided from what is passed in: there is no clock here.
"""

from __future__ import annotations

from math import inf

__all__ = ["COOLDOWN", "DECREASE", "LEAST", "MOST", "START", "AdaptiveLimit"]

START, LEAST, MOST = 20, 10, 100
"""Where the number begins, and between which numbers it stays."""

DECREASE = 0.8
"""What of the number is left after a refusal."""

COOLDOWN = 2.0
"""For how many seconds, at least, nothing grows after a refusal or a failure of the server."""


class AdaptiveLimit:
    """The number of requests that may be in flight, `limit`, by what became of earlier ones.

    It doubles after every `limit` answers until the first refusal, and grows by one after every
    `limit` answers from then on; only while it is all used. A refusal begins an episode: the
    number falls once, and the episode lasts until an answer that comes after its cooldown. A
    `Retry-After` makes the cooldown longer, also that of requests which were sent before the
    number fell. A failure of the server (5xx) lowers nothing; nothing grows for a while.
    """

    __slots__ = ("_answers", "_began", "_calm_at", "_in_episode", "_slow_start", "limit")

    def __init__(self) -> None:
        self.limit = START
        self._slow_start = True
        self._answers = 0
        self._in_episode = False
        self._began = -inf
        self._calm_at = -inf

    def record_answer(self, now: float, *, all_used: bool) -> None:
        """Note an answer.

        `all_used` says whether, while it came, as many requests were in flight as may be.
        """
        if now < self._calm_at:
            return
        self._in_episode = False
        if not all_used:
            return
        self._answers += 1
        if self._answers >= self.limit:
            self._answers = 0
            self.limit = min(MOST, self.limit * 2 if self._slow_start else self.limit + 1)

    def record_refusal(self, now: float, *, sent_at: float, retry_after: float | None) -> None:
        """Note a rate limit that met a request which was sent at the time `sent_at`."""
        cooldown = max(COOLDOWN, retry_after or 0.0)
        if not self._in_episode:
            self._in_episode, self._slow_start = True, False
            self._began = now
            self._answers = 0
            self.limit = max(LEAST, int(self.limit * DECREASE))
            self._calm_at = max(self._calm_at, now + cooldown)
        elif sent_at <= self._began and retry_after is not None:
            # Those sent later must not: while any are refused, the cooldown would never end.
            self._calm_at = max(self._calm_at, now + retry_after)

    def record_failure(self, now: float) -> None:
        """Note a failure of the server."""
        self._answers = 0
        self._calm_at = max(self._calm_at, now + COOLDOWN)
