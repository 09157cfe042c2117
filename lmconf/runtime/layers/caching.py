"""The layer that answers from what is kept, and keeps what is answered."""

from __future__ import annotations

from lmconf.caches import Tiers, request_key
from lmconf.callbacks import CacheHit, CacheMiss
from lmconf.runtime.call import Call, Next, Perform, Reply, Steps
from lmconf.runtime.places import SHOWN, Place

__all__ = ["cache"]


def cache(call: Call, following: Next) -> Steps:
    """Answer from what is kept, and keep what is answered."""
    tiers = call.parts.tiers_of(call.spec)
    # No generator of its own: what is never kept does not pay for one.
    return following(call) if tiers is None else _caching(call, tiers, following)


def _caching(call: Call, tiers: Tiers, following: Next) -> Steps:
    parts, spec = call.parts, call.spec
    if spec.launch_kwargs is not None:
        digest = yield Perform(lambda: parts.digest_of(spec))  # may read a large file
    else:
        digest = parts.digest_of(spec)
    key = request_key(digest, call.messages, {})
    place = Place(call, tiers, key)
    if spec.cache.mode != "refresh":
        hit = place.near() or (yield from place.far())
        if hit is not None:
            if call.dispatcher:
                call.tell(CacheHit, store=hit[0], key=key[:SHOWN])
            return Reply(stored=hit[1])
        if call.dispatcher:
            call.tell(CacheMiss, store=",".join(tiers.names), key=key[:SHOWN])
    call.place = place  # the two know each other: a hit leaves no such pair behind
    reply = yield from following(call)
    if reply.stored is None:
        reply.when_done(place.keep, place.fail)
    return reply
