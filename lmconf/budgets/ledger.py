"""What has been spent in which period, and whether more may be."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from lmconf.system.fork import Mutex

__all__ = [
    "Amount",
    "Ledger",
    "LedgerUnavailable",
    "MemoryLedger",
    "Per",
    "Period",
    "SpendingLimit",
    "period_of",
]

Per: TypeAlias = Literal["run", "hour", "day", "month"]


class Amount(Struct, frozen=True):
    """What calls cost: US dollars and tokens."""

    cost: float = 0.0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cost + other.cost, self.tokens + other.tokens)

    def __neg__(self) -> Amount:
        return Amount(-self.cost, -self.tokens)


class SpendingLimit(Struct, frozen=True):
    """What may be spent in a period; None is any amount."""

    cost: float | None = None
    tokens: int | None = None

    def has_room(self, spent: Amount, more: Amount) -> bool:
        """Say whether `more` may be spent where `spent` was already."""
        cost = self.cost is None or spent.cost + more.cost <= self.cost
        return cost and (self.tokens is None or spent.tokens + more.tokens <= self.tokens)


class Period(Struct, frozen=True):
    """The time that a budget is for: what it is called, and when it ends, in seconds since 1970.

    A run has no end.
    """

    name: str
    ends: float | None


def period_of(per: Per, now: float) -> Period:
    """Return the period that `now`, seconds since 1970, falls into: of UTC, or the run."""
    if per == "run":
        return Period("run", None)
    date = datetime.fromtimestamp(now, timezone.utc)
    hour = date.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if per == "hour":
        return Period(f"{date:%Y-%m-%dT%H}", (hour + timedelta(hours=1)).timestamp())
    if per == "day":
        return Period(f"{date:%Y-%m-%d}", (day + timedelta(days=1)).timestamp())
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Period(f"{date:%Y-%m}", following.timestamp())


class LedgerUnavailable(Exception):
    """What was spent cannot be read or written; the message says why, and `help` what to do."""

    def __init__(self, message: str, *, help: str) -> None:
        super().__init__(message)
        self.help = help


class Ledger(Protocol):
    """Keeps what accounts have spent. `blocks` says whether it may wait for a disk or a network."""

    blocks: bool

    def spend(
        self, account: str, period: Period, more: Amount, most: SpendingLimit
    ) -> Amount | None:
        """Add `more` to what `account` spent in `period`, if `most` has room for it.

        If not, nothing is added, and what was spent is returned. Two that ask at once never both
        get the last of it.

        Raises:
            LedgerUnavailable: it cannot be kept.
        """

    def add(self, account: str, period: Period, more: Amount) -> None:
        """Add `more`, which may be negative, whether there is room or not.

        Raises:
            LedgerUnavailable: it cannot be kept.
        """


class MemoryLedger:
    """Keeps what was spent in this process."""

    blocks = False

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], Amount] = {}
        # A stream that is dropped is settled by a finalizer, in whatever its thread was doing.
        self._lock = Mutex()

    def spend(
        self, account: str, period: Period, more: Amount, most: SpendingLimit
    ) -> Amount | None:
        """Add `more` if there is room; else return what was spent."""
        with self._lock:
            spent = self._spent.get((account, period.name), Amount())
            if not most.has_room(spent, more):
                return spent
            self.add(account, period, more)
            return None

    def add(self, account: str, period: Period, more: Amount) -> None:
        """Add `more`."""
        key = account, period.name
        with self._lock:
            self._spent[key] = self._spent.get(key, Amount()) + more
