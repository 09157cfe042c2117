"""The layer that answers from what is kept, and keeps what is answered."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from lmconf.caches import StoredHit, TieredStore, request_key
from lmconf.callbacks import CacheHit, CacheMiss
from lmconf.runtime.call import Call, Command, Next, Perform, Reply, Steps
from lmconf.runtime.in_flight import InFlightRequest, InFlightRequests
from lmconf.runtime.stored import StoredResponse, open_stored, worth_keeping, write
from lmconf.transports import Json

__all__ = ["SHOWN", "CachePlace", "Hit", "use_cache"]

SHOWN = 12  # digits of a key that events tell: enough to tell entries apart

Hit: TypeAlias = tuple[str, StoredResponse]
"""The name of the store that had an answer, and the answer."""


class CachePlace:
    """The place of the answer of `call`, in `tiers` under `key`.

    `flight` is the request that this call has begun; others may wait for its answer.
    """

    __slots__ = ("_call", "_tiers", "flight", "key")

    def __init__(self, call: Call, tiers: TieredStore, key: str) -> None:
        self._call = call
        self._tiers = tiers
        self.key = key
        self.flight: InFlightRequest | None = None

    @property
    def flights(self) -> InFlightRequests | None:
        """The requests on their way to such places, which the call may wait for."""
        spec, policy = self._call.spec, self._call.spec.cache
        # What asks anew on purpose is neither given another's answer nor lets others wait for it.
        joins = policy.mode in ("read_write", "read_only") and spec.rollout_id is None
        return self._call.parts.flights_of(spec) if joins and policy.ttl != 0 else None

    def usable(self, value: bytes | None) -> StoredResponse | None:
        """Return the answer that `value` holds; None if the call has no use for it."""
        call = self._call
        found = None if value is None else open_stored(value, call.spec.cache.keep)
        if found is None or (call.read is not None and not call.fits(found.response)):
            return None
        return found

    def near(self) -> Hit | None:
        """Return the answer that a store of this machine has, if any."""
        kept = self._tiers.near(self.key)
        return None if kept is None else self._hit(kept)

    def far(self) -> Generator[Command, Any, Hit | None]:
        """Return the answer that a far store has; an event loop is not held up meanwhile."""
        if not self._tiers.has_far:
            return None
        kept = yield Perform(lambda: self._tiers.far(self.key))
        return None if kept is None else self._hit(kept)

    def keep(self, response: Json) -> None:
        """Keep `response` as the profile allows, and share it with whoever waits for it."""
        policy = self._call.spec.cache
        flight, value = self.flight, None
        try:
            call = self._call
            if worth_keeping(response, policy.keep) and (call.read is None or call.fits(response)):
                value = write(response)
                if policy.mode != "read_only":
                    self._tiers.put(self.key, value, ttl=policy.ttl)
        finally:
            if flight is not None:
                written = value is not None and policy.mode != "read_only"
                flight.land(
                    value,
                    unshared=not written,
                    when_written=self._tiers.when_written if written else None,
                )

    def fail(self, error: BaseException) -> None:
        """Note that there is no answer."""
        if self.flight is not None:
            self.flight.land()

    def _hit(self, kept: tuple[str, StoredHit]) -> Hit | None:
        found = self.usable(kept[1].value)
        return None if found is None else (kept[0], found)


def use_cache(call: Call, following: Next) -> Steps:
    """Answer from what is kept, and keep what is answered."""
    tiers = call.parts.tiers_of(call.spec)
    # No generator of its own: what is never kept does not pay for one.
    return following(call) if tiers is None else _use_cache(call, tiers, following)


def _use_cache(call: Call, tiers: TieredStore, following: Next) -> Steps:
    parts, spec = call.parts, call.spec
    if spec.launch_kwargs is not None:
        digest = yield Perform(lambda: parts.digest_of(spec))  # may read a large file
    else:
        digest = parts.digest_of(spec)
    key = request_key(digest, call.messages, {})
    place = CachePlace(call, tiers, key)
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
