"""One request to the Responses API, sent through the wire of the other routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from lmconf.errors import BadRequest, BadResponse, CallError, Timeout
from lmconf.transports.answers import partial_text
from lmconf.transports.clients import Clients
from lmconf.transports.contract import REQUEST_ID, Json, Request
from lmconf.transports.exchange import Exchange, Halt, exchanging
from lmconf.transports.failures import LONGEST, Advice, without_secrets
from lmconf.transports.responses.asking import asked, limit_of
from lmconf.transports.responses.events import Answering, Events
from lmconf.transports.responses.reading import response_of

__all__ = ["Responses"]

_LINGER = 0.2
"""How many seconds a server may take to end the body of a stream whose answer has ended: the
connection can then be used again."""

_CUT = "the stream was cut short: the server never said that it ended"


class Responses:
    """Sends requests to the Responses API; its methods are those of a transport."""

    def __init__(self, clients: Clients, advice: Advice) -> None:
        self._clients = clients
        self._advice = advice

    def complete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        exchange = Exchange(request, self._advice)
        sent = asked(request, stream=False)
        client: Any = self._clients.sync("bare", request)
        body = b""
        failure: CallError | None = None
        try:
            exchange.start()
            with exchanging(exchange):
                body = client.send(sent).content
        except Halt:
            failure = exchange.failure
        except Exception as error:  # noqa: BLE001 - whatever httpx raises becomes a CallError
            failure = _unforeseen(error, exchange)
        return _whole(body, failure, exchange, request)

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        exchange = Exchange(request, self._advice)
        sent = asked(request, stream=False)
        client: Any = await self._clients.on_loop("bare", request)
        body = b""
        failure: CallError | None = None
        try:
            exchange.start()
            with exchanging(exchange):
                # The wire ends in time, and says what it was waiting for.
                answer = await asyncio.wait_for(client.send(sent), request.timeout.total + 0.1)
                body = answer.content
        except Halt:
            failure = exchange.failure
        except asyncio.TimeoutError:
            failure = exchange.failure or Timeout(
                f"no whole answer within {request.timeout.total:.3g}s"
            )
        except Exception as error:  # noqa: BLE001 - whatever httpx raises becomes a CallError
            failure = _unforeseen(error, exchange)
        return _whole(body, failure, exchange, request)

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        exchange = Exchange(request, self._advice, streaming=True)
        sent = asked(request, stream=True)
        client: Any = self._clients.sync("bare", request)
        reading = _Reading(exchange, request)
        answer: httpx.Response | None = None
        try:
            pieces: Iterator[bytes] | None = None
            while not reading.over:
                try:
                    with exchanging(exchange):
                        if pieces is None:
                            exchange.start()
                            answer = client.send(sent, stream=True)
                            pieces = answer.iter_bytes()
                        piece = next(pieces, None)
                    chunks = reading.read(piece)
                except Halt:
                    chunks = reading.stop(exchange.failure)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    chunks = reading.stop(_unforeseen(error, exchange))
                yield from chunks
            if reading.ended and pieces is not None:
                exchange.linger(_LINGER)
                with contextlib.suppress(Halt), exchanging(exchange):
                    for _ in pieces:
                        pass
        finally:
            if answer is not None:
                answer.close()
        reading.finish()

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        exchange = Exchange(request, self._advice, streaming=True)
        sent = asked(request, stream=True)
        client: Any = await self._clients.on_loop("bare", request)
        reading = _Reading(exchange, request)
        answer: httpx.Response | None = None
        try:
            pieces: AsyncIterator[bytes] | None = None
            while not reading.over:
                try:
                    with exchanging(exchange):
                        if pieces is None:
                            exchange.start()
                            answer = await client.send(sent, stream=True)
                            pieces = answer.aiter_bytes()
                        piece = await anext(pieces, None)
                    chunks = reading.read(piece)
                except Halt:
                    chunks = reading.stop(exchange.failure)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    chunks = reading.stop(_unforeseen(error, exchange))
                for chunk in chunks:
                    yield chunk
            if reading.ended and pieces is not None:
                exchange.linger(_LINGER)
                with contextlib.suppress(Halt), exchanging(exchange):
                    async for _ in pieces:
                        pass
        finally:
            if answer is not None:
                await answer.aclose()
        reading.finish()


class _Reading:
    """What was read of a stream; `over` says that there is nothing more to read."""

    def __init__(self, exchange: Exchange, request: Request) -> None:
        self.over = False
        self._exchange = exchange
        self._failure: CallError | None = None
        self._events = Events()
        self._answering = Answering(limit_of(request), exchange.secrets)
        self._seen: list[Json] = []

    @property
    def ended(self) -> bool:
        """Whether the server said that the answer has ended."""
        return self._answering.ended

    def read(self, piece: bytes | None) -> list[Json]:
        """Return the chunks that the next piece of the body holds; None is the body's end."""
        made: list[Json] = []
        try:
            for event in self._events.read(piece) if piece is not None else ():
                made.extend(self._answering.take(event))
                if self._answering.ended:
                    break
        except CallError as error:
            self._failure = error.with_traceback(None)
        self.over = piece is None or self.ended or self._failure is not None
        self._seen.extend(made)
        return made

    def stop(self, failure: CallError | None) -> list[Json]:
        """Note what ended the attempt before the server did."""
        self.over, self._failure = True, failure
        return []

    def finish(self) -> None:
        """Raise what went wrong, with the text so far."""
        failure = self._failure
        if failure is None and not self.ended:
            failure = self._exchange.complained() or BadResponse(_CUT)
        if failure is not None:
            failure.partial = partial_text(self._seen)
            failure.request_id = failure.request_id or self._exchange.request_id
            raise failure


def _unforeseen(error: Exception, exchange: Exchange) -> CallError:
    """Return what any other error of the client stands for, without its frames."""
    said = without_secrets(str(error), exchange.secrets)[:LONGEST]
    return exchange.failure or BadRequest(f"the request could not be sent: {said}")


def _whole(body: bytes, failure: CallError | None, exchange: Exchange, request: Request) -> Json:
    response: Json = {}
    if failure is None:
        try:
            response = response_of(_json(body), limit_of(request), exchange.secrets)
        except BadResponse as error:
            failure = exchange.complained() or error.with_traceback(None)
        except CallError as error:
            failure = error.with_traceback(None)
    if failure is not None:
        failure.request_id = failure.request_id or exchange.request_id
        raise failure
    if exchange.request_id:
        response[REQUEST_ID] = exchange.request_id
    return response


def _json(body: bytes) -> Json:
    found: object = None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadResponse("the answer is no JSON object")
    return found
