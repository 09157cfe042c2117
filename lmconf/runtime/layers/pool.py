"""The layer that has one member of a pool make the attempt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from lmconf.errors import CallError
from lmconf.retries.origins import origins
from lmconf.retries.reasons import counts_against_breaker
from lmconf.runtime.call import Call, Next, Steps
from lmconf.schema.declaration import field_names
from lmconf.spec.lm import LMSpec
from lmconf.system.circuit_breaker import CircuitBreaker
from lmconf.system.fork import Mutex

if TYPE_CHECKING:
    from lmconf.runtime.resources import LMResources

__all__ = ["PoolMembers", "pick_member"]

_FROM_THE_POOL = field_names(
    LMSpec,
    lambda field: (field.in_pool == "shared" and field.per_call) or field.in_pool == "attempt",
)
MOST_REMEMBERED = 256


class PoolMembers:
    """A pool's members, how many requests each has in flight, and whose turn it is.

    `find` returns the live parts of a member; `spec` is the pool's.
    """

    def __init__(self, find: Sequence[Callable[[], LMResources]], spec: LMSpec) -> None:
        self._find = find
        self._pick = spec.pick
        weighs = spec.pick == "weighted" and bool(spec.weights)
        self._weights = spec.weights if weighs else (1.0,) * len(find)
        self._in_flight = [0] * len(find)
        self._credit = [0.0] * len(find)
        self._turn = itertools.count()
        self._specs: dict[tuple[int, int], tuple[LMSpec, LMSpec, LMSpec]] = {}
        self._lock = Mutex()

    def __len__(self) -> int:
        return len(self._find)

    def parts(self, index: int) -> LMResources:
        """Return the live parts of a member."""
        return self._find[index]()

    def spec_of(self, call: Call, index: int) -> LMSpec:
        """Return the spec of the member for `call`: its own connection, the pool's settings."""
        own = self.parts(index).spec
        entry = self._specs.get((index, id(call.spec)))
        if entry is not None and entry[1] is own:
            return entry[2]
        shared = {name: getattr(call.spec, name) for name in _FROM_THE_POOL}
        spec = msgspec.structs.replace(own, **shared, deadline=call.spec.deadline)
        if len(self._specs) >= MOST_REMEMBERED:
            self._specs = {}
        # The specs are kept beside it, so that no other objects can take over their ids.
        self._specs[index, id(call.spec)] = (call.spec, own, spec)
        return spec

    def breaker(self, index: int) -> CircuitBreaker:
        """Return what is known of a member's server."""
        parts = self.parts(index)
        return origins().breaker(parts.identity.origin_of(parts.spec), parts.spec.model)

    def choose(self, call: Call) -> int:
        """Return the member to ask now, which counts as busy until `release`.

        Those that `call` has tried come last, and those whose breaker is open are passed over;
        where all are, the first in line is asked: a pool fails no call that a member may answer.
        """
        with self._lock:
            line = self._line()
        line.sort(key=lambda index: index in call.tried_members)
        for index in line:
            if self.breaker(index).admits(call.spec.retry.breaker):
                break
        else:
            index = line[0]
        with self._lock:
            self._in_flight[index] += 1
            if self._pick == "weighted":
                self._credit[index] -= sum(self._weights)
        return index

    def release(self, index: int) -> None:
        """Take note that a request of the member has ended."""
        with self._lock:
            self._in_flight[index] -= 1

    def has_another(self, call: Call) -> bool:
        """Say whether a member is well that `call` has not tried."""
        return any(
            not self.breaker(index).is_open and self._weights[index] > 0
            for index in range(len(self))
            if index not in call.tried_members
        )

    def _line(self) -> list[int]:
        """Return the members in the order in which they are to be asked."""
        count = len(self)
        turn = next(self._turn) % count
        line = [(turn + step) % count for step in range(count)]
        if self._pick == "least_busy":
            line.sort(key=self._in_flight.__getitem__)
        elif self._pick == "weighted":
            # "Smooth weighted round-robin", as nginx has it: shares are kept, and no bursts come.
            self._credit = [c + w for c, w in zip(self._credit, self._weights, strict=True)]
            line = [index for index in line if self._weights[index] > 0]
            line.sort(key=self._credit.__getitem__, reverse=True)
        return line


def pick_member(call: Call, following: Next) -> Steps:
    """Have a member of the pool make the attempt, if the LM is one."""
    members = call.parts.members
    # No generator of its own: an LM that is no pool does not pay for one.
    return following(call) if members is None else _pick_member(call, members, following)


def _pick_member(call: Call, members: PoolMembers, following: Next) -> Steps:
    index = members.choose(call)
    breaker = members.breaker(index)
    over = False
    try:
        call.tried_members.add(index)
        standing = _call_by_member(call, members, index)
        call.member = standing
        try:
            reply = yield from following(standing)
        finally:
            call.attempts, call.first_token = standing.attempts, standing.first_token
        breaker.record_success()
        if reply.response is None:
            over = True
            reply.when_done(lambda _: members.release(index), lambda _: members.release(index))
        return reply
    except CallError as error:
        if counts_against_breaker(error) and call.left > 0:
            breaker.record_failure(call.spec.retry.breaker, error.retry_after)
        else:
            breaker.let_go()
        raise
    except BaseException:
        breaker.let_go()
        raise
    finally:
        if not over:
            members.release(index)


def _call_by_member(call: Call, members: PoolMembers, index: int) -> Call:
    """Return `call` as the member makes it: once, for a retry is the pool's to decide."""
    parts, spec = members.parts(index), members.spec_of(call, index)
    return call.made_by(parts, spec, call.read, attempts=call.attempts)
