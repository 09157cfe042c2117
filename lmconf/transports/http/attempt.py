"""One attempt: what of a request may leave this machine, and what was seen of the answer."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import httpcore
import httpx

from lmconf.errors import BadResponse, CallError, Closed, ConnectionFailed, Timeout
from lmconf.schema.frozen import thaw
from lmconf.secrets.redaction import mask_secrets
from lmconf.secrets.references import Masked
from lmconf.system.interrupts import bare_interrupt, interrupt_behind
from lmconf.transports.cancellation import Cancellation, Line, current_cancellation
from lmconf.transports.clouds.credentials import CloudRoute, Shape, Sign
from lmconf.transports.error_bodies import ErrorBody, find_error, read_error_line
from lmconf.transports.litellm.params import body_additions, complete_body
from lmconf.transports.status_errors import Advice, error_for_status, error_in_answer, request_id
from lmconf.transports.transport import Phases, Request

__all__ = [
    "PLACEHOLDER",
    "Attempt",
    "AttemptHalted",
    "Headers",
    "HttpRequest",
    "Phase",
    "current_attempt",
    "has_attempt",
    "lent_client",
    "merge_extra",
    "url_of",
    "use_attempt",
]

Phase: TypeAlias = Literal["connect", "first_byte", "idle", "total"]
"""What an attempt may be waiting for; each has a bound of its own in `timeout`."""

PLACEHOLDER = "lmconf-places-the-credential-here"
"""What litellm and the SDKs are given in the place of a credential."""

# What a client may say of itself and of the body. Everything else that reaches the server was
# asked for by the profile: the SDKs also read headers and organizations from the environment.
_CLIENT_HEADERS = frozenset(
    b"host accept connection content-type user-agent anthropic-version anthropic-beta".split()
)


_IDLE_END = 2.0
"""Within how many seconds the end of a connection comes that the server had closed before it read
the request: a round trip, on a slow network or machine. What ends later may have been at work."""

LARGEST_ERROR = 64 * 2**10
"""The most bytes of an error's body that are read."""


def _headers_of(request: Request) -> Mapping[str, str]:
    connection = request.connection
    account = {
        "OpenAI-Organization": connection.organization,
        "OpenAI-Project": connection.project,
    }
    return {**{name: text for name, text in account.items() if text}, **connection.headers}


def _complete_body(content: bytes, own: Mapping[str, Any], extra: Mapping[str, Any]) -> bytes:
    """Return a JSON body completed with `own`, and with `extra` merged into it.

    Where both hold a mapping, `extra` is merged; anything else in it replaces.
    """
    if not content or not (own or extra):
        return content
    body = json.loads(content)
    if not isinstance(body, dict):
        return content
    made = merge_extra(complete_body(body, own), thaw(extra))
    return json.dumps(made, ensure_ascii=False).encode()


