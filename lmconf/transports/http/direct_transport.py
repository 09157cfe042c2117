"""One request to an API that needs no litellm: shaped here, and sent through our own wire."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from typing import Protocol

import anyio

from lmconf.errors import BadRequest, BadResponse, CallError, Timeout
from lmconf.secrets.redaction import mask_secrets
from lmconf.system.durations import format_duration
from lmconf.system.tracebacks import is_interrupt
from lmconf.transports.http.attempt import Attempt, AttemptHalted, use_attempt
from lmconf.transports.http.body import AsyncBodyStream, BodyStream
from lmconf.transports.http.client import AsyncHttpClientTransport, HttpClientTransport
from lmconf.transports.http.http_request import HttpRequest
from lmconf.transports.http.sse import EventReader
from lmconf.transports.litellm.clients import Clients
from lmconf.transports.response_checks import partial_text
from lmconf.transports.status_errors import LONGEST, Advice
from lmconf.transports.transport import REQUEST_ID, Json, Request

__all__ = ["Api", "Direct", "StreamReader"]

_LINGER = 0.2
"""How many seconds a server may take to end the body of a stream whose answer has ended: the
connection can then be used again."""

_CUT = "the stream was truncated: the server did not mark its end"


class StreamReader(Protocol):
    """One answer as it is being streamed.

    `ended` says that the server has said how the answer ends, `over` that nothing else of it is
    awaited then.
    """

    @property
    def ended(self) -> bool: ...

    @property
    def over(self) -> bool: ...

    def take(self, event: Json) -> Iterable[Json]:
        """Return the chunks that the next event of the stream stands for.

        Raises:
            CallError: the event says that the answer failed, or cannot be understood.
        """


class Api(Protocol):
    """An API: how it is asked, and how its answers become those of chat completions."""

    def request_of(self, request: Request, *, stream: bool) -> HttpRequest:
        """Return `request` as it is sent, with a placeholder for the credential.

        Raises:
            BadRequest, UsageError: the API has no place for something in it.
        """

    def response_of(self, body: Json, request: Request, secrets: tuple[str, ...]) -> Json:
        """Return the response that the body of an answer holds.

        Raises:
            CallError: it holds none.
        """

    def stream_reader(self, request: Request, secrets: tuple[str, ...]) -> StreamReader:
        """Return what reads a streamed answer."""


class Direct:
    """Sends requests to one API; its methods are those of a transport."""

    def __init__(self, api: Api, clients: Clients, advice: Advice) -> None:
        self._api = api
        self._clients = clients
        self._advice = advice

    def complete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        wire = self._clients.sync("bare", request)
        assert isinstance(wire, HttpClientTransport)
        attempt = Attempt(request, self._advice, whole=True)
        http_request = self._api.request_of(request, stream=False)
        answer: _WholeBody | None = None
        failure: CallError | None = None
        try:
            with use_attempt(attempt), closing(wire.open(http_request, attempt)) as pieces:
                answer = _WholeBody(b"".join(pieces))
        except AttemptHalted:
            failure = attempt.failure
        except Exception as error:  # noqa: BLE001 - whatever httpx raises becomes a CallError
            failure = _unforeseen(error, attempt)
        return self._finish(answer, failure, attempt, request)

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        wire = await self._clients.on_loop("bare", request)
        assert isinstance(wire, AsyncHttpClientTransport)
        attempt = Attempt(request, self._advice, whole=True)
        http_request = self._api.request_of(request, stream=False)
        answer: _WholeBody | None = None
        failure: CallError | None = None
        try:
            # The wire ends in time, and says what it was waiting for. `asyncio.wait_for` would
            # answer a cancellation with what came in the same moment (up to Python 3.11).
            with use_attempt(attempt), anyio.fail_after(request.timeout.total + 0.1):
                answer = await _read_all(wire, http_request, attempt)
        except AttemptHalted:
            failure = attempt.failure
        except TimeoutError as error:
            attempt.note_interrupt(error)
            failure = attempt.failure or Timeout(
                f"no whole answer within {format_duration(request.timeout.total)}"
            )
        except Exception as error:  # noqa: BLE001 - whatever httpx raises becomes a CallError
            failure = _unforeseen(error, attempt)
        return self._finish(answer, failure, attempt, request)

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        wire = self._clients.sync("bare", request)
        assert isinstance(wire, HttpClientTransport)
        attempt = Attempt(request, self._advice, streaming=True, whole=True)
        http_request = self._api.request_of(request, stream=True)
        state = _StreamState(self._api.stream_reader(request, attempt.secrets), attempt)
        answer: BodyStream | None = None
        try:
            pieces: Iterator[bytes] | None = None
            while not state.over:
                try:
                    with use_attempt(attempt):
                        if pieces is None:
                            answer = wire.open(http_request, attempt)
                            pieces = iter(answer)
                        # A piece has no name here: see `_finish`.
                        chunks = state.read(next(pieces, None))
                except AttemptHalted:
                    chunks = state.stop(attempt.failure)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    chunks = state.stop(_unforeseen(error, attempt))
                yield from chunks
            if state.ended and pieces is not None and attempt.interrupt is None:
                attempt.timer.linger(_LINGER)
                with contextlib.suppress(AttemptHalted), use_attempt(attempt):
                    for _ in pieces:
                        pass
        finally:
            if answer is not None:
                answer.close()
        state.finish()

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        wire = await self._clients.on_loop("bare", request)
        assert isinstance(wire, AsyncHttpClientTransport)
        attempt = Attempt(request, self._advice, streaming=True, whole=True)
        http_request = self._api.request_of(request, stream=True)
        state = _StreamState(self._api.stream_reader(request, attempt.secrets), attempt)
        answer: AsyncBodyStream | None = None
        try:
            pieces: AsyncIterator[bytes] | None = None
            while not state.over:
                try:
                    with use_attempt(attempt):
                        if pieces is None:
                            answer = await wire.open(http_request, attempt)
                            pieces = aiter(answer)
                        chunks = state.read(await anext(pieces, None))
                except AttemptHalted:
                    chunks = state.stop(attempt.failure)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    chunks = state.stop(_unforeseen(error, attempt))
                for chunk in chunks:
                    yield chunk
            if state.ended and pieces is not None and attempt.interrupt is None:
                attempt.timer.linger(_LINGER)
                with contextlib.suppress(AttemptHalted), use_attempt(attempt):
                    async for _ in pieces:
                        pass
        finally:
            if answer is not None:
                await answer.aclose()
        state.finish()

    def _finish(
        self,
        answer: _WholeBody | None,
        failure: CallError | None,
        attempt: Attempt,
        request: Request,
    ) -> Json:
        attempt.check_interrupt()
        response: Json = {}
        failure = failure or attempt.reported_error()
        if failure is None:
            assert answer is not None
            try:
                response = self._api.response_of(_json(answer.content), request, attempt.secrets)
            except CallError as error:
                failure = error.with_traceback(None)
            except Exception as error:  # noqa: BLE001 - nobody knows all that servers may say
                failure = _unreadable(error, attempt)
        attempt.check_interrupt()
        if failure is not None:
            raise attempt.response.add_to(failure)
        if attempt.response.request_id:
            response[REQUEST_ID] = attempt.response.request_id
        return response


class _WholeBody:
    """The body of an answer, which it does not show: it may repeat a secret, and whoever reports
    an error shows what the frames held.
    """

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content


async def _read_all(
    wire: AsyncHttpClientTransport, http_request: HttpRequest, attempt: Attempt
) -> _WholeBody:
    pieces = await wire.open(http_request, attempt)
    try:
        return _WholeBody(b"".join([piece async for piece in pieces]))
    finally:
        await pieces.aclose()


class _StreamState:
    """What was read of a stream; `over` says that there is nothing more to read."""

    def __init__(self, reader: StreamReader, attempt: Attempt) -> None:
        self.over = False
        self._attempt = attempt
        self._failure: CallError | None = None
        self._events = EventReader()
        self._reader = reader
        self._chunks: list[Json] = []

    @property
    def ended(self) -> bool:
        """Whether the server said that the answer has ended."""
        return self._reader.ended

    def read(self, piece: bytes | None) -> list[Json]:
        """Return the chunks that the next piece of the body holds; None is the body's end."""
        chunks: list[Json] = []
        try:
            for event in self._events.read(piece) if piece is not None else ():
                chunks.extend(self._reader.take(event))
                if self._reader.over:
                    break
        except CallError as error:
            self._failure = error.with_traceback(None)
        except Exception as error:  # noqa: BLE001 - as above
            self._failure = _unreadable(error, self._attempt)
        # An error inside of a stream says more than what follows from it.
        self._failure = self._attempt.reported_error() or self._failure
        done = piece is None or self._events.done or self._reader.over
        self.over = done or self._failure is not None
        self._chunks.extend(chunks)
        return chunks

    def stop(self, failure: CallError | None) -> list[Json]:
        """Note what ended the attempt before the server did."""
        self.over, self._failure = True, failure
        return []

    def finish(self) -> None:
        """Raise what went wrong, with the text so far."""
        self._attempt.check_interrupt()
        failure = self._failure
        if failure is None and not self.ended:
            failure = self._attempt.reported_error() or BadResponse(_CUT)
        if failure is not None:
            failure.partial = partial_text(self._chunks)
            raise self._attempt.response.add_to(failure)


def _unforeseen(error: Exception, attempt: Attempt) -> CallError:
    """Return what any other error of the client stands for, without its frames.

    Of an interrupt, it is taken note in `attempt`.
    """
    attempt.note_interrupt(error)
    reason = mask_secrets(str(error), attempt.secrets)[:LONGEST]
    return attempt.failure or BadRequest(f"the request could not be sent: {reason}")


def _unreadable(error: Exception, attempt: Attempt) -> BadResponse:
    """Return what stands for an answer with values where none like them belong.

    Of an interrupt, it is taken note in `attempt`.
    """
    attempt.note_interrupt(error)
    return BadResponse(f"the answer is malformed ({type(error).__name__})")


def _json(body: bytes) -> Json:
    value: object = None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        if is_interrupt(error):
            raise
        value = None
    if not isinstance(value, dict):
        raise BadResponse("the answer is not a JSON object")
    return value
