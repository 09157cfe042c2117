"""Requests in flight: whoever asks the same meanwhile waits for the answer in place of sending.

The threads and tasks of a process meet in `InFlightRequests`; the processes of a machine by the claims of a
shared folder, where there is one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from lmconf.caches import ProcessLocks, claims_folder, default_folder, shared_resource
from lmconf.caches.specs import StoreSpec
from lmconf.system.fork import Mutex, register_forkable
from lmconf.system.signal import OneShotEvent

__all__ = ["InFlightRequest", "InFlightRequests", "in_flight_requests"]


class InFlightRequest:
    """One request in flight: its `signal` is given when it has ended.

    `value` is the answer as it is kept, None while there is none to share; `unshared` says that
    there is one which nobody else may use, so that waiting for another would be in vain. It is
    `late` where another one ended after its call had begun: the answer may be stored by now.
    """

    __slots__ = (
        "_flights",
        "claimed",
        "key",
        "late",
        "owner",
        "signal",
        "unshared",
        "value",
    )

    def __init__(self, flights: InFlightRequests, key: str, owner: object) -> None:
        self._flights = flights
        self.key = key
        self.owner = owner
        self.signal = OneShotEvent()
        self.late = False
        self.value: bytes | None = None
        self.unshared = False
        self.claimed = False

    @property
    def claims(self) -> ProcessLocks | None:
        """Where the processes of this machine meet, if anywhere."""
        return self._flights.claims

    def land(
        self,
        value: bytes | None = None,
        *,
        unshared: bool = False,
        when_written: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Let everybody who waits go on; landing again changes nothing.

        Without an answer one of them sends the request in our place. Other processes go on when
        the answer is written, which `when_written` is asked to tell.
        """
        if self.signal.given:
            return
        self.value, self.unshared = value, unshared
        self._flights.remove(self)
        self.signal.give()
        claims = self._flights.claims
        if self.claimed and claims is not None:
            self.claimed = False
            key = self.key
            if when_written is None:
                claims.let_go(key, unshared=unshared)
            else:
                when_written(lambda: claims.let_go(key, stored=True))


class InFlightRequests:
    """The requests in flight of this process towards one place where answers are kept."""

    def __init__(self, claims: ProcessLocks | None) -> None:
        self.claims = claims
        self._lock = Mutex()  # a dropped stream lands in a finalizer
        self._flights: dict[str, InFlightRequest] = {}
        self._last_end = 0.0
        register_forkable(self)

    def board(self, key: str, since: float) -> tuple[InFlightRequest | None, bool]:
        """Return the flight of `key`, and whether it is ours to send.

        It is None where it is ours already, in this very thread and task: waiting for it would
        never end.

        Args:
            key: what is asked.
            since: seconds of `time.monotonic` before stores were asked for the answer.
        """
        owner = _owner()
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = InFlightRequest(self, key, owner)
                flight.late = self._last_end >= since
                return flight, True
            return (None if flight.owner == owner else flight), False

    def remove(self, flight: InFlightRequest) -> None:
        """Have the next call of its key begin a flight of its own."""
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
                self._last_end = time.monotonic()

    def close(self) -> None:
        """Give up what other processes wait for."""
        if self.claims is not None:
            self.claims.close()

    # --- forks ---

    def before_fork(self) -> None:
        """Do nothing: flights go on in the parent."""

    def after_fork(self, in_child: bool) -> None:
        """Go on; the parent's flights never land in the child."""
        if in_child:
            for flight in self._flights.values():
                flight.claimed = False
            self._flights = {}


def in_flight_requests(store: StoreSpec) -> InFlightRequests:
    """Return the flights of this process whose answers are kept in `store`."""

    def make() -> InFlightRequests:
        folder = claims_folder(store)
        return InFlightRequests(None if folder is None else ProcessLocks(folder))

    return shared_resource(("flights", store, default_folder()), make)


def _owner() -> object:
    # Who runs no event loop has no need to load it; while another thread is still loading it, no
    # task runs in this one.
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    try:
        task = None if current_task is None else current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), None if task is None else id(task)
