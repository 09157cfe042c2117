"""Where the answer of one call is kept: what may be read there, and what becomes of a new one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from lmconf.caches import Found, Tiers
from lmconf.runtime.call import Call, Command, Perform
from lmconf.runtime.flights import Flight, Flights
from lmconf.runtime.kept import read, worth_keeping, write
from lmconf.transports import Json

__all__ = ["SHOWN", "Hit", "Place"]

SHOWN = 12  # digits of a key that events tell: enough to tell entries apart

Hit: TypeAlias = tuple[str, Json]
"""The name of the store that had an answer, and the answer."""


class Place:
    """The place of the answer of `call`, in `tiers` under `key`.

    `flight` is the request that this call has begun; others may wait for its answer.
    """

    __slots__ = ("_call", "flight", "key", "tiers")

    def __init__(self, call: Call, tiers: Tiers, key: str) -> None:
        self._call = call
        self.tiers = tiers
        self.key = key
        self.flight: Flight | None = None

    @property
    def flights(self) -> Flights | None:
        """The requests on their way to such places, which the call may wait for."""
        spec, policy = self._call.spec, self._call.spec.cache
        # What asks anew on purpose is neither given another's answer nor lets others wait for it.
        joins = policy.mode in ("read_write", "read_only") and spec.rollout_id is None
        return self._call.parts.flights_of(spec) if joins and policy.ttl != 0 else None

    def usable(self, value: bytes | None) -> Json | None:
        """Return the response that `value` holds, always a new one; None if it is of no use."""
        found = read(value) if value is not None else None
        return found if found is not None and self._fits(found) else None

    def near(self) -> Hit | None:
        """Return the answer that a store of this machine has, if any."""
        return self._hit(self.tiers.near(self.key))

    def find(self) -> Generator[Command, Any, Hit | None]:
        """Return the answer that any store has; a far one is asked without holding up a loop."""
        found = self.near()
        if found is None and self.tiers.has_far:
            found = self._hit((yield Perform(lambda: self.tiers.far(self.key))))
        return found

    def written(self, response: Json) -> bytes:
        """Return `response` as it is kept."""
        return write(response)

    def keep(self, response: Json) -> None:
        """Keep `response` as the profile allows, and share it with whoever waits for it."""
        policy = self._call.spec.cache
        flight, value = self.flight, None
        try:
            if self._fits(response):
                value = write(response)
                if policy.mode != "read_only":
                    self.tiers.put(self.key, value, ttl=policy.ttl)
        finally:
            if flight is not None:
                written = value is not None and policy.mode != "read_only"
                flight.land(
                    value,
                    unshared=not written,
                    when_written=self.tiers.when_written if written else None,
                )

    def fail(self, error: BaseException) -> None:
        """Note that there is no answer."""
        if self.flight is not None:
            self.flight.land()

    def _hit(self, kept: tuple[str, Found] | None) -> Hit | None:
        found = self.usable(kept[1].value) if kept is not None else None
        return None if kept is None or found is None else (kept[0], found)

    def _fits(self, response: Json) -> bool:
        call = self._call
        return worth_keeping(response, call.spec.cache.keep) and (
            call.read is None or call.fits(response)
        )
