"""The layer that refuses the call that would exceed a budget, and counts what the others cost."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from lmconf.errors import BadResponse, CallError, Closed, Error, Timeout
from lmconf.limits import Amount, answer_tokens, prompt_tokens
from lmconf.runtime.call import Call, Command, Next, Perform, Steps
from lmconf.runtime.spending import Reservation, price
from lmconf.transports import Json

__all__ = ["spend"]


def spend(call: Call, following: Next) -> Steps:
    """Send if the budgets of the call have room for what it may cost."""
    # No generator of its own: an LM without a budget does not pay for one.
    return following(call) if not call.parts.charges else _spending(call, following)


def _spending(call: Call, following: Next) -> Steps:
    spec = call.spec
    prompt = prompt_tokens(call.messages, spec.tools, spec.response_format)
    estimate = _amount(call, prompt, answer_tokens(spec.max_tokens, spec.n))
    taken: list[Reservation] = []
    failure: Error
    try:
        for charge in call.parts.charges:
            reservation = charge.reservation(estimate)
            taken.append(reservation)
            yield from _carried_out((reservation,), reservation.take)
        reply = yield from following(call)
    except Error as error:
        failure = error  # it is raised when that is done
    except BaseException as error:
        # Cancelled, interrupted, dropped or a bug: nothing may be waited for.
        _settle_soon(taken, _lost(call, prompt, error))
        raise
    else:
        if reply.response is not None:
            used = _used(call, reply.response)
            yield from _carried_out(taken, lambda: _settle(taken, used))
        else:
            reply.when_done(
                lambda response: _settle_soon(taken, _used(call, response)),
                lambda error: _settle_soon(taken, _lost(call, prompt, error)),
            )
        return reply
    lost = _lost(call, prompt, failure)
    yield from _carried_out(taken, lambda: _settle(taken, lost))
    raise failure


def _carried_out(
    reservations: Sequence[Reservation], work: Callable[[], None]
) -> Generator[Command, Any, None]:
    """Do `work` with reservations; where it may take long, the driver of the call does it."""
    if any(reservation.blocks for reservation in reservations):
        yield Perform(work)
    else:
        work()


def _settle(taken: list[Reservation], used: Amount | None) -> None:
    for reservation in taken:
        reservation.settle(used)


def _settle_soon(taken: list[Reservation], used: Amount | None) -> None:
    for reservation in taken:
        reservation.settle_soon(used)


def _amount(call: Call, prompt: int, answer: int) -> Amount:
    usage = {"prompt_tokens": prompt, "completion_tokens": answer}
    wants = any(charge.most.cost is not None for charge in call.parts.charges)
    return Amount((price(call.spec, usage) or 0.0) if wants else 0.0, prompt + answer)


def _used(call: Call, response: Json) -> Amount | None:
    """Return what an answer cost; None where its server does not say."""
    usage: Any = response.get("usage")
    if not isinstance(usage, Mapping):
        return None
    prompt, answer = (usage.get(f"{part}_tokens") or 0 for part in ("prompt", "completion"))
    total = usage.get("total_tokens") or prompt + answer
    if not total:
        return None
    cost = call.parts.cost_of(call, response)
    return Amount(_amount(call, prompt, answer).cost if cost is None else cost, total)


def _lost(call: Call, prompt: int, error: BaseException) -> Amount | None:
    """Return what a call that failed has cost; None where the server may have done its work."""
    if call.attempts == 0:
        return Amount()
    if isinstance(error, Closed) or (isinstance(error, CallError) and error.partial):
        return _amount(call, prompt, prompt_tokens(({"content": error.partial},)))
    if isinstance(error, CallError) and not isinstance(error, (Timeout, BadResponse)):
        return Amount()
    return None
