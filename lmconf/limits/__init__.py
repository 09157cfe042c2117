"""How much may be asked at once, and what may be spent: decisions, carried out by the runtime."""

from __future__ import annotations

from lmconf.budgets.ledger import (
    Amount,
    Ledger,
    LedgerUnavailable,
    Period,
    SpendingLimit,
    period_of,
)
from lmconf.limits.gate import Gate, Permit, Share, gate_key, gate_of
from lmconf.limits.specs import Limits
from lmconf.limits.tokens import answer_tokens, prompt_tokens

__all__ = [
    "Amount",
    "Gate",
    "Ledger",
    "LedgerUnavailable",
    "Limits",
    "Period",
    "Permit",
    "Share",
    "SpendingLimit",
    "answer_tokens",
    "gate_key",
    "gate_of",
    "period_of",
    "prompt_tokens",
]
