"""What calls have used: tokens and US dollars, per LM, per profile and per block of code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from msgspec import Struct, defstruct, structs

from lmconf.system.fork import Mutex

__all__ = ["Tally", "Usage", "track_usage", "tracking"]


class Usage(Struct, frozen=True, kw_only=True):
    """Totals of calls that were answered.

    `calls` counts them all, `cache_hits` those that a store answered: these bill nothing and add
    nothing else. `cached_tokens` is the part of `prompt_tokens` that the provider had cached, and
    `reasoning_tokens` the part of `completion_tokens` that was spent on thinking. `cost` is in US
    dollars and leaves out the `unpriced` calls, of whose model no price is known.
    """

    calls: int = 0
    cache_hits: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0

    def __add__(self, other: object) -> Usage:
        """Return the totals of both."""
        if not isinstance(other, Usage):
            return NotImplemented
        names = self.__struct_fields__
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in names})


# The same fields, while they grow.
_Counts: Any = defstruct(
    "_Counts",
    [(field.name, field.type, field.default) for field in structs.fields(Usage)],
)


class Tally:
    """Adds up what calls have used; safe to read and to add to from many threads.

    What is added here is added to `whole` as well.
    """

    __slots__ = ("_by_lm", "_lock", "whole")

    def __init__(self, whole: Tally | None = None) -> None:
        self.whole = whole
        self._by_lm: dict[str, Any] = {}
        self._lock = Mutex()

    def add_hit(self, lm: str, *, upwards: bool = True) -> None:
        """Count a call of `lm` that a store answered; in the whole, too, if `upwards`."""
        with self._lock:
            counts = self._by_lm.get(lm) or self._of(lm)
            counts.calls += 1
            counts.cache_hits += 1
        if self.whole is not None and upwards:
            self.whole.add_hit(lm)

    def add(
        self,
        lm: str,
        attempts: int,
        usage: Mapping[str, Any],
        cost: float | None,
        *,
        upwards: bool = True,
    ) -> None:
        """Count a call of `lm` that its server answered with the `usage` that it reports.

        It counts in the whole, too, if `upwards`.
        """
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        with self._lock:
            counts = self._of(lm)
            counts.calls += 1
            counts.attempts += attempts
            counts.prompt_tokens += prompt
            counts.completion_tokens += completion
            counts.total_tokens += _count(usage, "total_tokens") or prompt + completion
            counts.cached_tokens += _count(usage.get("prompt_tokens_details"), "cached_tokens")
            counts.reasoning_tokens += _count(
                usage.get("completion_tokens_details"), "reasoning_tokens"
            )
            if cost is None:
                counts.unpriced += 1
            else:
                counts.cost += cost
        if self.whole is not None and upwards:
            self.whole.add(lm, attempts, usage, cost)

    def _of(self, lm: str) -> Any:
        counts = self._by_lm.get(lm)
        if counts is None:
            counts = self._by_lm[lm] = _Counts()
        return counts

    @property
    def total(self) -> Usage:
        """What all of the calls used."""
        total = Usage()
        for usage in self.by_lm.values():
            total += usage
        return total

    @property
    def by_lm(self) -> dict[str, Usage]:
        """What each LM used, by its name."""
        with self._lock:
            return {lm: Usage(**structs.asdict(counts)) for lm, counts in self._by_lm.items()}

    def __getitem__(self, lm: str) -> Usage:
        return self.by_lm.get(lm, Usage())

    def __repr__(self) -> str:
        return f"<Tally {self.total}>"


_tracking: ContextVar[tuple[Tally, ...]] = ContextVar("lmconf_tracking", default=())


tracking = _tracking.get
"""Return the tallies of the `track_usage` blocks that surround the caller."""


@contextlib.contextmanager
def track_usage() -> Iterator[Tally]:
    """Count the usage of the calls made inside the block.

        with lmconf.track_usage() as usage:
            lm("…")
        usage.total.cost, usage["gpt"].prompt_tokens, usage.by_lm

    Tasks that are started inside the block count, and the calls of `LM.batch`; a plain thread
    sees the block if it runs in a copy of its context (`contextvars.copy_context().run`). Blocks
    may be nested, and each counts. Failed calls are not counted.

    Yields:
        The tally of the block.
    """
    tally = Tally()
    _tracking.set((*_tracking.get(), tally))
    try:
        yield tally
    finally:
        # By identity: generators leave their blocks in any order, and in other contexts.
        _tracking.set(tuple(other for other in _tracking.get() if other is not tally))


def _count(usage: Any, name: str) -> int:
    """Return a count of tokens; servers that leave one out, or say null, counted none."""
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) else 0
