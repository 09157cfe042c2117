"""What calls have come to, LM by LM: counts, tokens, cost, and how long they took.

Totals add up: those of two processes together are the sums of both. Latencies are kept as a
histogram whose buckets grow by a twentieth, so a percentile is right to about 2.5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

__all__ = ["Totals", "bucket_of", "merge", "percentile"]

_GROWTH = math.log(1.05)


class Totals(Struct, forbid_unknown_fields=False, kw_only=True):
    """What the calls of one LM have come to.

    `calls` counts calls that were answered, `cache_hits` among them; `failures` those that were
    not, by the class of the error. `cost` is in US dollars and leaves out `unpriced` calls.
    `seconds` is the histogram of how long calls took that a server answered: how many by bucket.
    """

    model: str = ""
    calls: int = 0
    cache_hits: int = 0
    attempts: int = 0
    retries: int = 0
    fallbacks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    seconds: dict[int, int] = field(default_factory=dict)

    def add(self, other: Totals) -> None:
        """Add what `other` counts."""
        self.model = other.model or self.model
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, int | float):
                setattr(self, name, mine + theirs)
            elif isinstance(mine, dict):
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count

    def report(self) -> dict[str, Any]:
        """Return the totals as plain data, with what follows from them."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        del plain["seconds"]
        plain["hit_rate"] = self.cache_hits / self.calls if self.calls else None
        plain["failed"] = sum(self.failures.values())
        for share in (50, 95, 99):
            plain[f"p{share}"] = percentile(self.seconds, share / 100)
        return plain


def merge(into: dict[str, Totals], more: Mapping[str, Totals]) -> None:
    """Add `more` to the totals of `into`, LM by LM."""
    for lm, totals in more.items():
        into.setdefault(lm, Totals()).add(totals)


def bucket_of(seconds: float) -> int:
    """Return the bucket into which a call of `seconds` falls."""
    return math.ceil(math.log(max(seconds, 1e-6)) / _GROWTH)


def percentile(seconds: Mapping[int, int], share: float) -> float | None:
    """Return within how many seconds a `share` of the calls ended; None where there were none."""
    wanted = share * sum(seconds.values())
    counted = 0
    for bucket, count in sorted(seconds.items()):
        counted += count
        if counted >= wanted:
            return math.exp((bucket - 0.5) * _GROWTH)
    return None