def merge_extra(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with `extra` in it: mappings in both are merged, anything else replaces."""
    made = dict(body)
    for key, value in extra.items():
        held = made.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            made[key] = merge_extra(held, value)
        else:
            made[key] = value
    return made


Headers: TypeAlias = list[tuple[bytes, bytes]]


class HttpRequest(Masked):
    """A request over HTTP: less than what httpx makes of one, and much quicker to make."""

    __slots__ = ("content", "headers", "method", "url")

    def __init__(self, method: str, url: httpx.URL, headers: Headers, content: bytes) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.content = content

    def __repr__(self) -> str:
        """Name the host alone: everything else may hold a secret."""
        return f"Asked({self.method} {self.url.host})"


# Addresses are few, and parsing one takes longer than most of what is done with a request.
url_of = functools.lru_cache(maxsize=256)(httpx.URL)


class AttemptHalted(BaseException):
    """Ends an attempt whose failure is already known; it is no `Exception` on purpose."""


class Attempt:
    """One attempt: what may be sent, and what was seen of it."""

    def __init__(
        self, request: Request, advice: Advice, *, streaming: bool = False, whole: bool = False
    ) -> None:
        self.key = request.connection.key
        self.headers = _headers_of(request)
        # A body that is `whole` when it comes here is not completed.
        self.own: Mapping[str, Any] = {} if whole else body_additions(request)
        self.extra: Mapping[str, Any] = {} if whole else request.extra
        self.base = url_of(request.connection.base or "")
        self.phases = request.timeout
        self.max_body = request.max_body
        self.secrets = request.connection.secrets()
        self.shape: Shape | None = None
        self.sign: Sign | None = None
        self.told: Mapping[str, Any] = {}
        self.lent: object = None
        self.advice = advice
        self.streaming = streaming
        self.shaped = not whole
        self.in_lines = request.provider in ("cohere", "cohere_chat")
        self.started = time.monotonic()
        self.sent = 0
        self.status: int | None = None
        self.request_id: str | None = None
        self.failure: CallError | None = None
        self.line: Line | None = None
        self.cut_by = current_cancellation()
        if self.cut_by is not None:
            self.cut_by.add(self)
        self.interrupt: BaseException | None = None
        self._handled = sys.exc_info()[1]
        self.ended = False
        # The reasons for which answers end, in the server's own words.
        self.ends: list[str] = []
        self.model: str | None = None
        self._spent = 0.0
        self._complaint: ErrorBody | None = None
        self._beginning: bytes | None = b""
        self.body: httpx.SyncByteStream | httpx.AsyncByteStream | None = None
        self.host = ""
        self.secure = False
        self._connecting = self.started
        self._kept_at: float | None = None
        self._unread = False
        self._came = False
        self._cut = False
        self._phase: Phase = "total"
        self._bound: float = self.phases.total

    def give_up(self) -> None:
        """End the attempt from another thread than the one that waits for it."""
        if self.cut_by is None:
            self.cut_by = Cancellation()
            self.cut_by.add(self)
        self.cut_by.give()

    def lead(self, way: CloudRoute, seconds: float) -> None:
        """Let the request go the `way` that was found for it in `seconds`."""
        self._spent = seconds
        self.own = body_additions(way.request)
        self.base = url_of(way.request.connection.base or "")
        self.shape, self.sign, self.told = way.shape, way.sign, way.told
        self.secrets = (*self.secrets, *way.secrets)

    @property
    def left(self) -> float:
        """The seconds until the attempt's deadline."""
        return self.started + self.phases.total - time.monotonic()

    def start(self) -> None:
        """Count the attempt's time from now on: not what had to be imported for the first one.

        What it took to find the way counts all the same.
        """
        self.started = time.monotonic() - self._spent

    def connecting(self) -> None:
        """Note that a connection is being opened from now on."""
        self._connecting = time.monotonic()

    def connected(self, *, kept: bool) -> None:
        """Note that the request is sent from now on, on a new connection or on one that was kept."""
        self._kept_at = time.monotonic() if kept else None
        self._came = self._unread = False

    def connection_ended(self, *, unread: bool) -> None:
        """Note that the connection ended, and whether the server had not read the request then."""
        self._unread = unread

    def died_idle(self, error: BaseException) -> bool:
        """Say whether `error` ended a kept connection that the server had closed unused.

        Then no byte of an answer came, the server's kernel did not take the request, and the end
        came within `_IDLE_END`. There must be time left to send the request once more.
        """
        if self._kept_at is None or self._came or self._cut or self.left <= 0:
            return False
        ended = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
        late = time.monotonic() - self._kept_at >= _IDLE_END
        if late or not self._unread or not isinstance(error, ended):
            return False
        return interrupt_behind(error, self._handled) is None

    def came(self) -> None:
        """Note that bytes of the answer came."""
        self._came = True

    def cut(self) -> None:
        """Note that the connection was closed from this side."""
        self._cut = True

    @property
    def reading(self) -> Phase:
        """The phase that reading on belongs to: bytes count, whatever they say."""
        return "idle" if self._came else "first_byte"

    def wait(self, phase: Phase) -> float:
        """Return the seconds that `phase` may go on from now; 0 or less: it is overdue."""
        left, own = self.left, None if phase == "total" else getattr(self.phases, phase)
        self._phase, self._bound = phase, self.phases.total
        if own is None:
            return left
        since = time.monotonic() - self._connecting if phase == "connect" else 0.0
        if own - since >= left:
            return left
        self._bound = own
        return float(own - since)

    def linger(self, seconds: float) -> None:
        """Give what still comes after the answer's end `seconds` at most."""
        total = time.monotonic() - self.started + max(min(seconds, self.left), 0.0)
        self.phases = Phases(total=total)

    def halt(self, failure: CallError) -> AttemptHalted:
        """Note `failure` as the attempt's outcome, and return what ends the attempt."""
        if self.failure is None:
            # A server may say a secret where nobody expects it.
            failure.message = mask_secrets(failure.message, self.secrets)
            self.failure = self.with_response_facts(failure)
        return AttemptHalted()

    def with_response_facts(self, failure: CallError) -> CallError:
        """Return `failure` with the status and the id of the answer, where one began."""
        if failure.status is None:
            failure.status = self.status
        failure.request_id = failure.request_id or self.request_id
        return failure

    def overdue(self, phase: str, seconds: float) -> AttemptHalted:
        """End the attempt because a phase took longer than `seconds`."""
        return self.halt(Timeout(f"{phase} within {max(seconds, 0.0):.3g}s"))

    def prepare(self, request: httpx.Request | HttpRequest) -> HttpRequest:
        """Return `request` as it may leave."""
        url = request.url
        if _origin(url) != _origin(self.base):
            raise self.halt(
                ConnectionFailed(
                    f"refused to send to {_origin(url)}: the address of this LM is"
                    f" {_origin(self.base)}",
                    retryable=False,
                )
            )
        self.sent += 1
        if PLACEHOLDER.encode() in url.raw_path:
            path = url.raw_path.replace(PLACEHOLDER.encode(), (self.key or "").encode())
            url = url.copy_with(raw_path=path)
        self.host, self.secure = url.raw_host.decode("ascii"), url.scheme == "https"
        if self.left <= 0:
            raise self.overdue("no answer", self.phases.total)
        content = request.content
        if self.shape is not None:
            url, content = self.shape(url, content)
        content = _complete_body(content, self.own, self.extra)
        given = request.headers
        raw = given.raw if isinstance(given, httpx.Headers) else given
        headers = self._headers(raw, url, len(content))
        if self.sign is not None:
            signed = httpx.Request(request.method, url, headers=headers, content=content)
            signed.headers.update(self.sign(signed))
            headers = signed.headers.raw
        return HttpRequest(request.method, url, headers, content)

    def _headers(self, given: Headers, url: httpx.URL, length: int) -> Headers:
        placeholder, key = PLACEHOLDER.encode(), self.key
        ours = {name.lower().encode() for name in self.headers}
        said = {name.lower() for name, _ in given} | ours
        kept = [(b"Accept-Encoding", b"identity"), (b"Content-Length", str(length).encode())]
        if b"host" not in said:
            kept.insert(0, (b"Host", url.netloc))
        if length and b"content-type" not in said:
            # Ollama itself guesses; servers that only speak its API do not.
            kept.append((b"Content-Type", b"application/json"))
        for name, value in given:
            low = name.lower()
            if low in ours:
                continue
            if placeholder in value:
                if key:
                    kept.append((name, value.replace(placeholder, key.encode())))
            elif low in _CLIENT_HEADERS:
                kept.append((name, value))
        return kept + [(name.encode(), value.encode()) for name, value in self.headers.items()]

    def began(self, response: httpx.Response) -> None:
        """Note the status and the id of an answer that begins."""
        self.status = response.status_code
        self.request_id = request_id(response.headers, self.secrets)

    def interrupted(self, error: BaseException) -> AttemptHalted | None:
        """End the attempt if an interrupt is behind `error`, which nobody may take for a failure.

        It stands in `interrupt` then, for `check_interrupt` to raise.
        """
        if self.interrupt is None:
            self.interrupt = interrupt_behind(error, self._handled)
        return None if self.interrupt is None else AttemptHalted()

    def check_interrupt(self) -> None:
        """Raise what has interrupted the attempt, if anything has, without the client's frames."""
        found, self.interrupt = self.interrupt, None
        if found is not None:
            raise bare_interrupt(found)

    def broken(self, error: Exception) -> AttemptHalted:
        """End the attempt because the connection failed or a phase took too long."""
        if interrupted := self.interrupted(error):
            return interrupted
        if self.cut_by is not None and self.cut_by.given:
            return self.halt(Closed("the call was given up while the answer was awaited"))
        if self._cut:
            return self.halt(Closed("the LM was closed while the answer was awaited"))
        if isinstance(error, httpcore.TimeoutException):
            if self._phase == "connect":
                return self.overdue("no connection", self._bound)
            said = "no more of the answer came" if self._came else "no answer"
            return self.overdue(said, self._bound)
        if self.status is not None:
            return self.halt(BadResponse("the connection broke in the middle of the answer"))
        where = _origin(self.base)
        if isinstance(error, httpcore.ConnectError):
            return self.halt(ConnectionFailed(f"no connection to {where}: {_reason(error)}"))
        return self.halt(ConnectionFailed(f"{where} closed the connection without an answer"))

    def keep(self, piece: bytes) -> None:
        """Keep the beginning of a whole answer: it may turn out to be an error."""
        if self._beginning is not None:
            self._beginning += piece
            if len(self._beginning) > LARGEST_ERROR:
                self._beginning = None

    def hear(self, line: bytes) -> None:
        """Take note of a line of a stream that speaks of an error."""
        if self._complaint is None:
            self._complaint = read_error_line(line)

    def reported_error(self) -> CallError | None:
        """Return the failure that the server reports inside of an answer of status 200."""
        said = self._complaint
        if said is None and self._beginning and b"error" in self._beginning:
            said = find_error(self._beginning)
        if said is None:
            return None
        failure = error_in_answer(said, self.status, self.secrets)
        failure.request_id = self.request_id or failure.request_id
        return failure

    def refuse(self, response: httpx.Response, body: bytes) -> AttemptHalted:
        """End the attempt because the server answered with an error."""
        return self.halt(
            error_for_status(
                response.status_code, response.headers, body, self.secrets, self.advice
            )
        )

    def refuse_within(self, status: int, body: bytes) -> AttemptHalted:
        """End the attempt because the server says inside of an answer that it failed."""
        return self.halt(error_for_status(status, {}, body, self.secrets, self.advice))


_current: ContextVar[Attempt | None] = ContextVar("lmconf_exchange", default=None)


@contextlib.contextmanager
def use_attempt(exchange: Attempt) -> Iterator[None]:
    """Let what is sent inside the block belong to `exchange`."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def has_attempt() -> bool:
    """Say whether what is done now belongs to any exchange."""
    return _current.get() is not None


def current_attempt() -> Attempt:
    """Return the exchange that what is sent now belongs to."""
    exchange = _current.get()
    if exchange is None:
        raise RuntimeError("a request was sent outside of any call")
    return exchange


def lent_client() -> object:
    """Return the client that litellm is lent for what is sent now; None for none."""
    exchange = _current.get()
    return None if exchange is None else exchange.lent


def _origin(url: httpx.URL) -> str:
    port = url.port or {"https": 443, "http": 80}.get(url.scheme)
    return f"{url.scheme}://{url.host}:{port}"


def _reason(error: Exception) -> str:
    """Return why a connection failed, as the operating system says it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "it could not be opened"
