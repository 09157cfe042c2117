"""What one call learns of its server, and owes to all the others that ask it."""

from __future__ import annotations

from lmconf.errors import CallError, RateLimited
from lmconf.retries.origins import origins
from lmconf.retries.reasons import speaks_against_the_server
from lmconf.runtime.call import Call

__all__ = ["Watch"]


class Watch:
    """The retry budget and the breaker of a call's server, as that call uses them.

    The breaker only bars calls that can go elsewhere: a call to an LM without fallbacks is always
    sent, and what becomes of it is news for the others.
    """

    __slots__ = ("_breaker", "_budget", "_call", "_policy")

    def __init__(self, call: Call) -> None:
        origin = call.parts.origin_of(call.spec)
        known = origins()
        self._call = call
        self._policy = call.spec.retry.breaker
        self._budget = known.budget(origin, call.spec.retry.budget)
        self._breaker = known.breaker(origin, call.spec.model)

    def admits(self) -> bool:
        """Say whether a request may be sent now."""
        return not self._call.guarded or self._breaker.admits(self._policy)

    @property
    def rests_for(self) -> float:
        """The seconds until a request may be sent again."""
        return self._breaker.rests_for

    def answered(self, *, tried_again: bool) -> None:
        """Take note of an answer."""
        self._breaker.succeeded()
        if self._budget is not None:
            self._budget.give_back(tried_again=tried_again)

    def failed(self, failure: CallError, *, was_sent: bool) -> bool:
        """Take note of a failure; say whether the call may still try the same server."""
        breaker, call = self._breaker, self._call
        if was_sent and speaks_against_the_server(failure) and call.left > 0:
            return not (breaker.failed(self._policy, failure.retry_after) and call.guarded)
        if was_sent and failure.status is not None and not isinstance(failure, RateLimited):
            breaker.succeeded()  # it refuses, and is there
        else:
            breaker.let_go()
        return True

    def pays(self) -> bool:
        """Say whether the budget pays for one more attempt."""
        return self._budget is None or self._budget.pays()

    def let_go(self) -> None:
        """Take note that the call ended with neither answer nor failure."""
        self._breaker.let_go()
