"""What is known of a call that was answered: its answer and its entry in the history, made of it
when somebody asks for them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from lmconf.errors import Cause
from lmconf.runtime.answer import Answer, outputs_of
from lmconf.runtime.history import Entry
from lmconf.runtime.request import kwargs_of
from lmconf.runtime.stored import StoredResponse
from lmconf.spec.lm import LMSpec
from lmconf.transports import Json

__all__ = ["CallId", "CallResult", "id_text"]

CallId: TypeAlias = tuple[str, int, int]
"""What tells a call from all others: the LM's random prefix, the process, and a count."""


def id_text(call_id: CallId) -> str:
    """Return an id as 32 hexadecimal digits."""
    prefix, process, count = call_id
    return f"{prefix}{process & 0xFFFFFF:06x}{count:010x}"


class CallResult(Struct, eq=False):
    """What came of a call; it holds nothing that would keep the call's LM alive.

    `body` is the response, or what a store held of it. `lm` and `spec` are those of the LM that
    answered. Times are in seconds.
    """

    body: Json | StoredResponse
    lm: str
    spec: LMSpec
    cost: float | None
    cache_hit: bool
    attempts: int
    request_id: str | None
    parsed: object
    prompt: str | None
    messages: list[dict[str, Any]]
    id: CallId
    time: float
    duration: float
    waited: float
    causes: tuple[Cause, ...]
    cached_answer: Answer | None = None
    cached_entry: Entry | None = None

    @property
    def answer(self) -> Answer:
        """The answer, the same one each time."""
        if self.cached_answer is None:
            body = self.body
            self.cached_answer = Answer.of(
                body.response if isinstance(body, StoredResponse) else body,
                lm=self.lm,
                model=self.spec.model,
                cost=self.cost,
                cache_hit=self.cache_hit,
                attempts=self.attempts,
                request_id=self.request_id,
                parsed=self.parsed,
            )
        return self.cached_answer

    @property
    def entry(self) -> Entry:
        """What the history keeps, the same entry each time."""
        if self.cached_entry is None:
            answer = self.answer
            self.cached_entry = {
                "prompt": self.prompt,
                "messages": self.messages,
                "kwargs": kwargs_of(self.spec),
                "response": answer.response,
                "outputs": outputs_of(answer.response),
                "usage": answer.usage,
                "cost": answer.cost,
                "timestamp": self.time,
                "uuid": id_text(self.id),
                "model": self.spec.model,
                "model_type": self.spec.model_type,
                "response_model": answer.model,
                "lm": answer.lm,
                "cache_hit": answer.cache_hit,
                "finish_reason": answer.finish_reason,
                "latency": self.duration,
                "attempts": answer.attempts,
                "waited": self.waited,
                "causes": self.causes,
                "request_id": answer.request_id,
            }
        return self.cached_entry
