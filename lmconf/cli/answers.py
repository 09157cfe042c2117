"""Answers as data for programs to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmconf.runtime.answer import Answer

__all__ = ["plain"]


def plain(answer: Answer) -> dict[str, Any]:
    """Return what is known of `answer` as data that the json module writes."""
    from lmconf.spec.frozen import thaw

    return {
        "text": answer.text,
        "texts": list(answer.texts),
        "lm": answer.lm,
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "parsed": thaw(answer.parsed),
        "reasoning": answer.reasoning,
        "tool_calls": thaw(answer.tool_calls),
        "usage": thaw(answer.usage),
        "cost": answer.cost,
        "cache_hit": answer.cache_hit,
        "attempts": answer.attempts,
        "request_id": answer.request_id,
        "logprobs": thaw(answer.logprobs),
    }
