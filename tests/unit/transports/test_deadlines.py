"""Each phase of an attempt ends when it says, in threads and on event loops, whole or streamed."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lmconf.errors import ConnectionFailed, ServerError, Timeout
from lmconf.transports import Connection, Phases, Request, Transport, make
from lmconf.transports.http import sockets
from lmconf.transports.specs import TransportSpec
from tests.artefacts import MARK, held, of_error
from tests.loopback import chat, serving
from tests.sockets import BODY, HEAD, PIECES, STREAM_HEAD, Peer, chunked, full, raw

EXACT = 0.25
"""How much later than it says a phase may end, in seconds."""

Way = Callable[[Transport, Request], Any]


def complete(transport: Transport, request: Request) -> object:
    return transport.complete(request)


def acomplete(transport: Transport, request: Request) -> object:
    async def awaited() -> object:
        return await transport.acomplete(request)

    return asyncio.run(awaited())


def stream(transport: Transport, request: Request) -> object:
    return list(transport.stream(request))


def astream(transport: Transport, request: Request) -> object:
    async def read() -> object:
        return [chunk async for chunk in transport.astream(request)]

    return asyncio.run(read())


WHOLE: tuple[Way, ...] = (complete, acomplete)
STREAMED: tuple[Way, ...] = (stream, astream)


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    """A transport for which everything is imported already."""
    made = make(TransportSpec())
    with serving(chat()) as server:
        for way in WHOLE:
            way(made, request_to(server.v1, Phases()))
    yield made
    made.close()


def request_to(base: str, timeout: Phases) -> Request:
    return Request(
        route="chat",
        provider="openai",
        model="tiny",
        connection=Connection(base=base, key=MARK),
        messages=[{"role": "user", "content": "Say hello."}],
        timeout=timeout,
    )


def overdue(way: Way, transport: Transport, base: str, after: float, timeout: Phases) -> Timeout:
    """Return the failure of a call that ends `after` seconds, and hardly later.

    A busy machine may be late by itself, but not three times in a row.
    """
    tries = 3
    while True:
        began = time.monotonic()
        with pytest.raises(Timeout) as raised:
            way(transport, request_to(base, timeout))
        took = time.monotonic() - began
        assert took >= after - 0.02
        tries -= 1
        if took <= after + EXACT:
            break
        assert tries, took
    error = raised.value
    assert error.retryable
    assert f"within {after:.3g}s" in error.message
    assert held(of_error(error)) == []
    return error


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_connecting_ends_when_it_says(way: Way, transport: Transport) -> None:
    with full() as base:
        error = overdue(way, transport, base, 0.4, Phases(total=30, connect=0.4))
        assert "no connection" in error.message
        overdue(way, transport, base, 0.4, Phases(total=0.4, connect=30))


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_an_answer_that_does_not_begin_ends_the_attempt(way: Way, transport: Transport) -> None:
    def silent(peer: Peer) -> None:
        peer.request()
        peer.stall()

    with raw(silent) as base:
        error = overdue(way, transport, base, 0.4, Phases(total=30, first_byte=0.4, idle=0.1))
        assert "no answer" in error.message
        overdue(way, transport, base, 0.4, Phases(total=0.4, first_byte=30))


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_trickled_headers_count_as_a_beginning_and_never_stretch_the_total(
    way: Way, transport: Transport
) -> None:
    def slow(peer: Peer) -> None:
        peer.request()
        peer.trickle(b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 500, 0.05)

    with raw(slow) as base:
        error = overdue(way, transport, base, 0.6, Phases(total=0.6, first_byte=0.3, idle=0.3))
        assert "no more of the answer came" in error.message


@pytest.mark.parametrize("way", WHOLE)
def test_a_body_that_trickles_and_then_stalls_ends_with_the_total(
    way: Way, transport: Transport
) -> None:
    def slow(peer: Peer) -> None:
        peer.request()
        peer.say(HEAD % len(BODY))
        peer.trickle(BODY[:10], 0.05)
        peer.stall()

    with raw(slow) as base:
        overdue(way, transport, base, 0.7, Phases(total=0.7))
        overdue(way, transport, base, 0.7, Phases(total=0.7, idle=0.6))


@pytest.mark.parametrize("way", WHOLE)
def test_a_body_that_only_trickles_ends_with_the_total(way: Way, transport: Transport) -> None:
    def slow(peer: Peer) -> None:
        peer.request()
        peer.say(HEAD % len(BODY))
        peer.trickle(BODY, 0.05)

    with raw(slow) as base:
        overdue(way, transport, base, 0.5, Phases(total=0.5, idle=0.3, first_byte=0.3))


@pytest.mark.parametrize("way", WHOLE)
def test_a_stalled_body_ends_when_it_is_idle_too_long(way: Way, transport: Transport) -> None:
    def stalled(peer: Peer) -> None:
        peer.request()
        peer.say(HEAD % len(BODY) + BODY[:10])
        peer.stall()

    with raw(stalled) as base:
        error = overdue(way, transport, base, 0.3, Phases(total=30, idle=0.3))
        assert "no more of the answer came" in error.message


@pytest.mark.parametrize("way", STREAMED)
def test_a_stalled_stream_ends_when_it_is_idle_too_long_with_the_text_so_far(
    way: Way, transport: Transport
) -> None:
    def stalled(peer: Peer) -> None:
        peer.request()
        peer.say(STREAM_HEAD + chunked(PIECES[0]))
        peer.stall()

    with raw(stalled) as base:
        error = overdue(way, transport, base, 0.3, Phases(total=30, idle=0.3))
        assert error.partial == "Hel"
        error = overdue(way, transport, base, 0.4, Phases(total=0.4, idle=30))
        assert error.partial == "Hel"


@pytest.mark.parametrize("way", STREAMED)
def test_comments_in_a_stream_are_bytes_and_only_the_total_ends_it(
    way: Way, transport: Transport
) -> None:
    def chatty(peer: Peer) -> None:
        peer.request()
        peer.say(STREAM_HEAD)
        while not peer.ending.wait(0.1):
            peer.say(chunked(b": keep-alive\n\n"))

    with raw(chatty) as base:
        overdue(way, transport, base, 0.7, Phases(total=0.7, first_byte=0.3, idle=0.3))


@pytest.mark.parametrize("way", STREAMED)
def test_whoever_reads_a_stream_slowly_is_not_taken_for_an_idle_server(
    way: Way, transport: Transport
) -> None:
    def whole(peer: Peer) -> None:
        peer.request()
        peer.say(STREAM_HEAD)
        for piece in PIECES:
            peer.say(chunked(piece))
        peer.say(b"0\r\n\r\n")

    async def read_slowly(request: Request) -> int:
        count = 0
        async for _ in transport.astream(request):
            await asyncio.sleep(0.25)
            count += 1
        return count

    with raw(whole) as base:
        request = request_to(base, Phases(total=30, idle=0.2))
        if way is astream:
            assert asyncio.run(read_slowly(request)) > 1
            return
        count = 0
        for _ in transport.stream(request):
            time.sleep(0.25)
            count += 1
        assert count > 1


@pytest.mark.parametrize("way", WHOLE)
def test_a_server_that_does_not_read_ends_the_attempt(way: Way, transport: Transport) -> None:
    def deaf(peer: Peer) -> None:
        peer.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.stall()

    with raw(deaf) as base:
        request = request_to(base, Phases(total=0.6))
        large = Request(
            **{
                **{name: getattr(request, name) for name in request.__struct_fields__},
                "messages": [{"role": "user", "content": "x" * 2**25}],
            }
        )
        took = []
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Timeout):
                way(transport, large)
            took.append(time.monotonic() - began)
        assert min(took) <= 0.6 + EXACT


@pytest.mark.parametrize("way", WHOLE)
def test_an_error_whose_body_trickles_is_told_when_the_total_ends(
    way: Way, transport: Transport
) -> None:
    def slow(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 500 Oh\r\ncontent-length: 4000\r\n\r\n")
        peer.trickle(b"x" * 4000, 0.05)

    with raw(slow) as base:
        took = []
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(ServerError, match="xxx"):
                way(transport, request_to(base, Phases(total=0.5)))
            took.append(time.monotonic() - began)
        assert min(took) <= 0.5 + EXACT


@pytest.mark.parametrize("way", WHOLE)
def test_a_handshake_belongs_to_connecting(
    way: Way, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw(Peer.stall) as base:
        secure = base.replace("http:", "https:")
        error = overdue(way, transport, secure, 0.4, Phases(total=30, connect=0.4))
        assert "no connection" in error.message
        overdue(way, transport, secure, 0.4, Phases(total=0.4))


@pytest.mark.parametrize("way", WHOLE)
def test_a_silent_proxy_belongs_to_connecting(
    way: Way, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(peer: Peer) -> None:
        peer.request()
        peer.stall()

    with raw(silent) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        there = "https://llm.example/v1"
        error = overdue(way, transport, there, 0.4, Phases(total=30, connect=0.4, first_byte=9))
        assert "no connection" in error.message


def test_a_lookup_that_hangs_ends_in_time_on_a_loop_and_when_it_is_over_in_a_thread(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread can be kept from waiting for the machine's resolver."""
    over = threading.Event()

    def hang(*asked: object, **named: object) -> object:
        over.wait(1.0)
        raise socket.gaierror("nobody answers")

    async def on_a_loop(request: Request) -> None:
        began = time.monotonic()
        with pytest.raises(Timeout, match=r"no connection within 0\.3s"):
            await transport.acomplete(request)
        took.append(time.monotonic() - began)
        over.set()

    took: list[float] = []
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    request = request_to("http://llm.example/v1", Phases(total=30, connect=0.3))
    for _ in range(3):
        over.clear()
        asyncio.run(on_a_loop(request))
    assert min(took) <= 0.3 + EXACT
    over.clear()
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match="no connection to"):
        transport.complete(request)
    assert time.monotonic() - began >= 1.0


