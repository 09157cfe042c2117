"""The innermost layer: it sends the request once."""

from __future__ import annotations

import time

from lmconf.callbacks import Attempt, FirstToken
from lmconf.errors import Timeout
from lmconf.profile.providers import origin
from lmconf.runtime.call import Call, Next, Opened, Perform, Reply, Send, Steps
from lmconf.transports import REQUEST_ID, Json

__all__ = ["send"]


def send(call: Call, following: Next) -> Steps:
    """Send the request once."""
    if call.left <= 0:
        raise Timeout(
            f"the call's deadline of {call.spec.deadline:.3g}s has passed",
            retryable=False,
            setting="deadline",
        )
    base: str | None = None
    if call.parts.must_start:
        base = yield Perform(call.parts.start)
    request = call.parts.request_of(call, base)
    call.attempts += 1
    if call.dispatcher:
        call.tell(
            Attempt,
            number=call.attempts,
            of=call.spec.num_retries + 1,
            origin=origin(request.connection.base or "") or None,
        )
    outcome = yield Send(call.parts.transport, request, call.stream)
    if isinstance(outcome, Opened):
        call.first_token = time.monotonic() - call.started
        call.tell(FirstToken, seconds=call.first_token)
        return Reply(opened=outcome)
    response: Json = outcome
    return Reply(response, request_id=response.pop(REQUEST_ID, None))
