"""The `dspy.LM` for DSPy 3.4 and later: an engine for typed requests, messages as they are.

What DSPy calls an engine is asked with a `dspy.lm15.Request`. Building one from messages refuses
what that type has no place for (a file's name, parameters of one provider) and drops the
rollout's id, so a call with a prompt or messages goes straight to the LM beneath.
"""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import dspy
from dspy import lm15
from dspy.clients.call_context import stream_emitted
from dspy.clients.engines.streaming import EngineChunk
from dspy.utils.callback import with_callbacks

from lmconf.dspy.call_arguments import CallPlan
from lmconf.dspy.calls import chunk_of
from lmconf.dspy.engines import TYPED, AsyncEngine, Engine, TypedCall
from lmconf.dspy.response_shapes import outputs_of, response_of
from lmconf.dspy.wrapped import LMAdapter
from lmconf.runtime.answer import Answer
from lmconf.runtime.lm import LM
from lmconf.system.tracebacks import hide_frames

__all__ = ["AdaptedLM"]


class AdaptedLM(LMAdapter, dspy.LM):
    """An LM of lmconf as a `dspy.LM` of DSPy 3.4 or later."""

    # Whatever `cache` says is for the LM beneath: DSPy keeps none of its answers.
    _cache_responses = False

    def _engines(self, lm: LM) -> dict[str, Any]:
        return {"engine": Engine(lm), "async_engine": AsyncEngine(lm)}

    def _chunk(self, chunk: dict[str, Any], listener: int | None) -> Any:
        return EngineChunk(chunk_of(chunk, listener))

    def _note_emitted(self) -> None:
        stream_emitted()

    @hide_frames
    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Return what the LM answers: texts, mappings, or a `Response` to a typed request."""
        request = _pop_typed_request(prompt, kwargs)
        if request is None:
            return self._call(prompt=prompt, messages=messages, **kwargs)
        token = self._enter(kwargs)
        try:
            return super().__call__(request=request, messages=messages, cache=False, **kwargs)
        finally:
            TYPED.reset(token)

    @hide_frames
    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Return what calling the LM returns, from an event loop."""
        request = _pop_typed_request(prompt, kwargs)
        if request is None:
            return await self._acall(prompt=prompt, messages=messages, **kwargs)
        token = self._enter(kwargs)
        try:
            return await super().acall(request=request, messages=messages, cache=False, **kwargs)
        finally:
            TYPED.reset(token)

    @with_callbacks
    def _call(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        plan = self._plan(prompt, messages, kwargs)
        return self._told(prompt, messages, kwargs, plan, self._ask(plan))

    @with_callbacks
    async def _acall(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        plan = self._plan(prompt, messages, kwargs)
        return self._told(prompt, messages, kwargs, plan, await self._aask(plan))

    def _told(
        self, prompt: Any, messages: Any, kwargs: dict[str, Any], plan: CallPlan, answer: Answer
    ) -> list[Any]:
        """Return DSPy's outputs, having noted usage and history as DSPy does."""
        response = response_of(answer)
        outputs = outputs_of(response, logprobs=plan.logprobs)
        tracker = dspy.settings.usage_tracker
        if tracker and not answer.cache_hit:
            tracker.add_usage(self.model, dict(answer.usage))
        if not dspy.settings.disable_history:
            entry = {
                "prompt": prompt,
                "messages": messages,
                "kwargs": {key: kwargs[key] for key in kwargs if not key.startswith("api_")},
                "response": response,
                "outputs": outputs,
                "usage": dict(answer.usage),
                "cost": answer.cost,
                "timestamp": datetime.datetime.now().isoformat(),  # noqa: DTZ005 - as DSPy's are
                "uuid": str(uuid.uuid4()),
                "model": self.model,
                "response_model": answer.model,
                "model_type": self.model_type,
                "cache_hit": answer.cache_hit,
            }
            self.update_history(entry)
        return outputs

    def _enter(self, kwargs: dict[str, Any]) -> Any:
        """Take from `kwargs` what DSPy keeps from engines, into the context of this call."""
        settings: dict[str, Any] = {}
        rollout = kwargs.pop("rollout_id", self.kwargs.get("rollout_id"))
        if rollout is not None:
            settings["rollout_id"] = rollout
        cache = kwargs.pop("cache", self.cache)
        if cache != self._keeps:
            settings["cache"] = cache
        return TYPED.set(TypedCall(settings))

    def update_history(self, entry: dict[str, Any]) -> None:
        """Keep `entry`; that of a typed request gets the price and cache hit of this LM's own."""
        typed = TYPED.get()
        if entry.get("request") is not None and typed is not None and typed.answers:
            answer = typed.answers[-1]
            entry.pop("cost_details", None)
            entry.update(
                cost=answer.cost,
                cache_hit=answer.cache_hit,
                # The `cache` in it is what this class told DSPy.
                kwargs={
                    **{k: v for k, v in entry["kwargs"].items() if k != "cache"},
                    **typed.settings,
                },
            )
        super().update_history(entry)


def _pop_typed_request(prompt: Any, kwargs: dict[str, Any]) -> Any:
    """Return the typed request among the arguments, taken out of `kwargs`; None if there is none.

    A request beside a prompt is left for DSPy to refuse.
    """
    if isinstance(prompt, lm15.Request):
        return prompt
    if prompt is None:
        return kwargs.pop("request", None)
    return None
