"""The layer that has one member of a pool make the attempt."""

from __future__ import annotations

from lmconf.errors import CallError
from lmconf.retries.reasons import speaks_against_the_server
from lmconf.runtime.call import Call, Next, Steps
from lmconf.runtime.members import Members

__all__ = ["pick"]


def pick(call: Call, following: Next) -> Steps:
    """Have a member of the pool make the attempt, if the LM is one."""
    members = call.parts.members
    # No generator of its own: an LM that is no pool does not pay for one.
    return following(call) if members is None else _picking(call, members, following)


def _picking(call: Call, members: Members, following: Next) -> Steps:
    index = members.choose(call)
    breaker = members.breaker(index)
    over = False
    try:
        call.tried.add(index)
        standing = _made_by(call, members, index)
        call.member = standing
        try:
            reply = yield from following(standing)
        finally:
            call.attempts, call.first_token = standing.attempts, standing.first_token
        breaker.succeeded()
        if reply.response is None:
            over = True
            reply.when_done(lambda _: members.done(index), lambda _: members.done(index))
        return reply
    except CallError as error:
        if speaks_against_the_server(error) and call.left > 0:
            breaker.failed(call.spec.retry.breaker, error.retry_after)
        else:
            breaker.let_go()
        raise
    except BaseException:
        breaker.let_go()
        raise
    finally:
        if not over:
            members.done(index)


def _made_by(call: Call, members: Members, index: int) -> Call:
    """Return `call` as the member makes it: once, for a retry is the pool's to decide."""
    parts, spec = members.parts(index), members.spec_of(call, index)
    return call.made_by(parts, spec, call.read, attempts=call.attempts)
