"""The live parts of one LM: made when the first call needs them, shared by all of its calls."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any, cast

from msgspec import Struct, json

from lmconf import caches, callbacks
from lmconf.caches.specs import DiskStore, MemoryStore, RedisStore, StoreSpec
from lmconf.callbacks import Dispatcher
from lmconf.diagnostics.model import Mark
from lmconf.errors import CallError, Closed, LaunchError
from lmconf.launchers.server_protocol import Server
from lmconf.providers.catalogue import origin, provider_of
from lmconf.runtime.call import Call
from lmconf.runtime.call_result import CallId
from lmconf.runtime.connection import base_address, resolve_arguments
from lmconf.runtime.history import History
from lmconf.runtime.identity import (
    References,
    describe_identity,
    described_pool,
    found_by,
    identity_digest,
    identity_facts,
    identity_settings,
    may_change,
    pool_digest,
    steering_references,
)
from lmconf.runtime.in_flight import InFlightRequests, in_flight_requests
from lmconf.runtime.layers.budget import budget_charges, stated_price
from lmconf.runtime.layers.limit import GateShares
from lmconf.runtime.layers.pool import PoolMembers
from lmconf.runtime.lazy_transport import LazyTransport
from lmconf.runtime.request import Plan, plan_of, request_of
from lmconf.runtime.server import LaunchedServer, ServerStart
from lmconf.runtime.settings_key import content_key
from lmconf.runtime.usage import Tally
from lmconf.spec.build import spec_for_call
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.system.refcount import ResourceHold
from lmconf.transports import Json, Request, Transport

__all__ = ["LMResources"]


MOST_REMEMBERED = 256
"""How many different settings of calls are remembered with what follows from them."""


class _Known(Struct, frozen=True, eq=False):
    """The digest of a spec, and what it was made of; where that is `fixed` it stays right."""

    spec: LMSpec
    references: References
    found: tuple[Any, ...]
    digest: bytes
    fixed: bool


class LMResources:
    """What the calls of one LM share. Making it has no effect beyond this object."""

    def __init__(
        self,
        compiled: CompiledLM,
        *,
        history: History,
        tally: Tally,
        carried: ResourceHold[LazyTransport],
        launched: ResourceHold[LaunchedServer] | None,
        others: tuple[Callable[[], LMResources], ...] = (),
        members: tuple[Callable[[], LMResources], ...] = (),
    ) -> None:
        self.compiled = compiled
        self.spec = compiled.spec
        self.name = compiled.name
        self.history = history
        self.tally = tally
        named = (
            callbacks.make(
                spec,
                allow_imports=compiled.allow_imports,
                values=functools.partial(resolve_arguments, compiled, ("callbacks", index, "args")),
                litellm=_litellm,
            )
            for index, spec in enumerate(compiled.spec.callbacks)
            if not isinstance(spec, str)
        )
        live = cast("tuple[callbacks.Callback, ...]", compiled.live)  # the dispatcher checks them
        self.dispatcher = Dispatcher((*named, *live))
        self.heard = self.dispatcher or None  # calls ask it often
        # Calls in flight hold what they need, should the LM be gone before them.
        self.others = others
        self.members = PoolMembers(members, compiled.spec) if members else None
        self._carried = carried
        self._launched = launched
        self._prefix = os.urandom(8).hex()
        self._counter = itertools.count()
        self._tiers: dict[object, caches.TieredStore | None] = {}
        self._own_tiers: caches.TieredStore | None = None
        self._flights: dict[object, InFlightRequests] = {}
        self._fixed = not may_change(compiled.spec)
        self._digests: dict[int, _Known] = {}
        self._origins: dict[int, tuple[LMSpec, str]] = {}
        self._plans: dict[int, tuple[LMSpec, Plan]] = {}
        self._told: dict[int, tuple[LMSpec, bytes]] = {}
        self._specs: dict[object, LMSpec] = {}
        self._override = caches.override_from_environment()
        self.charges = budget_charges(compiled)
        self.gating = GateShares(compiled) if compiled.spec.limits is not None else None

    @property
    def transport(self) -> Transport:
        """What carries the requests.

        Raises:
            Closed: the LM was closed.
        """
        self._see_that_it_is_open()
        return self._carried.shared.transport

    def _see_that_it_is_open(self) -> None:
        if self._carried.let_go:
            raise Closed("the LM was closed", lm=self.name)

    def spec_of(self, settings: Mapping[str, Any]) -> LMSpec:
        """Return the spec of a call with `settings` of its own.

        Raises:
            ProfileError, UsageError: they do not fit.
        """
        if not settings:
            return self.spec
        key = content_key(settings)
        if key is None:
            return spec_for_call(self.compiled, settings)
        known = self._specs.get(key)
        if known is None:
            known = spec_for_call(self.compiled, settings)
            if len(self._specs) >= MOST_REMEMBERED:
                self._specs = {}
            self._specs[key] = known
        return known

    def tiers_of(self, spec: LMSpec) -> caches.TieredStore | None:
        """Return the stores that a call with `spec` uses; None for none."""
        if spec.cache.mode == "disabled" or self._override == "disabled":
            return None
        # Mostly it is the LM's own: working out which store is meant takes longer than asking it.
        if spec is self.spec and self._own_tiers is not None:
            return self._own_tiers
        key = (spec.cache.store, spec.cache_in_memory)
        if key not in self._tiers:
            said = self.compiled.place("cache", "store")
            self._tiers[key] = _tiers(spec, self._override, said)
        if spec is self.spec:
            self._own_tiers = self._tiers[key]
        return self._tiers[key]

    def flights_of(self, spec: LMSpec) -> InFlightRequests:
        """Return the requests in flight whose answers are kept where those of `spec` are."""
        key = (spec.cache.store, spec.cache_in_memory)
        known = self._flights.get(key)
        if known is None:
            known = self._flights[key] = in_flight_requests(_store_of(spec, self._override))
        return known

    def digest_of(self, spec: LMSpec) -> bytes:
        """Return the digest of what all calls with `spec` have in common.

        Raises:
            CallError: an address or an account leads nowhere.
        """
        if self.members is not None:
            return self._digest_of_pool(spec, self.members)
        known = self._digests.get(id(spec))
        if known is not None and known.fixed:
            return known.digest
        references = steering_references(spec) if known is None else known.references
        found = identity_facts(spec, self.compiled, references)
        if known is not None and known.found == found:
            return known.digest
        digest = identity_digest(spec, found)
        if len(self._digests) >= MOST_REMEMBERED:
            self._digests = {}
        # The spec is kept beside its digest, so that no other object can take over its id.
        self._digests[id(spec)] = _Known(spec, references, found, digest, not may_change(spec))
        return digest

    def described(self, spec: LMSpec) -> dict[str, Any]:
        """Return by name what makes the answers to calls with `spec` differ from others.

        Raises:
            CallError: an address or an account leads nowhere.
        """
        if self.members is not None:
            found = found_by(steering_references(spec), self.compiled)
            return described_pool(spec, found, self.digest_of(spec))
        return describe_identity(spec, identity_facts(spec, self.compiled))

    def _digest_of_pool(self, spec: LMSpec, members: PoolMembers) -> bytes:
        said = found_by(steering_references(spec), self.compiled)
        if spec.endpoint is not None:
            return pool_digest(spec, said, ())
        every = [members.parts(index) for index in range(len(members))]
        found = [(m.spec, identity_facts(m.spec, m.compiled)) for m in every]
        return pool_digest(spec, said, found)

    def origin_of(self, spec: LMSpec) -> str:
        """Return what tells the server of a call with `spec` from others: its origin, most often.

        It is empty where the address leads nowhere, of which the call itself will tell.
        """
        known = self._origins.get(id(spec))
        if known is None or not self._fixed:
            if len(self._origins) >= MOST_REMEMBERED:
                self._origins = {}
            known = self._origins[id(spec)] = (spec, self._origin(spec))
        return known[1]

    def _origin(self, spec: LMSpec) -> str:
        if self.members is not None:
            every = [self.members.parts(index) for index in range(len(self.members))]
            return " ".join(sorted({parts.origin_of(parts.spec) for parts in every}))
        if self._launched is not None:
            return f"launched:{id(self._launched.shared)}"
        named = "" if spec.transport.use == "litellm" else f"{spec.transport.use}:"
        try:
            base = base_address(spec, self.compiled)
        except CallError:
            return ""
        return named + (origin(base) if base else provider_of(spec.model)[0])

    def plan_of(self, spec: LMSpec) -> Plan:
        """Return what all requests with `spec` have in common."""
        known = self._plans.get(id(spec))
        if known is None:
            if len(self._plans) >= MOST_REMEMBERED:
                self._plans = {}
            # The spec is kept beside its plan, so that no other object can take over its id.
            known = self._plans[id(spec)] = (spec, plan_of(spec))
        return known[1]

    def with_response_facts(self, spec: LMSpec) -> dict[str, Any]:
        """Return what callbacks are told of the settings of a call with `spec`, always anew."""
        known = self._told.get(id(spec))
        if known is None:
            if len(self._told) >= MOST_REMEMBERED:
                self._told = {}
            # Decoding is ten times as fast as a copy; the spec holds nothing that JSON cannot say.
            known = self._told[id(spec)] = (spec, json.encode(identity_settings(spec)))
        told: dict[str, Any] = json.decode(known[1])
        return told

    def request_of(self, call: Call, base: str | None) -> Request:
        """Return the request of the next attempt of `call`.

        Raises:
            CallError: a reference leads nowhere.
        """
        return request_of(
            call.spec,
            self.plan_of(call.spec),
            self.compiled,
            call.messages,
            call.prompt,
            base=base or base_address(call.spec, self.compiled),
            seconds_left=call.left,
        )

    @property
    def must_start(self) -> bool:
        """Whether a server of this LM's own answers its calls."""
        return self._launched is not None

    @property
    def own_server(self) -> Server | None:
        """This LM's own server while it runs.

        Raises:
            Closed: the LM was closed.
        """
        assert self._launched is not None
        self._see_that_it_is_open()
        return self._launched.shared.server

    def base_at(self, server: Server) -> str:
        """Return the base of the LM's API at its own server."""
        # The base of these two APIs ends above the version.
        above = provider_of(self.spec.model)[0] in ("anthropic", "ollama", "ollama_chat")
        return server.url if above else server.api_base

    def begin_start(self) -> ServerStart:
        """Return the start of this LM's own server, which goes on whoever waits for it.

        Raises:
            LaunchError: only `launch()` may start it.
        """
        assert self._launched is not None
        launched = self._launched.shared
        if launched.spec.auto == "manual":
            raise LaunchError(
                f"{self.name}: its server is not running; call launch() first, or run `lmconf launch`"
            )
        return launched.begin()

    def call_begins(self) -> Callable[..., None]:
        """Take note of a call to this LM's own server; what is returned is called at its end."""
        assert self._launched is not None
        return self._launched.shared.call_begins()

    def cost_of(self, call: Call, response: Json) -> float | None:
        """Return what `response` cost in US dollars; None where no price is known."""
        usage = response.get("usage")
        if not isinstance(usage, Mapping):
            return None
        if self.spec.pricing is not None:
            return stated_price(self.spec.pricing, usage)
        if self._launched is not None:
            return None
        if call.member is not None:
            return call.member.parts.cost_of(call.member, response)
        price = getattr(self._carried.shared.made, "cost", None)
        if price is None:
            return None
        provider, model = provider_of(call.spec.model)
        cost: float | None = price(provider, model, call.spec.base_model, response)
        return cost

    def new_id(self) -> CallId:
        """Return an id that no other call has.

        A random number for each call would cost a tenth of a cache hit.
        """
        return self._prefix, os.getpid(), next(self._counter)


def _litellm() -> object:
    from lmconf.transports.litellm.patches import import_litellm

    return import_litellm()


def _tiers(spec: LMSpec, override: str | None, said: Mark | None) -> caches.TieredStore:
    far = _store_of(spec, override)
    stores: dict[str, caches.Store] = {}
    if (spec.cache_in_memory or override == "memory") and not isinstance(far, MemoryStore):
        stores["memory"] = caches.live_store(MemoryStore())
    if isinstance(far, RedisStore) and far.disk:
        stores["disk"] = caches.live_store(DiskStore())
    stores[far.backend] = caches.live_store(far, said)
    return caches.TieredStore(tuple(stores.values()), tuple(stores))


def _store_of(spec: LMSpec, override: str | None) -> StoreSpec:
    """Return the farthest of the stores that keep the answers of `spec`."""
    store = spec.cache.store
    assert not isinstance(store, str)
    if override is None:
        return store
    if override == "disk":
        return DiskStore()
    return store if isinstance(store, MemoryStore) else MemoryStore()
