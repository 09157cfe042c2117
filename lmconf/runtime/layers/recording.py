"""The outermost layer: it keeps what was asked and answered, counts, and tells the callbacks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lmconf.callbacks import End, Failure, Start
from lmconf.errors import BadResponse, CallError, Cause
from lmconf.profile.formats import Misfit
from lmconf.profile.providers import provider_of
from lmconf.runtime.answer import Answer, outputs_of
from lmconf.runtime.call import Call, Next, Reply, Steps
from lmconf.runtime.history import Entry
from lmconf.runtime.identity import settings_of
from lmconf.runtime.settings import settings
from lmconf.runtime.telling import complete
from lmconf.transports import REQUEST_ID, Json

__all__ = ["record"]


def record(call: Call, following: Next) -> Steps:
    """Keep what was asked and answered, and tell the callbacks."""
    parts = call.parts
    if call.dispatcher:
        call.id = parts.new_id()
        call.dispatcher.start(
            Start(
                call_id=call.id,
                lm=parts.name,
                model=call.spec.model,
                time=call.time,
                request=_told(call),
                provider=provider_of(call.spec.model)[0],
                model_type=call.spec.model_type,
                stream=call.stream,
            )
        )
    try:
        reply = yield from following(call)
    except BaseException as error:
        _tell_failure(call, error)
        raise
    if reply.response is not None:
        _note(call, reply, reply.response)
    else:
        reply.when_done(
            lambda response: _note(call, reply, response),
            lambda error: _tell_failure(call, error, reply.by),
        )
    return reply


def _note(call: Call, reply: Reply, response: Json) -> None:
    """Make the answer of a call, add it to the history and tell the callbacks."""
    parts, by = call.parts, reply.by or call
    request_id = reply.request_id or response.pop(REQUEST_ID, None)
    cost = None if reply.cache_hit else by.parts.cost_of(by, response)
    parsed, misfit = by.reading_of(response)
    usage = {} if reply.cache_hit else response.get("usage") or {}
    make = functools.partial(
        Answer.of,
        response,
        lm=by.parts.name,
        model=by.spec.model,
        cost=cost,
        cache_hit=reply.cache_hit,
        attempts=call.attempts,
        request_id=request_id,
        parsed=parsed,
    )
    reply.is_answered(make)
    if misfit is not None:
        reply.misfit = _misfit(make(), misfit, by)
    _count(call, by, reply, usage, cost)
    duration = time.monotonic() - call.started
    if parts.history.kept and not settings.disable_history:
        entry = functools.partial(_entry, make, _facts(call, by, duration))
        # What was said is put together when somebody reads it: most entries are never read.
        parts.history.append(entry if parts.history.content else entry(content=False))
    if call.dispatcher:
        by.tell(
            End,
            duration=duration,
            cache_hit=reply.cache_hit,
            attempts=call.attempts,
            usage=usage,
            cost=cost,
            response=response,
            request=_told(by),
            waited=call.waited,
            first_token=by.first_token,
            request_id=request_id,
            causes=tuple(call.causes),
        )


def _count(
    call: Call, by: Call, reply: Reply, usage: Mapping[str, Any], cost: float | None
) -> None:
    """Count an answer to the LM that was called, and to the one that gave it."""
    mine, theirs = call.parts.tally, by.parts.tally
    if reply.cache_hit and theirs is mine and not call.tallies:
        mine.add_hit(by.parts.name)
        return
    name = by.parts.name
    # Both may add up to the same profile's total, where one answer counts once.
    apart = theirs is not mine
    tallies = [(mine, True), *((tally, True) for tally in call.tallies)]
    if apart:
        tallies.append((theirs, theirs.whole is not mine.whole))
    for tally, upwards in tallies:
        if reply.cache_hit:
            tally.add_hit(name, upwards=upwards)
        else:
            tally.add(name, by.attempts, usage, cost, upwards=upwards)


class _Facts(NamedTuple):
    """What is known of a call, without what would keep its LM alive."""

    prompt: str | None
    messages: list[dict[str, Any]]
    kwargs: Mapping[str, Any]
    time: float
    uuid: str
    model: str
    model_type: str
    duration: float
    waited: float
    causes: tuple[Cause, ...]


def _facts(call: Call, by: Call, duration: float) -> _Facts:
    return _Facts(
        call.prompt,
        call.messages,
        by.parts.plan_of(by.spec).kwargs,
        call.time,
        call.id or call.parts.new_id(),
        by.spec.model,
        by.spec.model_type,
        duration,
        call.waited,
        tuple(call.causes),
    )


def _entry(make: Callable[[], Answer], facts: _Facts, *, content: bool = True) -> Entry:
    """Return what the history keeps of a call."""
    answer = make()
    return {
        "prompt": facts.prompt if content else None,
        "messages": facts.messages if content else None,
        "kwargs": dict(facts.kwargs),
        "response": answer.response if content else None,
        "outputs": outputs_of(answer.response) if content else None,
        "usage": answer.usage,
        "cost": answer.cost,
        "timestamp": facts.time,
        "uuid": facts.uuid,
        "model": facts.model,
        "model_type": facts.model_type,
        "response_model": answer.model,
        "lm": answer.lm,
        "cache_hit": answer.cache_hit,
        "finish_reason": answer.finish_reason,
        "latency": facts.duration,
        "attempts": answer.attempts,
        "waited": facts.waited,
        "causes": facts.causes,
        "request_id": answer.request_id,
    }


def _misfit(answer: Answer, why: Misfit, call: Call) -> BadResponse:
    """Return the failure of an answer that has not the form that was asked for."""
    if answer.truncated:
        message = "the answer was cut short by `max_tokens`, and is not whole"
        help_ = f"raise `max_tokens`, which is {call.spec.max_tokens}"
    else:
        message = f"the answer has not the form that `response_format` asks for: {why}"
        help_ = "name the form in the prompt too, or ask a model that keeps to it"
    return BadResponse(
        message,
        lm=answer.lm,
        attempts=answer.attempts,
        request_id=answer.request_id,
        retryable=False,
        partial=answer.text,
        help=help_,
    )


def _tell_failure(call: Call, error: BaseException, by: Call | None = None) -> None:
    """Tell of a failure; `by` stood in for the call, whose stream broke."""
    parts = (by or call).parts
    if isinstance(error, CallError):
        # After a failure of its own, the causes hold those of the fallbacks, too.
        error.causes = tuple(call.causes) or error.causes
        complete(
            error,
            parts.compiled,
            (by or call).spec,
            # With fallbacks, the failure is that of the first LM and has its own attempts.
            attempts=0 if error.fallbacks else call.attempts,
            waited=0.0 if error.fallbacks else call.waited,
            late=call.left <= 0,
        )
    if call.dispatcher:
        call.tell(
            Failure,
            duration=time.monotonic() - call.started,
            attempts=call.attempts,
            error=error,
            request=_told(call),
            waited=call.waited,
            first_token=call.first_token,
        )


def _told(call: Call) -> dict[str, object]:
    """Return what callbacks are told of a request: no header, no key, no address."""
    return {"messages": call.messages, "settings": settings_of(call.spec)}
