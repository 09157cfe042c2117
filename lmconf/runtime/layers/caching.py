"""The layer that answers from what is kept, and keeps what is answered."""

from __future__ import annotations

from lmconf.caches import request_key
from lmconf.callbacks import CacheHit, CacheMiss
from lmconf.runtime.call import Call, Next, Perform, Reply, Steps
from lmconf.runtime.kept import read, worth_keeping, write
from lmconf.transports import Json

__all__ = ["cache"]

_SHOWN = 12  # of a key: enough to tell entries apart


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
        kept = tiers.nearest(key)
        found = read(kept[1].value) if kept is not None else None
        if kept and found is not None and (call.read is None or call.fits(found)):
            if call.dispatcher:
                call.tell(CacheHit, store=kept[0], key=key[:_SHOWN])
            return Reply(found, cache_hit=True)
        if call.dispatcher:
            call.tell(CacheMiss, store=",".join(tiers.names), key=key[:_SHOWN])
    reply = yield from following(call)
    if policy.mode != "read_only":

        def keep(response: Json) -> None:
            if worth_keeping(response) and (call.read is None or call.fits(response)):
                tiers.put(key, write(response), ttl=policy.ttl)

        reply.when_done(keep)
    return reply
