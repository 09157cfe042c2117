"""The innermost layer: it sends the request once."""

from __future__ import annotations

from lmconf.errors import Timeout
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
    outcome = yield Send(call.parts.transport, request, call.stream)
    if isinstance(outcome, Opened):
        return Reply(opened=outcome)
    response: Json = outcome
    return Reply(response, request_id=response.pop(REQUEST_ID, None))