def test_all_addresses_of_a_host_share_the_time_to_connect(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three addresses that swallow connections take as long as one."""
    with full() as base:
        monkeypatch.setattr(sockets, "_addresses", lambda host, port: ["127.0.0.1"] * 3)
        overdue(complete, transport, base, 0.4, Phases(total=30, connect=0.4))


def test_the_next_address_is_tried_where_one_refuses(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_addresses", lambda host, port: ["127.0.0.7", "127.0.0.1"])
    with serving(chat()) as server:
        made = complete(transport, request_to(server.v1, Phases()))
    assert json.dumps(made).count("Hello.") == 1


def test_what_is_imported_for_the_first_call_does_not_count(transport: Transport) -> None:
    from lmconf.transports.http.attempt import Attempt
    from lmconf.transports.status_errors import no_advice

    attempt = Attempt(request_to("http://127.0.0.1:9/v1", Phases(total=5)), no_advice)
    attempt.timer.started -= 60
    assert attempt.left < 0
    attempt.start()
    assert 4 < attempt.left <= 5


def test_the_machines_certificates_are_read_once_and_only_for_https() -> None:
    asked: list[ssl.SSLContext] = []

    def trust() -> ssl.SSLContext:
        asked.append(ssl.create_default_context())
        return asked[-1]

    import httpx

    from lmconf.transports.http.proxies import sync_pools

    pools = sync_pools(trust)
    pools.pool_for(httpx.URL("http://127.0.0.1/"))
    assert asked == []
    first = pools.pool_for(httpx.URL("https://127.0.0.1/a"))
    assert pools.pool_for(httpx.URL("https://127.0.0.1/b")) is first
    assert len(asked) == 1
