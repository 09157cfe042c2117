"""The layer that refuses the call that would exceed a budget, and counts what the others cost."""

from __future__ import annotations

import functools
import os
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

from lmconf import caches
from lmconf.budgets.ledger import MemoryLedger
from lmconf.caches.specs import DiskStore, RedisStore
from lmconf.errors import BadResponse, BudgetExceeded, CallError, Closed, Error, Timeout
from lmconf.limits import (
    Amount,
    Ledger,
    LedgerUnavailable,
    SpendingLimit,
    answer_tokens,
    period_of,
    prompt_tokens,
)
from lmconf.providers.catalogue import provider_of
from lmconf.runtime.call import Call, Command, Next, Perform, Steps
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.spec.policies import Budget, Pricing
from lmconf.system.background import background_worker
from lmconf.system.fork import Mutex
from lmconf.transports import Json

__all__ = [
    "BudgetWarning",
    "Charge",
    "Reservation",
    "budget_charges",
    "enforce_budgets",
    "estimate_price",
    "stated_price",
]

_PATIENCE = 1.0
"""Seconds that a call waits for what streams have still to give back."""


class BudgetWarning(UserWarning):
    """What a call spent could not be written down; its answer is returned all the same."""


class Charge:
    """One budget that the calls of an LM are charged to, under the name `account`.

    `label` is what messages call `whose` it is.
    """

    def __init__(
        self, account: str, whose: Literal["lm", "profile"], label: str, budget: Budget
    ) -> None:
        self.account = account
        self.whose = whose
        self.label = label
        self.budget = budget
        self.most = SpendingLimit(budget.cost_usd, budget.tokens)
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
        self._is_taken = self._is_settled = False

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
            background_worker().prepare()
            # What streams gave back since is there for this call.
            background_worker().finish(_PATIENCE)
        failure: LedgerUnavailable | None = None
        spent = None
        try:
            spent = charge.ledger.spend(charge.account, self._period, self._estimate, charge.most)
        except LedgerUnavailable as error:
            failure = error
        if failure is not None:
            raise CallError(
                f"the spending of {charge.label} cannot be recorded: {failure}",
                setting="budget",
                help=f"{failure.help}; a call that cannot be counted is not sent",
            )
        if spent is not None:
            raise self._budget_exceeded(spent)
        with self._lock:
            self._is_taken, late = True, self._is_settled
        if late:  # the call was cancelled while another thread was at it
            self._add(-self._estimate)

    def settle(self, usage: Amount | None) -> None:
        """Count the `usage` of the call, in the place of the estimate; None lets that stand.

        It is done once, whoever asks for it again: not by a forked child, either.
        """
        with self._lock:
            if self._is_settled or self._process != os.getpid():
                return
            self._is_settled, was_taken = True, self._is_taken
        if was_taken and usage is not None:
            self._add(usage + -self._estimate)

    def settle_soon(self, usage: Amount | None) -> None:
        """Do what `settle` does, without waiting for anything."""
        if self.blocks:
            background_worker().do(lambda: self.settle(usage))
        else:
            self.settle(usage)

    def _add(self, more: Amount) -> None:
        try:
            self._charge.ledger.add(self._charge.account, self._period, more)
        except LedgerUnavailable as error:
            warnings.warn(
                f"the recorded spending of {self._charge.label} is not up to date: {error}",
                BudgetWarning,
                stacklevel=2,
            )

    def _budget_exceeded(self, spent: Amount) -> BudgetExceeded:
        most, budget, more = self._charge.most, self._charge.budget, self._estimate
        if not SpendingLimit(cost=most.cost).has_room(spent, more):
            unit, limit, past, estimate = "cost_usd", most.cost or 0.0, spent.cost, more.cost
            texts = [f"${amount:.6g}" for amount in (limit, past, estimate)]
        else:
            unit, limit, past, estimate = "tokens", most.tokens or 0, spent.tokens, more.tokens
            texts = [f"{limit:,} tokens", f"{past:,}", f"{estimate:,}"]
        resets = self._period.ends
        help_ = f"raise `budget.{unit}`, or lower `max_tokens`"
        if resets is not None:
            date = datetime.fromtimestamp(resets, timezone.utc)
            help_ += f"; the next {budget.per} begins at {date:%Y-%m-%d %H:%M} UTC"
        return BudgetExceeded(
            f"the budget of {self._charge.label} is {texts[0]} per {budget.per}: {texts[1]} is"
            f" spent, and this call may use {texts[2]}",
            whose=self._charge.whose,
            unit=unit,
            spent=past,
            estimate=estimate,
            limit=limit,
            resets=resets,
            setting="budget",
            help=help_,
        )


def budget_charges(compiled: CompiledLM) -> tuple[Charge, ...]:
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


