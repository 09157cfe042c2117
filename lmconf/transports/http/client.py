"""The HTTP client that litellm and the provider SDKs are made to send through.

They are given a placeholder for the credential. Here, where the bytes leave, the placeholder is
replaced by the credential, or its header is dropped where none is to be sent; headers that nobody
asked for are dropped, too; and a request to any other origin than the expected one is refused. An
error's status, a broken connection, a missed deadline or an interrupt ends the attempt at once:
`AttemptHalted` passes through every `except Exception` on the way, so nothing above retries, logs or rewraps
it.
"""

from __future__ import annotations

import httpcore
import httpx

from lmconf.transports.http.attempt import Attempt, AttemptHalted, current_attempt
from lmconf.transports.http.body import AsyncBodyStream, BodyStream
from lmconf.transports.http.connection_pool import FAULTS, to_httpcore
from lmconf.transports.http.http_request import HttpRequest
from lmconf.transports.http.proxies import Trust, async_pools, sync_pools

__all__ = ["AsyncHttpClientTransport", "HttpClientTransport"]


class HttpClientTransport(httpx.BaseTransport):
    """Sends synchronous requests for the attempt of the current context."""

    def __init__(self, trust: Trust = httpx.create_ssl_context) -> None:
        self._pools = sync_pools(trust)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` as its attempt allows, and watch the answer."""
        return _watch_body(self.open(request, current_attempt()), request)

    def open(self, request: httpx.Request | HttpRequest, attempt: Attempt) -> BodyStream:
        """Send `request` as `attempt` allows, and return the body of the answer, watched.

        Raises:
            AttemptHalted: it failed, or the answer is an error.
        """
        ready = attempt.prepare(request)
        answer: httpcore.Response | None = None
        halt: AttemptHalted | None = None
        try:
            pool = self._pools.pool_for(ready.url)
            answer = pool.send(to_httpcore(ready), attempt)
        except FAULTS as error:
            halt = attempt.halt_broken(error)
        except Exception as error:
            halt = attempt.note_interrupt(error)
            if halt is None:
                raise
        if answer is None:
            raise halt or AttemptHalted()
        response = _open_response(answer, attempt)
        attempt.body = pieces = BodyStream(answer, response, attempt)
        if response.status_code >= 300:
            body = pieces.excerpt()
            pieces.close()
            raise attempt.refuse(response, body)
        return pieces

    def close(self) -> None:
        """Close every connection; one that is waited for, as soon as its thread wakes up."""
        for pool in self._pools.pools():
            pool.close()

    def abandon(self) -> None:
        """Let go of every connection without a word to the server; for a forked child."""
        self._pools.sockets.abandon()


class AsyncHttpClientTransport(httpx.AsyncBaseTransport):
    """Sends asynchronous requests for the attempt of the current context, on one event loop."""

    def __init__(self, trust: Trust = httpx.create_ssl_context) -> None:
        self._pools = async_pools(trust)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` as its attempt allows, and watch the answer."""
        return _watch_body(await self.open(request, current_attempt()), request)

    async def open(self, request: httpx.Request | HttpRequest, attempt: Attempt) -> AsyncBodyStream:
        """Send `request` as `attempt` allows, and return the body of the answer, watched.

        Raises:
            AttemptHalted: it failed, or the answer is an error.
        """
        ready = attempt.prepare(request)
        answer: httpcore.Response | None = None
        halt: AttemptHalted | None = None
        try:
            pool = self._pools.pool_for(ready.url)
            answer = await pool.send(to_httpcore(ready), attempt)
        except FAULTS as error:
            halt = attempt.halt_broken(error)
        except Exception as error:
            halt = attempt.note_interrupt(error)
            if halt is None:
                raise
        if answer is None:
            raise halt or AttemptHalted()
        response = _open_response(answer, attempt)
        attempt.body = pieces = AsyncBodyStream(answer, response, attempt)
        if response.status_code >= 300:
            body = await pieces.excerpt()
            await pieces.aclose()
            raise attempt.refuse(response, body)
        return pieces

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.pools():
            await pool.aclose()

    def abandon(self) -> None:
        """Let go of every connection without a word to the server; for a forked child."""
        self._pools.sockets.abandon()


def _open_response(answer: httpcore.Response, attempt: Attempt) -> httpx.Response:
    """Return the head of `answer`, and note in `attempt` what it says."""
    response = httpx.Response(answer.status, headers=answer.headers)
    attempt.response.begin(response, attempt.secrets)
    return response


def _watch_body(pieces: BodyStream | AsyncBodyStream, request: httpx.Request) -> httpx.Response:
    raw = pieces.response.headers.raw
    headers = [pair for pair in raw if pair[0].lower() != b"content-encoding"]
    return httpx.Response(
        pieces.response.status_code,
        headers=headers,
        stream=pieces,
        # Without the request's own headers: they hold the credential.
        request=httpx.Request(request.method, request.url.copy_with(query=None)),
    )
