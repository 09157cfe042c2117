"""How much may be asked at once, and what may be spent: decisions, carried out by the runtime."""

from __future__ import annotations

from lmconf.budgets.ledger import Amount, Ledger, Most, NotKept, Period, period_of
from lmconf.limits.gate import Gate, Permit, Share, gate_of, mark_of
from lmconf.limits.specs import Limits
from lmconf.limits.tokens import answer_tokens, prompt_tokens

__all__ = [
    "Amount",
    "Gate",
    "Ledger",
    "Limits",
    "Most",
    "NotKept",
    "Period",
    "Permit",
    "Share",
    "answer_tokens",
    "gate_of",
    "mark_of",
    "period_of",
    "prompt_tokens",
]