def estimate_price(spec: LMSpec, usage: Mapping[str, int]) -> float | None:
    """Return what `usage` may cost with `spec`, in US dollars: as if nothing were cached.

    None where no price is known.
    """
    if spec.pricing is not None:
        return stated_price(spec.pricing, usage)
    from lmconf.providers import prices

    prompt, answer = usage["prompt_tokens"], usage["completion_tokens"]
    rates = prices.rates(*provider_of(spec.model), spec.base_model, prompt)
    return None if rates is None else prompt * rates[0] + answer * rates[1]


def stated_price(pricing: Pricing, usage: Mapping[str, Any]) -> float:
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
def _memory_ledger() -> MemoryLedger:
    # A run is a process, and so is what it spends.
    return MemoryLedger()


def _ledger_of(budget: Budget) -> Ledger:
    match budget.store:
        case DiskStore(path=path):
            from lmconf.budgets.disk import DiskLedger

            return DiskLedger(path or caches.default_folder())
        case RedisStore(url=url, namespace=namespace) as store:
            from lmconf.budgets.redis import RedisLedger
            from lmconf.system.redis import require_redis

            require_redis()
            return caches.shared_resource(
                ("spending", url, namespace),
                lambda: RedisLedger(functools.partial(caches.address_of, store), namespace),
            )
        case _:
            return _memory_ledger()


def enforce_budgets(call: Call, following: Next) -> Steps:
    """Send if the budgets of the call have room for what it may cost."""
    # No generator of its own: an LM without a budget does not pay for one.
    return following(call) if not call.parts.charges else _enforce(call, following)


def _enforce(call: Call, following: Next) -> Steps:
    spec = call.spec
    prompt = prompt_tokens(call.messages, spec.tools, spec.response_format)
    estimate = _amount(call, prompt, answer_tokens(spec.max_tokens, spec.n))
    reservations: list[Reservation] = []
    failure: Error
    try:
        for charge in call.parts.charges:
            reservation = charge.reservation(estimate)
            reservations.append(reservation)
            yield from _run_ledger_work((reservation,), reservation.take)
        reply = yield from following(call)
    except Error as error:
        failure = error  # it is raised when that is done
    except BaseException as error:
        # Cancelled, interrupted, dropped or a bug: nothing may be waited for.
        _settle_soon(reservations, _cost_of_failure(call, prompt, error))
        raise
    else:
        if reply.response is not None:
            usage = _cost_of_answer(call, reply.response)
            yield from _run_ledger_work(reservations, lambda: _settle(reservations, usage))
        else:
            reply.when_done(
                lambda response: _settle_soon(reservations, _cost_of_answer(call, response)),
                lambda error: _settle_soon(reservations, _cost_of_failure(call, prompt, error)),
            )
        return reply
    failure_cost = _cost_of_failure(call, prompt, failure)
    yield from _run_ledger_work(reservations, lambda: _settle(reservations, failure_cost))
    raise failure


def _run_ledger_work(
    reservations: Sequence[Reservation], work: Callable[[], None]
) -> Generator[Command, Any, None]:
    """Do `work` with reservations; where it may take long, the driver of the call does it."""
    if any(reservation.blocks for reservation in reservations):
        yield Perform(work)
    else:
        work()


def _settle(reservations: list[Reservation], usage: Amount | None) -> None:
    for reservation in reservations:
        reservation.settle(usage)


def _settle_soon(reservations: list[Reservation], usage: Amount | None) -> None:
    for reservation in reservations:
        reservation.settle_soon(usage)


def _amount(call: Call, prompt: int, answer: int) -> Amount:
    usage = {"prompt_tokens": prompt, "completion_tokens": answer}
    wants = any(charge.most.cost is not None for charge in call.parts.charges)
    return Amount((estimate_price(call.spec, usage) or 0.0) if wants else 0.0, prompt + answer)


def _cost_of_answer(call: Call, response: Json) -> Amount | None:
    """Return what an answer cost; None where its server does not say."""
    usage: Any = response.get("usage")
    if not isinstance(usage, Mapping):
        return None
    prompt, answer = (usage.get(f"{part}_tokens") or 0 for part in ("prompt", "completion"))
    total = usage.get("total_tokens") or prompt + answer
    if not total:
        return None
    cost = call.parts.cost_of(call, response)
    return Amount(_amount(call, prompt, answer).cost if cost is None else cost, total)


def _cost_of_failure(call: Call, prompt: int, error: BaseException) -> Amount | None:
    """Return what a call that failed has cost; None where the server may have done its work."""
    if call.attempts == 0:
        return Amount()
    if isinstance(error, Closed) or (isinstance(error, CallError) and error.partial):
        return _amount(call, prompt, prompt_tokens(({"content": error.partial},)))
    if isinstance(error, CallError) and not isinstance(error, (Timeout, BadResponse)):
        return Amount()
    return None
