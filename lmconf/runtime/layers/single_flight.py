"""The layer by which identical requests in flight are sent once.

The first call sends; whoever asks the same meanwhile, in another thread, task, event loop or
process of this machine, waits for what it is answered. Only answers that may be kept are shared.
When the sender fails, is cancelled or dies, one of those that wait sends in its place.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from lmconf.callbacks import CacheHit
from lmconf.runtime.call import Call, Command, Next, Reply, Sleep, Steps, Wait
from lmconf.runtime.in_flight import InFlightRequest
from lmconf.runtime.layers.cache import SHOWN, CachePlace, Hit

__all__ = ["join"]

_FIRST_LOOK = 0.001
_LAST_LOOK = 0.025
"""Seconds between looks at what another process is asking: from the first to the longest."""


def join(call: Call, following: Next) -> Steps:
    """Wait for the answer to the same request, if one is in flight; else send it."""
    place = call.place
    if place is None or place.flights is None:
        return (yield from following(call))
    while True:
        flight, ours = place.flights.board(place.key, call.started)
        if flight is None:
            return (yield from following(call))
        if ours:
            return (yield from _lead(call, place, flight, following))
        yield Wait(flight.signal, call.left)
        found = place.usable(flight.value)
        if found is not None:
            call.tell(CacheHit, store="in flight", key=place.key[:SHOWN])
            return Reply(stored=found)
        if flight.value is not None or flight.unshared or call.left <= 0:
            return (yield from following(call))


def _lead(call: Call, place: CachePlace, flight: InFlightRequest, following: Next) -> Steps:
    """Send the request for all who wait, unless it was answered just now."""
    reply: Reply | None = None
    try:
        hit, alone = yield from _await_other_process(call, place, flight)
        if hit is not None:
            call.tell(CacheHit, store=hit[0], key=place.key[:SHOWN])
            reply = Reply(stored=hit[1])
            flight.land(hit[1].value)
            return reply
        if alone:
            flight.land(unshared=True)
            return (yield from following(call))
        place.flight = flight
        reply = yield from following(call)
        return reply
    finally:
        # However it ends: by a failure, an interrupt, or a cancelled task.
        if reply is None:
            flight.land()


def _await_other_process(
    call: Call, place: CachePlace, flight: InFlightRequest
) -> Generator[Command, Any, tuple[Hit | None, bool]]:
    """Wait until no other process asks the same; return the answer that is there then.

    The second is whether to send without a claim: what others were answered may not be shared, or
    there is no time left.
    """
    claims, waited = flight.claims, False
    pause = _FIRST_LOOK
    while claims is not None and not claims.take(place.key):
        waited = True
        if call.left <= 0:
            return None, True
        yield Sleep(max(0.0, min(pause, call.left)))
        pause = min(pause * 1.5, _LAST_LOOK)
    flight.claimed = claims is not None
    answered = unshared = False
    if claims is not None:
        answered, unshared = claims.answered_since(place.key, call.started)
    if not (waited or answered or flight.late):
        return None, False  # nobody can have stored an answer since the stores were asked
    found = place.near() or (yield from place.far())
    return found, found is None and unshared
