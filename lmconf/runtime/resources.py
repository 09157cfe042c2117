"""The live parts of one LM: made when the first call needs them, shared by all of its calls."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any, cast

from msgspec import json

from lmconf import callbacks
from lmconf.callbacks import Dispatcher
from lmconf.errors import Closed
from lmconf.providers.catalogue import provider_of
from lmconf.runtime.call import Call
from lmconf.runtime.call_identity import CallIdentity
from lmconf.runtime.call_result import CallId
from lmconf.runtime.connection import base_address, resolve_arguments
from lmconf.runtime.history import History
from lmconf.runtime.identity import identity_settings
from lmconf.runtime.layers.budget import Charge, budget_charges, stated_price
from lmconf.runtime.layers.cache import CacheStores
from lmconf.runtime.layers.limit import GateShares
from lmconf.runtime.layers.pool import PoolMembers
from lmconf.runtime.lazy_transport import LazyTransport
from lmconf.runtime.request import Plan, plan_of, request_of
from lmconf.runtime.server import LaunchedServer, OwnServer
from lmconf.runtime.spec_memo import CallSpecs, SpecMemo
from lmconf.runtime.usage import Tally
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.system.refcount import ResourceHold
from lmconf.transports import Json, Request, Transport

__all__ = ["LMResources"]


class LMResources:
    """What the calls of one LM share. Making it has no effect beyond this object.

    What one layer needs is its own: `cache_stores`, `charges`, `gating` and `members` (None or
    empty where the LM states nothing of the kind). `others` are the fallbacks. `identity` tells
    calls apart.
    """

    def __init__(
        self,
        compiled: CompiledLM,
        *,
        history: History,
        tally: Tally,
        transport: ResourceHold[LazyTransport],
        server: ResourceHold[LaunchedServer] | None,
        others: tuple[Callable[[], LMResources], ...] = (),
        members: tuple[Callable[[], LMResources], ...] = (),
    ) -> None:
        spec = compiled.spec
        self.compiled = compiled
        self.spec = spec
        self.name = compiled.name
        self.history = history
        self.tally = tally
        self.dispatcher = _make_dispatcher(compiled)
        # Calls in flight hold what they need, should the LM be gone before them.
        self.others: tuple[Callable[[], LMResources], ...] = others
        self.members: PoolMembers | None = PoolMembers(members, spec) if members else None
        self.own_server = None if server is None else OwnServer(self.name, spec.model, server)
        self.cache_stores = CacheStores(compiled)
        self.charges: tuple[Charge, ...] = budget_charges(compiled)
        self.gating: GateShares | None = GateShares(compiled) if spec.limits is not None else None
        self.identity = CallIdentity(compiled, self.members, self.own_server)
        self._id_prefix = os.urandom(8).hex()
        self._id_counter = itertools.count()
        self._transport_hold = transport
        self._specs = CallSpecs(compiled)
        self._plans: SpecMemo[Plan] = SpecMemo()
        self._settings: SpecMemo[bytes] = SpecMemo()

    @property
    def transport(self) -> Transport:
        """What carries the requests.

        Raises:
            Closed: the LM was closed.
        """
        if self._transport_hold.let_go:
            raise Closed("the LM was closed", lm=self.name)
        return self._transport_hold.shared.transport

    def spec_of(self, settings: Mapping[str, Any]) -> LMSpec:
        """Return the spec of a call with `settings` of its own.

        Raises:
            ProfileError, UsageError: they do not fit.
        """
        return self._specs.spec_of(settings) if settings else self.spec

    def settings_of(self, spec: LMSpec) -> dict[str, Any]:
        """Return what callbacks are told of the settings of a call with `spec`, always anew."""
        encoded = self._settings.get(spec)
        if encoded is None:
            # Decoding is ten times as fast as a copy; the spec holds nothing that JSON cannot say.
            encoded = self._settings.set(spec, json.encode(identity_settings(spec)))
        settings: dict[str, Any] = json.decode(encoded)
        return settings

    def request_of(self, call: Call, base: str | None) -> Request:
        """Return the request of the next attempt of `call`.

        Raises:
            CallError: a reference leads nowhere.
        """
        spec = call.spec
        return request_of(
            spec,
            self._plans.get(spec) or self._plans.set(spec, plan_of(spec)),
            self.compiled,
            call.messages,
            call.prompt,
            base=base or base_address(spec, self.compiled),
            seconds_left=call.left,
        )

    def cost_of(self, call: Call, response: Json) -> float | None:
        """Return what `response` cost in US dollars; None where no price is known."""
        usage = response.get("usage")
        if not isinstance(usage, Mapping):
            return None
        if self.spec.pricing is not None:
            return stated_price(self.spec.pricing, usage)
        if self.own_server is not None:
            return None
        if call.member is not None:
            return call.member.parts.cost_of(call.member, response)
        price = getattr(self._transport_hold.shared.opened, "cost", None)
        if price is None:
            return None
        provider, model = provider_of(call.spec.model)
        cost: float | None = price(provider, model, call.spec.base_model, response)
        return cost

    def new_id(self) -> CallId:
        """Return an id that no other call has.

        A random number for each call would cost a tenth of a cache hit.
        """
        return self._id_prefix, os.getpid(), next(self._id_counter)


def _make_dispatcher(compiled: CompiledLM) -> Dispatcher | None:
    """Return what hands events to the callbacks of an LM; None where it has none."""
    from_specs = (
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
    return Dispatcher((*from_specs, *live)) or None


def _litellm() -> object:
    from lmconf.transports.litellm.patches import import_litellm

    return import_litellm()
