"""The outermost layer: it keeps what was asked and answered, counts, and tells the callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from lmconf.callbacks import Dispatcher, End, Failure, Start
from lmconf.errors import BadResponse, CallError, Error
from lmconf.providers.catalogue import provider_of
from lmconf.runtime.answer import Answer
from lmconf.runtime.call import Call, Next, Reply, Steps
from lmconf.runtime.call_result import CallResult, id_text
from lmconf.runtime.error_context import add_context
from lmconf.runtime.settings import settings
from lmconf.schema.frozen import FrozenMap
from lmconf.spec.response_format import FormatMismatch
from lmconf.system.tracebacks import clear_frames, strip_frames
from lmconf.transports import REQUEST_ID

__all__ = ["record_call"]


_NOTHING: Mapping[str, Any] = FrozenMap()


def record_call(call: Call, following: Next) -> Steps:
    """Keep what was asked and answered, and tell the callbacks."""
    if call.dispatcher:
        _tell_start(call, call.dispatcher)
    try:
        reply = yield from following(call)
    except BaseException as error:
        _tell_failure(call, error)
        raise
    if reply.open_stream is None:
        _note(call, reply)
    else:
        reply.when_done(
            lambda _: _note(call, reply),
            lambda error: _tell_failure(call, error, reply.by),
        )
    return reply


def _note(call: Call, reply: Reply) -> None:
    """Note what came of a call: for whoever called, in the history and to the callbacks."""
    parts, by = call.parts, reply.by or call
    usage, cost = _NOTHING, None
    result: Any = reply.stored
    if result is None:
        result = reply.response
        reply.request_id = reply.request_id or result.pop(REQUEST_ID, None)
        usage, cost = (
            result.get("usage") or _NOTHING,
            by.parts.cost_of(by, result),
        )
    response = reply.response if by.read is not None else None
    parsed, misfit = (None, None) if response is None else by.reading_of(response)
    reply.outcome = outcome = CallResult(
        result,
        by.parts.name,
        by.spec,
        cost,
        reply.stored is not None,
        call.attempts,
        reply.request_id,
        parsed,
        call.prompt,
        call.messages,
        call.id or parts.new_id(),
        call.time,
        monotonic() - call.started,
        call.waited,
        tuple(call.causes),
    )
    if misfit is not None:
        reply.misfit = _misfit(outcome.answer, misfit, by)
    _count(call, by, reply, usage, cost)
    if parts.history.is_kept and not settings.disable_history:
        parts.history.append(outcome)
    if call.dispatcher:
        by.tell(
            End,
            duration=outcome.duration,
            cache_hit=outcome.cache_hit,
            attempts=call.attempts,
            usage=usage,
            cost=cost,
            response=reply.response,
            request=_request_fields(by),
            waited=call.waited,
            first_token=by.first_token,
            request_id=reply.request_id,
            causes=outcome.causes,
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


def _misfit(answer: Answer, why: FormatMismatch, call: Call) -> BadResponse:
    """Return the failure of an answer that has not the form that was asked for."""
    if answer.truncated:
        message = "the answer was truncated by `max_tokens`"
        help_ = f"raise `max_tokens`, which is {call.spec.max_tokens}"
    else:
        message = f"the answer does not have the form that `response_format` requires: {why}"
        help_ = "describe the form in the prompt too, or use a model that follows it"
    return BadResponse(
        message,
        lm=answer.lm,
        attempts=answer.attempts,
        request_id=answer.request_id,
        retryable=False,
        partial=answer.text,
        help=help_,
    )


def _tell_start(call: Call, dispatcher: Dispatcher) -> None:
    call.id = call.parts.new_id()
    dispatcher.start(
        Start(
            call_id=id_text(call.id),
            lm=call.parts.name,
            model=call.spec.model,
            time=call.time,
            request=_request_fields(call),
            provider=provider_of(call.spec.model)[0],
            model_type=call.spec.model_type,
            stream=call.stream,
        )
    )


def _tell_failure(call: Call, error: BaseException, by: Call | None = None) -> None:
    """Tell of a failure; `by` stood in for the call, whose stream broke."""
    parts = (by or call).parts
    if isinstance(error, Error):
        strip_frames(error)
    else:
        clear_frames(error)  # callbacks may report it at once
    if isinstance(error, CallError):
        # After a failure of its own, the causes hold those of the fallbacks, too.
        error.causes = tuple(call.causes) or error.causes
        add_context(
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
            duration=monotonic() - call.started,
            attempts=call.attempts,
            error=error,
            request=_request_fields(call),
            waited=call.waited,
            first_token=call.first_token,
        )


def _request_fields(call: Call) -> dict[str, object]:
    """Return what callbacks are told of a request: no header, no key, no address."""
    return {"messages": call.messages, "settings": call.parts.settings_of(call.spec)}
