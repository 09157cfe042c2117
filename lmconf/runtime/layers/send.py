"""The innermost layer: it sends the request once."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from lmconf.callbacks import Attempt, FirstToken
from lmconf.errors import Timeout
from lmconf.providers.catalogue import origin
from lmconf.runtime.call import Call, Command, Next, OpenStream, Reply, Send, Steps, Wait
from lmconf.system.durations import format_duration
from lmconf.transports import REQUEST_ID, Json

if TYPE_CHECKING:
    from lmconf.launchers.server_protocol import Server
    from lmconf.runtime.server import OwnServer

__all__ = ["send_request"]


def send_request(call: Call, following: Next) -> Steps:
    """Send the request once."""
    if call.left <= 0:
        raise Timeout(
            f"the call's deadline of {format_duration(call.spec.deadline)} has passed",
            retryable=False,
            setting="deadline",
        )
    server = call.parts.own_server
    if server is not None:
        return (yield from _send_to_own_server(call, server))
    return (yield from _send(call, None))


def _send_to_own_server(call: Call, own: OwnServer) -> Steps:
    """Send the request to the LM's own server, which is not idle until the answer has ended."""
    done = own.begin_call()
    try:
        server = own.running or (yield from _start(call, own))
        reply = yield from _send(call, own.base_at(server))
    except BaseException:
        done()
        raise
    reply.when_done(done, done)
    return reply


def _start(call: Call, own: OwnServer) -> Generator[Command, Any, Server]:
    """Wait for the start of the LM's own server, which goes on when the call may wait no longer."""
    loading = own.begin_start()
    try:
        is_ready = yield Wait(loading.signal, call.left)
    except (KeyboardInterrupt, SystemExit):
        loading.cancel()
        raise
    if not is_ready:
        raise Timeout(
            f"its server was not ready within the call's deadline of {format_duration(call.spec.deadline)}, and"
            " is still loading: raise `deadline`, or call launch() beforehand",
            retryable=False,
            setting="deadline",
        )
    return loading.result()


def _send(call: Call, base: str | None) -> Steps:
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
    if isinstance(outcome, OpenStream):
        call.first_token = time.monotonic() - call.started
        call.tell(FirstToken, seconds=call.first_token)
        return Reply(open_stream=outcome)
    response: Json = outcome
    return Reply(response, request_id=response.pop(REQUEST_ID, None))
