"""The layer that answers from what is kept, and keeps what is answered."""

from __future__ import annotations

from lmconf.caches import request_key
from lmconf.runtime.call import Call, Next, Perform, Reply, Steps
from lmconf.runtime.kept import read, worth_keeping, write
from lmconf.transports import Json

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
