"""The budgets that a call is charged to, and what it may cost and costs at stated prices."""

from __future__ import annotations

import functools
import os
import time
import warnings
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from lmconf import caches
from lmconf.caches.specs import DiskStore, RedisStore
from lmconf.errors import BudgetExceeded, CallError
from lmconf.forking import Mutex
from lmconf.limits import Amount, Ledger, Most, NotKept, period_of
from lmconf.limits.spending import MemoryLedger
from lmconf.profile.compiled import Compiled
from lmconf.profile.lm import LMSpec
from lmconf.profile.policies import Budget, Pricing
from lmconf.profile.providers import provider_of
from lmconf.runtime.afterwards import afterwards

__all__ = ["BudgetWarning", "Charge", "Reservation", "charges_of", "price", "priced"]


_PATIENCE = 1.0
"""Seconds that a call waits for what streams have still to give back."""


class BudgetWarning(UserWarning):
    """What a call spent could not be written down; its answer is returned all the same."""


class Charge:
    """One budget that the calls of an LM are charged to, under the name `account`.

    `called` is what messages call `whose` it is.
    """

    def __init__(
        self, account: str, whose: Literal["lm", "profile"], called: str, budget: Budget
    ) -> None:
        self.account = account
        self.whose = whose
        self.called = called
        self.budget = budget
        self.most = Most(budget.cost_usd, budget.tokens)
        self.ledger = _ledger_of(budget)

    def reservation(self, estimate: Amount) -> Reservation:
        """Return a part of the budget that is not taken yet."""
        return Reservation(self, estimate)


class Reservation:
    """What a call may cost, counted as spent until it is known what it did cost."""

    def __init__(self, charge: Charge, estimate: Amount) -> None:
        self._charge = charge
        self._estimate = estimate
        self._period = period_of(charge.budget.per, time.time())
        self._process = os.getpid()
        self._lock = Mutex()
        self._taken = self._settled = False

    @property
    def blocks(self) -> bool:
        """Whether `take` and `settle` may wait for a disk or a network."""
        return self._charge.ledger.blocks

    def take(self) -> None:
        """Take the part.

        Raises:
            BudgetExceeded: there is not as much left.
            CallError: what was spent cannot be kept.
        """
        charge = self._charge
        if self.blocks:
            afterwards().prepare()
            # What streams gave back since is there for this call.
            afterwards().finish(_PATIENCE)
        failure: NotKept | None = None
        spent = None
        try:
            spent = charge.ledger.spend(charge.account, self._period, self._estimate, charge.most)
        except NotKept as error:
            failure = error
        if failure is not None:
            raise CallError(
                f"what {charge.called} has spent cannot be kept: {failure}",
                setting="budget",
                help=f"{failure.help}; a call that cannot be counted is not sent",
            )
        if spent is not None:
            raise self._exceeded(spent)
        with self._lock:
            self._taken, late = True, self._settled
        if late:  # the call was cancelled while another thread was at it
            self._add(-self._estimate)

    def settle(self, used: Amount | None) -> None:
        """Count what the call `used`, in the place of the estimate; None lets that stand.

        It is done once, whoever asks for it again: not by a forked child, either.
        """
        with self._lock:
            if self._settled or self._process != os.getpid():
                return
            self._settled, taken = True, self._taken
        if taken and used is not None:
            self._add(used + -self._estimate)

    def settle_soon(self, used: Amount | None) -> None:
        """Do what `settle` does, without waiting for anything."""
        if self.blocks:
            afterwards().do(lambda: self.settle(used))
        else:
            self.settle(used)

    def _add(self, more: Amount) -> None:
        try:
            self._charge.ledger.add(self._charge.account, self._period, more)
        except NotKept as error:
            warnings.warn(
                f"what {self._charge.called} has spent is not up to date: {error}",
                BudgetWarning,
                stacklevel=2,
            )

    def _exceeded(self, spent: Amount) -> BudgetExceeded:
        most, budget, more = self._charge.most, self._charge.budget, self._estimate
        if not Most(cost=most.cost).has_room(spent, more):
            unit, limit, gone, asked = "cost_usd", most.cost or 0.0, spent.cost, more.cost
            texts = [f"${amount:.6g}" for amount in (limit, gone, asked)]
        else:
            unit, limit, gone, asked = "tokens", most.tokens or 0, spent.tokens, more.tokens
            texts = [f"{limit:,} tokens", f"{gone:,}", f"{asked:,}"]
        resets = self._period.ends
        help_ = f"raise `budget.{unit}`, or lower `max_tokens`"
        if resets is not None:
            date = datetime.fromtimestamp(resets, timezone.utc)
            help_ += f"; the next {budget.per} begins at {date:%Y-%m-%d %H:%M} UTC"
        return BudgetExceeded(
            f"the budget of {self._charge.called} is {texts[0]} per {budget.per}: {texts[1]} is"
            f" spent, and this call may use {texts[2]}",
            whose=self._charge.whose,
            unit=unit,
            spent=gone,
            estimate=asked,
            limit=limit,
            resets=resets,
            setting="budget",
            help=help_,
        )


def charges_of(compiled: Compiled) -> tuple[Charge, ...]:
    """Return the budgets that the LM's calls are charged to: its own, and its profile's."""
    charges = []
    if compiled.spec.budget is not None:
        # A mapping or a state has no name of its own.
        model = f" {compiled.spec.model}" if compiled.name.startswith("<") else ""
        account = f"lm:{compiled.name}{model}"
        charges.append(Charge(account, "lm", "this LM", compiled.spec.budget))
    if compiled.profile_budget is not None:
        name, budget = compiled.profile_budget
        charges.append(Charge(f"profile:{name}", "profile", f"the profile `{name}`", budget))
    return tuple(charges)


def price(spec: LMSpec, usage: Mapping[str, int]) -> float | None:
    """Return what `usage` may cost with `spec`, in US dollars: as if nothing were cached.

    None where no price is known.
    """
    if spec.pricing is not None:
        return priced(spec.pricing, usage)
    from lmconf.transports import prices

    prompt, answer = usage["prompt_tokens"], usage["completion_tokens"]
    rates = prices.rates(*provider_of(spec.model), spec.base_model, prompt)
    return None if rates is None else prompt * rates[0] + answer * rates[1]


def priced(pricing: Pricing, usage: Mapping[str, Any]) -> float:
    """Return what `usage` costs at the stated prices, in US dollars."""
    prompt = usage.get("prompt_tokens") or 0
    details = usage.get("prompt_tokens_details") or {}
    cached = 0
    if pricing.cached_input is not None:
        cached = min(details.get("cached_tokens") or 0, prompt)
    total = (
        (prompt - cached) * pricing.input
        + cached * (pricing.cached_input or 0.0)
        + (usage.get("completion_tokens") or 0) * pricing.output
    )
    return total / 1_000_000


@functools.cache
def _memory() -> MemoryLedger:
    # A run is a process, and so is what it spends.
    return MemoryLedger()


def _ledger_of(budget: Budget) -> Ledger:
    match budget.store:
        case DiskStore(path=path):
            from lmconf.limits.disk import DiskLedger

            return DiskLedger(path or caches.default_folder())
        case RedisStore(url=url, namespace=namespace) as store:
            from lmconf.limits.redis import RedisLedger
            from lmconf.redis_link import see_that_redis_is_installed

            see_that_redis_is_installed()
            return caches.shared(
                ("spending", url, namespace),
                lambda: RedisLedger(functools.partial(caches.address_of, store), namespace),
            )
        case _:
            return _memory()
