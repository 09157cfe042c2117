"""How much may be asked at once, and what may be spent: decisions, carried out by the runtime."""

from __future__ import annotations

from lmconf.limits.estimates import answer_tokens, prompt_tokens
from lmconf.limits.gate import Gate, Permit, Share
from lmconf.limits.shared import gate_of, mark_of
from lmconf.limits.specs import Limits
from lmconf.limits.spending import Amount, Ledger, Most, NotKept, Period, period_of

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
