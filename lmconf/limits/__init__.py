"""How much may be asked at once, and what may be spent: decisions, carried out by the runtime."""

from __future__ import annotations

from lmconf.limits.estimates import answer_tokens, prompt_tokens
from lmconf.limits.gate import Gate, Permit, Share
from lmconf.limits.shared import gate_of, mark_of
from lmconf.limits.specs import Limits

__all__ = [
    "Gate",
    "Limits",
    "Permit",
    "Share",
    "answer_tokens",
    "gate_of",
    "mark_of",
    "prompt_tokens",
]
