"""What a call may cost is taken from a budget, and given back once, whoever was quicker."""

from __future__ import annotations

import threading

import pytest

from lmconf.budgets.ledger import MemoryLedger
from lmconf.errors import BudgetExceeded
from lmconf.limits import Amount, Period, SpendingLimit
from lmconf.runtime.layers.budget import Charge
from lmconf.spec.policies import Budget

HUNDRED = Amount(0.0, 100)


class Slow(MemoryLedger):
    """Keeps amounts, and takes one when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.going_on = threading.Event(), threading.Event()

    def spend(
        self, account: str, period: Period, more: Amount, most: SpendingLimit
    ) -> Amount | None:
        self.asked.set()
        assert self.going_on.wait(30)
        return super().spend(account, period, more, most)


def charge_of(ledger: MemoryLedger) -> Charge:
    charge = Charge("lm:a", "lm", "this LM", Budget(tokens=250))
    charge.ledger = ledger
    return charge


def spent(charge: Charge) -> int:
    with pytest.raises(BudgetExceeded) as caught:
        charge.reservation(Amount(0.0, 10**6)).take()
    return int(caught.value.spent)


def test_it_is_settled_once() -> None:
    charge = charge_of(MemoryLedger())
    first, second = charge.reservation(HUNDRED), charge.reservation(HUNDRED)
    first.take()
    second.take()
    first.settle(Amount(0.0, 30))
    first.settle(Amount())
    first.settle_soon(Amount())
    assert spent(charge) == 130
    second.settle(None)
    second.settle(Amount())
    assert spent(charge) == 130


def test_what_was_not_taken_is_not_given_back() -> None:
    charge = charge_of(MemoryLedger())
    charge.reservation(HUNDRED).take()
    refused = charge.reservation(Amount(0.0, 200))
    with pytest.raises(BudgetExceeded):
        refused.take()
    refused.settle(Amount())
    assert spent(charge) == 100


def test_a_call_that_is_cancelled_while_a_thread_takes_its_part_gives_it_back() -> None:
    ledger = Slow()
    charge = charge_of(ledger)
    reservation = charge.reservation(HUNDRED)
    taking = threading.Thread(target=reservation.take)
    taking.start()
    assert ledger.asked.wait(30)
    reservation.settle(Amount())
    ledger.going_on.set()
    taking.join(30)
    assert spent(charge) == 0
