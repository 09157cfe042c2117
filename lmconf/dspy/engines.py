"""The engines of DSPy: a `dspy.lm15.Request` in, a `dspy.lm15.Response` out.

What DSPy keeps from an engine, the rollout's id and whether the cache may answer, reaches the LM
beneath through the context of the call; what DSPy's history lacks comes back the same way.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

from dspy import lm15

from lmconf.dspy.call_arguments import CallPlan, changed_settings
from lmconf.dspy.calls import aask, achunks, aopen_stream, ask, chunks, open_stream
from lmconf.dspy.failures import to_dspy_error
from lmconf.errors import Error
from lmconf.runtime import LM, Answer

__all__ = ["TYPED", "AsyncEngine", "Engine", "TypedCall", "pop_typed_request"]


class TypedCall:
    """What one call with a typed request has beside the request, and the answers to it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.answers: list[Answer] = []


TYPED: ContextVar[TypedCall | None] = ContextVar("lmconf_dspy_typed", default=None)


def pop_typed_request(prompt: Any, kwargs: dict[str, Any]) -> Any:
    """Return the typed request among the arguments, taken out of `kwargs`; None if there is none.

    A request beside a prompt is left for DSPy to refuse.
    """
    if isinstance(prompt, lm15.Request):
        return prompt
    if prompt is None:
        return kwargs.pop("request", None)
    return None


class _EngineBase:
    """What both engines share. An engine has no state but the LM that it asks."""

    def __init__(self, lm: LM) -> None:
        self._lm = lm

    def _plan(self, request: Any) -> CallPlan:
        body = _body_of(request)
        messages = body.pop("messages")
        settings = changed_settings({}, body, self._lm)
        call = TYPED.get()
        if call is not None:
            settings.update(call.settings)
        return CallPlan(prompt=None, messages=messages, settings=settings, logprobs=False)

    def _to_dspy_error(self, error: Error) -> Error:
        return to_dspy_error(error, self._lm.spec.model)


class Engine(_EngineBase):
    """Asks the LM beneath from ordinary code."""

    def complete(self, request: Any) -> Any:
        """Return the LM's response to `request`."""
        failure: Error
        try:
            plan = self._plan(request)
            answer = ask(self._lm, plan)
        except Error as error:
            failure = self._to_dspy_error(error)
        else:
            return _response_of(answer)
        raise failure

    def stream(self, request: Any) -> Iterator[Any]:
        """Yield the events of the LM's response to `request`."""
        failure: Error
        try:
            plan = self._plan(request)
            with open_stream(self._lm, plan) as pieces:
                is_started = False
                for chunk in chunks(pieces):
                    yield from _events_of(chunk, is_started)
                    is_started = True
                yield from _ending(pieces.answer, is_started)
        except Error as error:
            failure = self._to_dspy_error(error)
        else:
            return
        raise failure

    def close(self) -> None:
        """Leave the LM open: it belongs to whoever made it."""


class AsyncEngine(_EngineBase):
    """Asks the LM beneath from an event loop."""

    async def complete(self, request: Any) -> Any:
        """Return the LM's response to `request`."""
        failure: Error
        try:
            plan = self._plan(request)
            answer = await aask(self._lm, plan)
        except Error as error:
            failure = self._to_dspy_error(error)
        else:
            return _response_of(answer)
        raise failure

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        """Yield the events of the LM's response to `request`."""
        failure: Error
        try:
            plan = self._plan(request)
            async with aopen_stream(self._lm, plan) as pieces:
                is_started = False
                async for chunk in achunks(pieces):
                    for event in _events_of(chunk, is_started):
                        yield event
                    is_started = True
                for event in _ending(pieces.answer, is_started):
                    yield event
        except Error as error:
            failure = self._to_dspy_error(error)
        else:
            return
        raise failure

    async def aclose(self) -> None:
        """Leave the LM open: it belongs to whoever made it."""


class _NullTransport:
    """A transport that sends nothing: requests are written out, and sent by the LM beneath."""

    def stream(self, request: Any) -> Any:
        raise AssertionError("nothing is sent from here")


def _body_of(request: Any) -> dict[str, Any]:
    """Return `request` as the body of the chat completions API: what DSPy itself would send."""
    writer = lm15.OpenAIChatLM(api_key="none", transport=_NullTransport())
    body: dict[str, Any] = json.loads(writer.build_request(request, False).body)
    for name in ("model", "stream", "stream_options"):
        body.pop(name, None)
    return body


def _response_of(answer: Answer) -> Any:
    """Return `answer` as DSPy's response, with the usage that was paid for."""
    call = TYPED.get()
    if call is not None:
        call.answers.append(answer)
    body = {**answer.response, "model": answer.model, "usage": dict(answer.usage) or None}
    if "message" not in body["choices"][0]:
        text = body["choices"][0].get("text")
        body["choices"] = [
            {**body["choices"][0], "message": {"role": "assistant", "content": text}}
        ]
    return lm15.response_from_openai_chat(body, model=answer.model)


def _events_of(chunk: dict[str, Any], is_started: bool) -> Iterator[Any]:
    if not is_started:
        yield lm15.StreamStartEvent(id=chunk.get("id"), model=chunk.get("model"))
    choice = chunk["choices"][0]
    delta = choice.get("delta") or {"content": choice.get("text")}
    if delta.get("reasoning_content"):
        yield lm15.StreamDeltaEvent(delta=lm15.ThinkingDelta(text=delta["reasoning_content"]))
    if delta.get("content"):
        yield lm15.StreamDeltaEvent(delta=lm15.TextDelta(text=delta["content"]))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        call_delta = lm15.ToolCallDelta(
            input=function.get("arguments") or "",
            part_index=call.get("index") or 0,
            id=call.get("id"),
            name=function.get("name"),
        )
        yield lm15.StreamDeltaEvent(delta=call_delta)


def _ending(answer: Answer, is_started: bool) -> Iterator[Any]:
    response = _response_of(answer)
    if not is_started:
        yield from lm15.response_to_events(response)
        return
    yield lm15.StreamEndEvent(finish_reason=response.finish_reason, usage=response.usage)
