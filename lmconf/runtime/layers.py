"""The layers of a call, from the outside in: history, cache, retry, transport.

    history( fallbacks( cache( single-flight( retry( limits( transport ))))))

is the whole order; a layer that is added finds its place in `LAYERS`. Each layer knows the call
and the next layer, and nothing of the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from lmconf.caches import request_key
from lmconf.callbacks import End, Failure, Start
from lmconf.errors import (
    BadResponse,
    CallError,
    ConnectionFailed,
    RateLimited,
    ServerError,
    Timeout,
)
from lmconf.profile.formats import Misfit
from lmconf.retries.policy import after, delays, should_retry
from lmconf.runtime.answer import Answer, outputs_of
from lmconf.runtime.call import Call, Layer, Next, Opened, Perform, Reply, Send, Sleep, Steps
from lmconf.runtime.history import Entry
from lmconf.runtime.identity import settings_of
from lmconf.runtime.kept import read, worth_keeping, write
from lmconf.runtime.settings import settings
from lmconf.runtime.telling import complete
from lmconf.transports import REQUEST_ID, Json

__all__ = ["LAYERS", "compose"]

_REASONS: tuple[tuple[type[CallError], str], ...] = (
    (RateLimited, "rate_limit"),
    (Timeout, "timeout"),
    (ServerError, "server_error"),
    (ConnectionFailed, "connection"),
    (BadResponse, "bad_response"),
)


def history(call: Call, following: Next) -> Steps:
    """Keep what was asked and answered, and tell the callbacks."""
    parts = call.parts
    if parts.dispatcher:
        call.id = parts.new_id()
        parts.dispatcher.start(
            Start(
                call_id=call.id,
                lm=parts.name,
                model=call.spec.model,
                time=call.time,
                request=_told(call),
            )
        )
    try:
        reply = yield from following(call)
    except BaseException as error:
        _tell_failure(call, error)
        raise
    reply.when_done(
        lambda response: _note(call, reply, response), lambda error: _tell_failure(call, error)
    )
    return reply


def cache(call: Call, following: Next) -> Steps:
    """Answer from what is kept, and keep what is answered."""
    parts, policy = call.parts, call.spec.cache
    tiers = parts.tiers_of(call.spec)
    if tiers is None:
        return (yield from following(call))
    if call.spec.launch_kwargs is not None:
        digest = yield Perform(lambda: parts.digest_of(call.spec))  # may read a large file
    else:
        digest = parts.digest_of(call.spec)
    key = request_key(digest, call.messages, {})
    if policy.mode != "refresh":
        kept = tiers.get(key)
        found = read(kept) if kept is not None else None
        if found is not None and (call.read is None or call.fits(found)):
            return Reply(found, cache_hit=True)
    reply = yield from following(call)
    if policy.mode != "read_only":

        def keep(response: Json) -> None:
            if worth_keeping(response) and (call.read is None or call.fits(response)):
                tiers.put(key, write(response), ttl=policy.ttl)

        reply.when_done(keep)
    return reply


def retry(call: Call, following: Next) -> Steps:
    """Try again what failed for a passing reason: the only place where anything is retried."""
    policy, number = call.spec.retry, call.spec.num_retries
    waits = None
    while True:
        failure: CallError | None = None
        try:
            return (yield from following(call))
        except CallError as error:
            failure = error
        if waits is None:
            import random  # only what failed needs it

            waits = delays(policy, number, random.Random())  # noqa: S311 - it spreads load
        wait = next(waits, None) if _may_retry(failure, call) else None
        if wait is not None:
            wait = after(wait, failure.retry_after, call.left, policy)
            if wait is None:
                _say_no_time(failure, call)
        if wait is None:
            raise failure
        yield Sleep(wait)
        call.waited += wait


def transport(call: Call, following: Next) -> Steps:
    """Send the request once."""
    if call.left <= 0:
        raise Timeout(
            f"the call's deadline of {call.spec.deadline:.3g}s has passed",
            retryable=False,
            setting="deadline",
        )
    base: str | None = None
    if call.parts.must_start:
        base = yield Perform(call.parts.start)
    request = call.parts.request_of(call, base)
    call.attempts += 1
    outcome = yield Send(request, call.stream)
    if isinstance(outcome, Opened):
        return Reply(opened=outcome)
    response: Json = outcome
    return Reply(response, request_id=response.pop(REQUEST_ID, None))


LAYERS: tuple[Layer, ...] = (history, cache, retry, transport)
"""The layers of every call, from the outside in."""


def compose(layers: Sequence[Layer] = LAYERS) -> Next:
    """Return the layers as one: what it yields is for a driver to carry out."""

    def wrapped(layer: Layer, following: Next) -> Next:
        return lambda call: layer(call, following)

    def innermost(call: Call) -> Steps:
        raise AssertionError("the last layer asks no other")

    following: Next = innermost
    for layer in reversed(layers):
        following = wrapped(layer, following)
    return following


def _may_retry(failure: CallError, call: Call) -> bool:
    if not failure.retryable or call.attempts == 0:
        return False
    for kind, reason in _REASONS:
        if isinstance(failure, kind):
            return should_retry(reason, call.spec.retry)
    return True


def _say_no_time(failure: CallError, call: Call) -> None:
    left = max(call.left, 0.0)
    if not left and isinstance(failure, Timeout):
        return  # the attempt ended with the call, and what helps is told of that
    asked = failure.retry_after
    if asked is not None and asked >= left:
        why = f"the server asks to wait {asked:.3g}s"
    else:
        why = "another attempt would wait"
    failure.help = f"not tried again: {why}, and the call's `deadline` leaves {left:.3g}s"


def _note(call: Call, reply: Reply, response: Json) -> None:
    """Make the answer of a call, add it to the history and tell the callbacks."""
    parts = call.parts
    request_id = reply.request_id or response.pop(REQUEST_ID, None)
    cost = None if reply.cache_hit else parts.cost_of(call, response)
    parsed, misfit = call.reading_of(response)
    answer = Answer.of(
        response,
        lm=parts.name,
        model=call.spec.model,
        cost=cost,
        cache_hit=reply.cache_hit,
        attempts=call.attempts,
        request_id=request_id,
        parsed=parsed,
    )
    reply.answer, reply.outputs = answer, outputs_of(response)
    if misfit is not None:
        reply.misfit = _misfit(answer, misfit, call)
    for tally in (parts.tally, *call.tallies):
        if reply.cache_hit:
            tally.add_hit(parts.name)
        else:
            tally.add(parts.name, call.attempts, answer.usage, cost)
    duration = time.monotonic() - call.started
    if parts.history.kept and not settings.disable_history:
        parts.history.append(_entry(call, reply, answer, duration))
    if parts.dispatcher:
        parts.dispatcher.end(
            End(
                call_id=call.id,
                lm=parts.name,
                model=call.spec.model,
                time=time.time(),
                duration=duration,
                cache_hit=reply.cache_hit,
                attempts=call.attempts,
                usage=answer.usage,
                cost=cost,
                response=response,
                request=_told(call),
            )
        )


def _entry(call: Call, reply: Reply, answer: Answer, duration: float) -> Entry:
    """Return what the history keeps of a call."""
    parts = call.parts
    content = parts.history.content
    return {
        "prompt": call.prompt if content else None,
        "messages": call.messages if content else None,
        "kwargs": dict(parts.plan_of(call.spec).kwargs),
        "response": answer.response if content else None,
        "outputs": reply.outputs if content else None,
        "usage": answer.usage,
        "cost": answer.cost,
        "timestamp": call.time,
        "uuid": call.id or parts.new_id(),
        "model": call.spec.model,
        "model_type": call.spec.model_type,
        "response_model": answer.model,
        "lm": parts.name,
        "cache_hit": answer.cache_hit,
        "finish_reason": answer.finish_reason,
        "latency": duration,
        "attempts": answer.attempts,
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


def _tell_failure(call: Call, error: BaseException) -> None:
    parts = call.parts
    if isinstance(error, CallError):
        complete(
            error,
            parts.compiled,
            call.spec,
            attempts=call.attempts,
            waited=call.waited,
            late=call.left <= 0,
        )
    if parts.dispatcher:
        parts.dispatcher.error(
            Failure(
                call_id=call.id,
                lm=parts.name,
                model=call.spec.model,
                time=time.time(),
                duration=time.monotonic() - call.started,
                attempts=call.attempts,
                error=error,
                request=_told(call),
            )
        )


def _told(call: Call) -> dict[str, object]:
    """Return what callbacks are told of a request: no header, no key, no address."""
    return {"messages": call.messages, "settings": settings_of(call.spec)}
