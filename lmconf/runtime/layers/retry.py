"""The layer that tries again what failed for a passing reason."""

from __future__ import annotations

from lmconf.callbacks import Retry
from lmconf.errors import CallError, Cause, CircuitOpen, RateLimited, Timeout
from lmconf.retries.origins import origins
from lmconf.retries.policy import delays, should_retry, wait_before_retry
from lmconf.retries.reasons import counts_against_breaker, reason_of
from lmconf.runtime.call import Call, Next, Reply, Sleep, Steps
from lmconf.system.durations import format_duration
from lmconf.transports import Json

__all__ = ["Watch", "retry_failures"]


class Watch:
    """The retry budget and the breaker of a call's server, as that call uses them.

    The breaker only bars calls that can go elsewhere: a call to an LM without fallbacks is always
    sent, and what becomes of it is news for the others.
    """

    __slots__ = ("_breaker", "_budget", "_call", "_policy")

    def __init__(self, call: Call) -> None:
        origin = call.parts.identity.origin_of(call.spec)
        state = origins()
        self._call = call
        self._policy = call.spec.retry.breaker
        self._budget = state.budget(origin, call.spec.retry.budget)
        self._breaker = state.breaker(origin, call.spec.model)

    def admits(self) -> bool:
        """Say whether a request may be sent now."""
        return not self._call.guarded or self._breaker.admits(self._policy)

    @property
    def rests_for(self) -> float:
        """The seconds until a request may be sent again."""
        return self._breaker.rests_for

    def note_answer(self, *, tried_again: bool) -> None:
        """Take note of an answer."""
        self._breaker.record_success()
        if self._budget is not None:
            self._budget.give_back(tried_again=tried_again)

    def note_failure(self, failure: CallError, *, was_sent: bool) -> bool:
        """Take note of a failure; say whether the call may still try the same server."""
        breaker, call = self._breaker, self._call
        if was_sent and counts_against_breaker(failure) and call.left > 0:
            return not (breaker.record_failure(self._policy, failure.retry_after) and call.guarded)
        if was_sent and failure.status is not None and not isinstance(failure, RateLimited):
            breaker.record_success()  # it refuses, and is there
        else:
            breaker.let_go()
        return True

    def pays(self) -> bool:
        """Say whether the budget pays for one more attempt."""
        return self._budget is None or self._budget.pays()

    def let_go(self) -> None:
        """Take note that the call ended with neither answer nor failure."""
        self._breaker.let_go()


def retry_failures(call: Call, following: Next) -> Steps:
    """Try again what failed for a passing reason: the only place where anything is retried."""
    policy, number = call.spec.retry, call.spec.num_retries
    watch = Watch(call)
    waits = None
    while True:
        failure: CallError | None = None
        if not watch.admits():
            raise _circuit_open(call, watch)
        attempts_before = call.attempts
        try:
            reply: Reply = yield from following(call)
        except CallError as error:
            failure = error
        except BaseException:
            watch.let_go()
            raise
        else:
            watch.note_answer(tried_again=waits is not None)
            reply.when_done(_leave_answer, lambda error: _note_broken_stream(call, error))
            return reply
        goes_on = watch.note_failure(failure, was_sent=call.attempts > attempts_before)
        if waits is None:
            import random  # only what failed needs it

            waits = delays(policy, number, random.Random())  # noqa: S311 - it spreads load
        goes_on = goes_on and call.attempts > 0 and should_retry(failure, policy)
        wait = next(waits, None) if goes_on else None
        if wait is not None:
            members = call.parts.members
            if members is not None and call.left > 0 and members.has_another(call):
                wait = 0.0  # another member is asked at once, whatever this one wants
            else:
                wait = wait_before_retry(wait, failure.retry_after, call.left, policy)
            if wait is None:
                _say_no_time(failure, call)
            elif not _is_paid(failure, call, watch):
                wait = None
        if call.attempts > attempts_before:
            call.causes.append(_cause(call, failure, wait or 0.0))
        if wait is None:
            raise failure
        if call.dispatcher:
            call.tell(
                Retry,
                after=call.attempts,
                wait=wait,
                reason=reason_of(failure),
                error=type(failure).__name__,
                status=failure.status,
            )
        yield Sleep(wait)
        call.waited += wait
        if wait:
            call.tried_members.clear()  # a pool's next round may begin with any member


def _cause(call: Call, failure: CallError, wait: float = 0.0) -> Cause:
    lm = (call.member or call).parts.name
    return Cause(lm=lm, kind=type(failure).__name__, status=failure.status, waited=wait)


def _note_broken_stream(call: Call, error: BaseException) -> None:
    """Take note of a stream that failed after it had begun."""
    if isinstance(error, CallError):
        call.causes.append(_cause(call, error))


def _leave_answer(response: Json) -> None:
    """Leave a whole answer to the layers around."""


def _is_paid(failure: CallError, call: Call, watch: Watch) -> bool:
    """Say whether the origin's budget pays for one more attempt; if not, `failure` tells so.

    A server that limits its rate and says when to come back is well: nothing is to be paid.
    """
    is_respected = failure.retry_after is not None and call.spec.retry.respect_retry_after
    if (isinstance(failure, RateLimited) and is_respected) or watch.pays():
        return True
    failure.help = (
        "not retried: too many calls to this server fail, and the retry budget is used up"
        " (`retry.budget`)"
    )
    return False


def _circuit_open(call: Call, watch: Watch) -> CircuitOpen:
    rest = watch.rests_for
    why = (
        f"the circuit breaker is open for another {format_duration(rest)}"
        if rest
        else "another call is testing it"
    )
    return CircuitOpen(f"nothing was sent: the server kept failing, and {why}", retry_after=rest)


def _say_no_time(failure: CallError, call: Call) -> None:
    left = max(call.left, 0.0)
    if not left and isinstance(failure, Timeout):
        return  # the attempt ended with the call, and what helps is told of that
    retry_after = failure.retry_after
    if retry_after is not None and retry_after >= left:
        why = f"the server asks to wait {format_duration(retry_after)}"
    else:
        why = "another attempt would wait"
    failure.help = f"not retried: {why}, and the call's `deadline` leaves {format_duration(left)}"
