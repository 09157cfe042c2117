"""The layer that answers from what is kept, and keeps what is answered."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from lmconf import caches
from lmconf.caches import StoredHit, TieredStore, request_key
from lmconf.caches.specs import DiskStore, MemoryStore, RedisStore, StoreSpec
from lmconf.callbacks import CacheHit, CacheMiss
from lmconf.diagnostics.model import Mark
from lmconf.runtime.call import Call, Command, Next, Perform, Reply, Steps
from lmconf.runtime.in_flight import InFlightRequest, InFlightRequests, in_flight_requests
from lmconf.runtime.stored import StoredResponse, open_stored, worth_keeping, write
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.transports import Json

__all__ = ["SHOWN", "CachePlace", "CacheStores", "Hit", "use_cache"]

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
        return self._call.parts.cache_stores.flights_of(spec) if joins and policy.ttl != 0 else None

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
    tiers = call.parts.cache_stores.tiers_of(call.spec)
    # No generator of its own: what is never kept does not pay for one.
    return following(call) if tiers is None else _use_cache(call, tiers, following)


def _use_cache(call: Call, tiers: TieredStore, following: Next) -> Steps:
    parts, spec = call.parts, call.spec
    if spec.launch_kwargs is not None:
        digest = yield Perform(lambda: parts.identity.digest_of(spec))  # may read a large file
    else:
        digest = parts.identity.digest_of(spec)
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


class CacheStores:
    """The stores that hold the answers to the calls of one LM, opened when they are needed."""

    def __init__(self, compiled: CompiledLM) -> None:
        self._compiled = compiled
        self._override = caches.override_from_environment()
        self._own: TieredStore | None = None
        self._tiers: dict[object, TieredStore] = {}
        self._flights: dict[object, InFlightRequests] = {}

    def tiers_of(self, spec: LMSpec) -> TieredStore | None:
        """Return the stores that a call with `spec` uses; None for none."""
        if spec.cache.mode == "disabled" or self._override == "disabled":
            return None
        own = spec is self._compiled.spec
        # Mostly it is the LM's own: working out which store is meant takes longer than asking it.
        if own and self._own is not None:
            return self._own
        key = (spec.cache.store, spec.cache_in_memory)
        tiers = self._tiers.get(key)
        if tiers is None:
            place = self._compiled.place("cache", "store")
            tiers = self._tiers[key] = _open_tiers(spec, self._override, place)
        if own:
            self._own = tiers
        return tiers

    def flights_of(self, spec: LMSpec) -> InFlightRequests:
        """Return the requests in flight whose answers are kept where those of `spec` are."""
        key = (spec.cache.store, spec.cache_in_memory)
        flights = self._flights.get(key)
        if flights is None:
            flights = in_flight_requests(_farthest_store(spec, self._override))
            self._flights[key] = flights
        return flights


def _open_tiers(spec: LMSpec, override: str | None, place: Mark | None) -> TieredStore:
    far = _farthest_store(spec, override)
    stores: dict[str, caches.Store] = {}
    if (spec.cache_in_memory or override == "memory") and not isinstance(far, MemoryStore):
        stores["memory"] = caches.live_store(MemoryStore())
    if isinstance(far, RedisStore) and far.disk:
        stores["disk"] = caches.live_store(DiskStore())
    stores[far.backend] = caches.live_store(far, place)
    return TieredStore(tuple(stores.values()), tuple(stores))


def _farthest_store(spec: LMSpec, override: str | None) -> StoreSpec:
    """Return the farthest of the stores that keep the answers of `spec`."""
    store = spec.cache.store
    assert not isinstance(store, str)
    if override is None:
        return store
    if override == "disk":
        return DiskStore()
    return store if isinstance(store, MemoryStore) else MemoryStore()
