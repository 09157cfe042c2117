"""The layer that answers from what is kept, and keeps what is answered."""

from __future__ import annotations

from lmconf.caches import request_key
from lmconf.callbacks import CacheHit, CacheMiss
from lmconf.runtime.call import Call, Next, Perform, Reply, Steps
from lmconf.runtime.places import SHOWN, Place

__all__ = ["cache"]


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
    place = Place(call, tiers, key)
    if policy.mode != "refresh":
        kept = yield from place.find()
        if kept is not None:
            if call.dispatcher:
                call.tell(CacheHit, store=kept[0], key=key[:SHOWN])
            return Reply(kept[1], cache_hit=True)
        if call.dispatcher:
            call.tell(CacheMiss, store=",".join(tiers.names), key=key[:SHOWN])
    call.place = place
    reply = yield from following(call)
    if not reply.cache_hit:
        reply.when_done(place.keep, place.fail)
    return reply
