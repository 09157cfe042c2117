"""One attempt: its destination, its time, its connection, and what came of it.

Our own code hands an attempt on. Litellm, the SDKs and httpcore cannot: the clients that they are
lent and the sockets below find it in the current context.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar

import httpcore
import httpx

from lmconf.errors import BadResponse, CallError, Closed, ConnectionFailed, Timeout
from lmconf.providers.catalogue import record_of
from lmconf.secrets.redaction import mask_secrets
from lmconf.system.durations import format_duration
from lmconf.system.interrupts import bare_interrupt, interrupt_behind
from lmconf.transports.clouds.credentials import CloudRoute
from lmconf.transports.connection_state import ConnectionState
from lmconf.transports.http.destination import Destination
from lmconf.transports.http.http_request import HttpRequest, origin_of
from lmconf.transports.http.phase_timer import Phase, PhaseTimer
from lmconf.transports.http.response_facts import ResponseFacts
from lmconf.transports.status_errors import Advice, error_for_status
from lmconf.transports.transport import Request

__all__ = [
    "Attempt",
    "AttemptHalted",
    "current_attempt",
    "has_attempt",
    "lent_client",
    "use_attempt",
]

_ENDS = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
"""How the end of a connection shows."""


class AttemptHalted(BaseException):
    """Ends an attempt whose failure is already known; it is no `Exception` on purpose."""


class Attempt:
    """One request that is sent once, and how it ends.

    Args:
        request: What is sent.
        advice: Reads from a refusal's headers whether and when to try again.
        streaming: Whether the answer comes piece by piece.
        whole: Whether the body is complete when it comes here, as our own APIs make it; one that
            litellm shapes is completed, and its answer watched.
    """

    def __init__(
        self, request: Request, advice: Advice, *, streaming: bool = False, whole: bool = False
    ) -> None:
        self.destination = Destination(request, whole=whole)
        self.timer = PhaseTimer(request.timeout)
        self.connection = ConnectionState()
        self.response = ResponseFacts()
        self.secrets = request.connection.secrets()
        self.max_body = request.max_body
        self.streaming = streaming
        self.shaped = not whole
        self.in_lines = record_of(request.provider).api.in_lines
        self.route: CloudRoute | None = None
        self.lent_client: object = None
        self.body: httpx.SyncByteStream | httpx.AsyncByteStream | None = None
        self.failure: CallError | None = None
        self.interrupt: BaseException | None = None
        self._advice = advice
        self._handled = sys.exc_info()[1]
        self._route_seconds = 0.0

    def give_up(self) -> None:
        """End the attempt from another thread than the one that waits for it."""
        self.connection.cancel()

    def follow(self, route: CloudRoute, seconds: float) -> None:
        """Let the request go by the `route` that was found for it in `seconds`."""
        self.route, self._route_seconds = route, seconds
        self.destination.follow(route)
        self.secrets = (*self.secrets, *route.secrets)

    @property
    def left(self) -> float:
        """The seconds until the attempt's deadline."""
        return self.timer.left

    def start(self) -> None:
        """Count the attempt's time from now on: not what had to be imported for the first one.

        What it took to find the route counts all the same.
        """
        self.timer.restart(self._route_seconds)

    def can_resend(self, error: BaseException) -> bool:
        """Say whether to send the request again, after `error` ended a connection kept idle."""
        if not isinstance(error, _ENDS) or not self.connection.has_ended_idle() or self.left <= 0:
            return False
        return interrupt_behind(error, self._handled) is None

    @property
    def read_phase(self) -> Phase:
        """The phase that reading on belongs to: bytes count, whatever they say."""
        return "idle" if self.connection.answering else "first_byte"

    def halt(self, failure: CallError) -> AttemptHalted:
        """Note `failure` as the attempt's outcome, and return what ends the attempt."""
        if self.failure is None:
            # A server may say a secret where nobody expects it.
            failure.message = mask_secrets(failure.message, self.secrets)
            self.failure = self.response.add_to(failure)
        return AttemptHalted()

    def halt_overdue(self, phase: str, seconds: float) -> AttemptHalted:
        """End the attempt because a phase took longer than `seconds`."""
        return self.halt(Timeout(f"{phase} within {format_duration(max(seconds, 0.0))}"))

    def prepare(self, request: httpx.Request | HttpRequest) -> HttpRequest:
        """Return `request` as it may leave.

        Raises:
            AttemptHalted: it may not leave, or no longer.
        """
        url = request.url
        refusal = self.destination.refusal_of(url)
        if refusal is not None:
            raise self.halt(refusal)
        self.connection.host = url.raw_host.decode("ascii")
        self.connection.secure = url.scheme == "https"
        if self.left <= 0:
            raise self.halt_overdue("no answer", self.timer.phases.total)
        return self.destination.complete(request)

    def note_interrupt(self, error: BaseException) -> AttemptHalted | None:
        """End the attempt if an interrupt is behind `error`, which nobody may take for a failure.

        It stands in `interrupt` then, for `check_interrupt` to raise.
        """
        if self.interrupt is None:
            self.interrupt = interrupt_behind(error, self._handled)
        return None if self.interrupt is None else AttemptHalted()

    def check_interrupt(self) -> None:
        """Raise what has interrupted the attempt, if anything has, without the client's frames."""
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            raise bare_interrupt(interrupt)

    def halt_broken(self, error: Exception) -> AttemptHalted:
        """End the attempt because the connection failed or a phase took too long."""
        if interrupted := self.note_interrupt(error):
            return interrupted
        if self.connection.cancelled:
            return self.halt(Closed("the call was cancelled while it waited for the answer"))
        if self.connection.closed:
            return self.halt(Closed("the LM was closed while a call waited for the answer"))
        if isinstance(error, httpcore.TimeoutException):
            if self.timer.phase == "connect":
                return self.halt_overdue("no connection", self.timer.bound)
            awaited = "no more of the answer came" if self.connection.answering else "no answer"
            return self.halt_overdue(awaited, self.timer.bound)
        if self.response.status is not None:
            return self.halt(BadResponse("the connection broke in the middle of the answer"))
        where = origin_of(self.destination.base)
        if isinstance(error, httpcore.ConnectError):
            return self.halt(ConnectionFailed(f"no connection to {where}: {_reason(error)}"))
        return self.halt(ConnectionFailed(f"{where} closed the connection without an answer"))

    def reported_error(self) -> CallError | None:
        """Return the failure that the server reports inside of an answer of status 200."""
        return self.response.reported_error(self.secrets)

    def refuse(self, response: httpx.Response, body: bytes) -> AttemptHalted:
        """End the attempt because the server answered with an error."""
        return self.halt(
            error_for_status(
                response.status_code, response.headers, body, self.secrets, self._advice
            )
        )

    def refuse_within(self, status: int, body: bytes) -> AttemptHalted:
        """End the attempt because the server says inside of an answer that it failed."""
        return self.halt(error_for_status(status, {}, body, self.secrets, self._advice))


_current: ContextVar[Attempt | None] = ContextVar("lmconf_attempt", default=None)


@contextlib.contextmanager
def use_attempt(attempt: Attempt) -> Iterator[None]:
    """Let what is sent inside the block belong to `attempt`."""
    token = _current.set(attempt)
    try:
        yield
    finally:
        _current.reset(token)


def has_attempt() -> bool:
    """Say whether what is done now belongs to any attempt."""
    return _current.get() is not None


def current_attempt() -> Attempt:
    """Return the attempt that what is sent now belongs to.

    Raises:
        RuntimeError: it belongs to none.
    """
    attempt = _current.get()
    if attempt is None:
        raise RuntimeError("a request was sent outside of any call")
    return attempt


def lent_client() -> object:
    """Return the client that litellm is lent for what is sent now; None for none."""
    attempt = _current.get()
    return None if attempt is None else attempt.lent_client


def _reason(error: Exception) -> str:
    """Return why a connection failed, as the operating system says it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "it could not be opened"
