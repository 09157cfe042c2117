"""What holds for plain connections holds for TLS, and for TLS through a proxy."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lmconf.errors import CallError, Closed, ConnectionFailed, Timeout
from lmconf.transports import Connection, Phases, Request, Transport, make
from lmconf.transports.specs import TransportSpec
from tests.artefacts import MARK, held, of_error
from tests.certificates import certify
from tests.sockets import BODY, HEAD, Peer, raw

Way = Callable[[Transport, Request], Any]


def complete(transport: Transport, request: Request) -> Any:
    return transport.complete(request)


def acomplete(transport: Transport, request: Request) -> Any:
    async def awaited() -> Any:
        return await transport.acomplete(request)

    return asyncio.run(awaited())


WAYS: tuple[Way, ...] = (complete, acomplete)


@pytest.fixture(scope="module")
def server_side(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    folder = tmp_path_factory.mktemp("tls")
    return certify(folder, "llm.example"), folder / "trusted.pem"


@pytest.fixture
def secure(
    server_side: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext:
    """The server's side of TLS, whose certificate this test's clients trust."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server_side[1]))
    return server_side[0]


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


def request_to(base: str, **timeout: float) -> Request:
    return Request(
        route="chat",
        provider="openai",
        model="tiny",
        connection=Connection(base=base, key=MARK),
        messages=[{"role": "user", "content": "Say hello."}],
        timeout=Phases(**timeout),
    )


def with_tls(context: ssl.SSLContext, script: Callable[[Peer], Any]) -> Callable[[Peer], None]:
    def scripted(peer: Peer) -> None:
        with suppress(ssl.SSLError), context.wrap_socket(peer.link, server_side=True) as link:
            peer.link = link
            script(peer)

    return scripted


def answer(peer: Peer) -> None:
    while peer.request():
        peer.say(HEAD % len(BODY) + BODY)


def stall(peer: Peer) -> None:
    peer.request()
    peer.say(HEAD % len(BODY) + BODY[:9])
    peer.stall()


def secured(base: str) -> str:
    return base.replace("http:", "https:")


@pytest.mark.parametrize("way", WAYS)
def test_a_trusted_server_answers_and_its_connection_is_kept(
    way: Way, transport: Transport, secure: ssl.SSLContext
) -> None:
    with raw(with_tls(secure, answer)) as base:
        for _ in range(2):
            response = way(transport, request_to(secured(base)))
            assert response["choices"][0]["message"]["content"] == "Hello."


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_nobody_trusts_is_sent_nothing(
    way: Way, transport: Transport, server_side: tuple[ssl.SSLContext, Path]
) -> None:
    asked: list[bytes] = []
    script = with_tls(server_side[0], lambda peer: asked.append(peer.request()))
    with raw(script) as base, pytest.raises(ConnectionFailed) as raised:
        way(transport, request_to(secured(base)))
    assert asked in ([], [b""])
    assert held(of_error(raised.value)) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_stalled_body_ends_in_time(
    way: Way, transport: Transport, secure: ssl.SSLContext
) -> None:
    with raw(with_tls(secure, stall)) as base:
        took = []
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Timeout, match=r"no more of the answer came within 0\.4s") as raised:
                way(transport, request_to(secured(base), total=30, idle=0.4))
            took.append(time.monotonic() - began)
            assert held(of_error(raised.value)) == []
        assert min(took) <= 0.4 + 0.25


def test_closing_ends_a_call_that_waits_in_another_thread(
    transport: Transport, secure: ssl.SSLContext
) -> None:
    failures: list[CallError] = []

    def call(base: str) -> None:
        try:
            transport.complete(request_to(base))
        except CallError as error:
            failures.append(error)

    begun = threading.Event()

    def begin(peer: Peer) -> None:
        begun.set()
        stall(peer)

    with raw(with_tls(secure, begin)) as base:
        thread = threading.Thread(target=call, args=(secured(base),), daemon=True)
        thread.start()
        assert begun.wait(20)
        time.sleep(0.2)
        transport.close()
        thread.join(5)
        assert not thread.is_alive()
    assert [type(error) for error in failures] == [Closed]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("to_proxy", ["http", "https"])
def test_a_proxy_carries_bytes_that_it_cannot_read(
    way: Way,
    to_proxy: str,
    transport: Transport,
    secure: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection to the proxy may itself be secured."""
    heard: list[bytes] = []
    target: list[int] = []

    def carry(peer: Peer) -> None:
        heard.append(peer.request())
        with socket.create_connection(("127.0.0.1", target[0])) as onward:
            peer.say(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=pump, args=(onward, peer.link), daemon=True)
            back.start()
            pump(peer.link, onward)
            back.join(5)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                heard.append(data)
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    script = with_tls(secure, carry) if to_proxy == "https" else carry
    with raw(with_tls(secure, answer)) as base, raw(script) as proxy:
        target.append(int(base.rpartition(":")[2].removesuffix("/v1")))
        address = proxy.removesuffix("/v1").replace("http:", f"{to_proxy}:")
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.delenv("NO_PROXY", raising=False)
        response = way(transport, request_to("https://llm.example/v1"))
        transport.close()
    assert response["choices"][0]["message"]["content"] == "Hello."
    assert heard[0].startswith(b"CONNECT llm.example:443 ")
    assert MARK.encode() not in b"".join(heard)
