"""The layer that asks another LM when one cannot answer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lmconf.callbacks import Fallback
from lmconf.errors import CallError, CircuitOpen, LaunchError
from lmconf.retries.reasons import reason_of
from lmconf.runtime.call import Call, Command, Next, Reply, Steps
from lmconf.runtime.standing_in import stand_in
from lmconf.runtime.telling import complete

if TYPE_CHECKING:
    from lmconf.runtime.parts import Parts

__all__ = ["fall_back"]

Failed: TypeAlias = CallError | LaunchError
Tried: TypeAlias = Generator[Command, Any, tuple[Reply | None, Failed | None]]


def fall_back(call: Call, following: Next) -> Steps:
    """Ask the LM's fallbacks, one after the other, where it fails in a way that they may mend.

    Each crosses the layers below with its own settings, connection and stores, until the one
    deadline; so a stream goes elsewhere only until its answer begins.
    """
    others = call.parts.others
    # No generator of its own: an LM without fallbacks does not pay for one.
    return _falling_back(call, others, following) if others else following(call)


def _falling_back(call: Call, others: Sequence[Callable[[], Parts]], following: Next) -> Steps:
    call.guarded = True
    reply, failure = yield from _tried(call, following)
    if failure is None:
        assert reply is not None
        return reply
    refusals: list[Failed] = []
    last, last_name = failure, call.parts.name
    for index, other in enumerate(others):
        if call.left <= 0 or not _is_to_fall(last, call):
            break
        standing, unable = stand_in(call, other)
        if standing is None:
            assert unable is not None
            refusals.append(unable)
            continue
        _tell(call, last, last_name, standing)
        last_name = standing.parts.name
        standing.guarded = index < len(others) - 1
        try:
            reply, refusal = yield from _tried(standing, following)
        finally:
            call.attempts += standing.attempts
            call.waited += standing.waited
            call.causes += standing.causes
        if refusal is None:
            assert reply is not None
            reply.by = reply.by or standing
            return reply
        last = refusal
        refusals.append(last)
    failure.fallbacks = tuple(refusals)
    raise failure


def _tried(call: Call, following: Next) -> Tried:
    failure: Failed
    try:
        return (yield from following(call)), None
    except (CallError, LaunchError) as error:
        failure = error
    if isinstance(failure, CallError):
        _complete(failure, call)
    return None, failure


def _complete(failure: CallError, call: Call) -> None:
    failure.causes = failure.causes or tuple(call.causes)
    complete(
        failure,
        call.parts.compiled,
        call.spec,
        attempts=call.attempts,
        waited=call.waited,
        late=call.left <= 0,
    )


def _tell(call: Call, failure: Failed, source: str, standing: Call) -> None:
    if call.dispatcher:
        call.tell(
            Fallback,
            source=source,
            target=standing.parts.name,
            reason=_reason(failure),
            error=type(failure).__name__,
            status=failure.status if isinstance(failure, CallError) else None,
        )


def _reason(failure: Failed) -> str:
    # A server of one's own that does not start is one that cannot be reached.
    return "connection" if isinstance(failure, LaunchError) else reason_of(failure)


def _is_to_fall(failure: Failed, call: Call) -> bool:
    """Say whether another LM may be asked after `failure`, by the policy of the LM called."""
    if isinstance(failure, CircuitOpen):
        return True
    return _reason(failure) in call.parts.spec.fallback_on
