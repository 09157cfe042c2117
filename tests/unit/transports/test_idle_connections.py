"""A kept connection that the server closes while nobody uses it costs no call and no attempt."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmconf.errors import CallError, ConnectionFailed, ServerError
from lmconf.runtime import LM
from lmconf.transports import connection_state
from tests.certificates import certify
from tests.sockets import BODY, HEAD, Peer, raw

ANSWER = HEAD % len(BODY) + BODY
WAYS = ("sync", "async")
AT_ONCE = 8

Script = Callable[[Peer], Any]


class Server:
    """Counts the connections and requests of a script that is run for each connection."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.lock = threading.Lock()

    def connected(self) -> None:
        with self.lock:
            self.connections += 1

    def request(self, peer: Peer) -> bool:
        found = bool(peer.request())
        with self.lock:
            self.requests += found
        return found


def lm_at(base: str, **settings: Any) -> LM:
    return LM("openai/m", api_base=base, api_key="", cache=False, num_retries=0, **settings)


def calls(lm: LM, way: str, count: int, pauses: Callable[[], float] = lambda: 0.0) -> list[str]:
    """What `count` calls in turn say, with a pause after each."""

    async def on_a_loop() -> list[str]:
        said = []
        for _ in range(count):
            said.append((await lm.aask("hi")).text)
            await asyncio.sleep(pauses())
        return said

    if way == "async":
        return asyncio.run(on_a_loop())
    said = []
    for _ in range(count):
        said.append(lm.ask("hi").text)
        time.sleep(pauses())
    return said


def many_calls(lm: LM, way: str, count: int, pauses: Callable[[], float]) -> list[Any]:
    """What `count` calls say or fail with, several of them at once."""
    each = count // AT_ONCE

    async def on_a_loop() -> list[Any]:
        async def some() -> list[Any]:
            said: list[Any] = []
            for _ in range(each):
                try:
                    said.append((await lm.aask("hi")).text)
                except CallError as error:
                    said.append(error)
                await asyncio.sleep(pauses())
            return said

        return list(itertools.chain(*await asyncio.gather(*(some() for _ in range(AT_ONCE)))))

    if way == "async":
        return asyncio.run(on_a_loop())
    said: list[Any] = []

    def some() -> None:
        for _ in range(each):
            try:
                said.append(lm.ask("hi").text)
            except CallError as error:
                said.append(error)
            time.sleep(pauses())

    threads = [threading.Thread(target=some) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def closing_after(seconds: float, server: Server, farewell: bytes = b"") -> Script:
    """Answer every request, and close a connection on which none comes for `seconds`."""

    def script(peer: Peer) -> None:
        server.connected()
        while True:
            if not server.request(peer):
                return
            peer.say(ANSWER)
            peer.link.settimeout(seconds or None)
            try:
                if not seconds or not peer.link.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                peer.say(farewell)
                return
            peer.link.settimeout(None)

    return script


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("idle", [0.0, 0.001, 0.01, 0.05])
@pytest.mark.parametrize(
    "farewell",
    [b"", b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"],
    ids=["silent", "408"],
)
def test_a_server_that_closes_idle_connections_fails_no_call(
    way: str, idle: float, farewell: bytes
) -> None:
    server, chance = Server(), random.Random(f"{way} {idle}")
    with raw(closing_after(idle, server, farewell)) as base, lm_at(base) as lm:
        said = many_calls(lm, way, 200, lambda: chance.uniform(0.0, 2 * idle))
        assert said == ["Hello."] * 200
        assert lm.usage.attempts == 200
        assert server.requests >= 200


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_lives_is_used_again(way: str) -> None:
    server = Server()
    with raw(closing_after(5.0, server)) as base, lm_at(base) as lm:
        assert calls(lm, way, 20) == ["Hello."] * 20
        assert (server.connections, server.requests) == (1, 20)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_a_server_that_closes_after_every_request_is_asked_once(way: str, reset: bool) -> None:
    server = Server()

    def script(peer: Peer) -> None:
        server.request(peer)
        if reset:
            peer.reset()

    with raw(script) as base, lm_at(base) as lm:
        with pytest.raises(ConnectionFailed, match="closed the connection without an answer") as it:
            calls(lm, way, 1)
        assert (server.requests, it.value.attempts) == (1, 1)


@pytest.mark.parametrize("way", WAYS)
def test_a_request_is_sent_again_once_and_on_a_new_connection(way: str) -> None:
    """Also where more kept connections are dead than one."""
    server = Server()
    begun, dead = threading.Barrier(4), threading.Event()

    def script(peer: Peer) -> None:
        server.connected()
        server.request(peer)
        if not dead.is_set():
            begun.wait(5)
            peer.say(ANSWER)
            peer.link.recv(1, socket.MSG_PEEK)  # closed as the next request comes, and unread

    async def together(lm: LM) -> None:
        await asyncio.gather(*(lm.aask("hi") for _ in range(4)))
        dead.set()
        with pytest.raises(ConnectionFailed) as it:
            await lm.aask("hi")
        assert it.value.attempts == 1

    with raw(script) as base, lm_at(base) as lm:
        if way == "async":
            asyncio.run(together(lm))
        else:
            threads = [threading.Thread(target=lm.ask, args=("hi",)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            dead.set()
            with pytest.raises(ConnectionFailed) as it:
                lm.ask("hi")
            assert it.value.attempts == 1
        assert (server.connections, server.requests) == (5, 5)


def second_time(act: Script, server: Server) -> Script:
    """Answer the first request of a connection; do with the second one what `act` does."""

    def script(peer: Peer) -> None:
        server.connected()
        if server.request(peer):
            peer.say(ANSWER)
            if server.request(peer):
                act(peer)

    return script


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the kernel does not tell")
@pytest.mark.parametrize("way", WAYS)
def test_a_request_that_the_server_took_is_not_sent_again(way: str) -> None:
    server = Server()
    with raw(second_time(lambda _: None, server)) as base, lm_at(base) as lm:
        with pytest.raises(ConnectionFailed) as it:
            calls(lm, way, 2)
        assert it.value.attempts == 1
        assert (server.connections, server.requests) == (1, 2)


@pytest.mark.parametrize("way", WAYS)
def test_what_may_have_been_worked_on_is_not_sent_again(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_state, "_IDLE_END", 0.05)
    server = Server()

    def late(peer: Peer) -> None:
        time.sleep(0.4)
        peer.reset()

    with raw(second_time(late, server)) as base, lm_at(base) as lm:
        with pytest.raises(ConnectionFailed):
            calls(lm, way, 2)
        assert (server.connections, server.requests) == (1, 2)


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_had_begun_is_not_asked_for_again(way: str) -> None:
    server = Server()
    begun = second_time(lambda peer: peer.say(ANSWER[:12]), server)
    with raw(begun) as base, lm_at(base) as lm:
        with pytest.raises(CallError):
            calls(lm, way, 2)
        assert (server.connections, server.requests) == (1, 2)


REFUSAL = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("way", WAYS)
def test_a_408_on_a_kept_connection_means_the_connection(way: str) -> None:
    server = Server()
    with raw(second_time(lambda peer: peer.say(REFUSAL), server)) as base, lm_at(base) as lm:
        assert calls(lm, way, 4) == ["Hello."] * 4
        assert lm.usage.attempts == 4


@pytest.mark.parametrize("way", WAYS)
def test_a_408_on_a_new_connection_is_an_answer(way: str) -> None:
    server = Server()

    def script(peer: Peer) -> None:
        server.request(peer)
        peer.say(REFUSAL)

    with raw(script) as base, lm_at(base) as lm:
        with pytest.raises(ServerError) as it:
            calls(lm, way, 1)
        assert (it.value.status, server.requests) == (408, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("hint", "pause", "connections"),
    [
        ("timeout=60", 0.0, 1),
        ("timeout=1", 0.0, 1),
        ("timeout=1", 0.6, 3),
        ("timeout=0", 0.0, 3),
        ("TIMEOUT = 60 , max=0", 0.0, 3),
        ("max=100, timeout=5", 0.0, 1),
        ("nonsense; timeout=", 0.0, 1),
    ],
)
def test_a_connection_is_not_used_longer_than_its_server_says(
    way: str, hint: str, pause: float, connections: int
) -> None:
    server = Server()
    said = ANSWER.replace(b"\r\n\r\n", f"\r\nKeep-Alive: {hint}\r\n\r\n".encode(), 1)

    def script(peer: Peer) -> None:
        server.connected()
        while server.request(peer):
            peer.say(said)

    with raw(script) as base, lm_at(base) as lm:
        assert calls(lm, way, 3, lambda: pause) == ["Hello."] * 3
        assert server.connections == connections


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("close", ["connection: close", "Connection: Keep-Alive, Close"])
def test_a_connection_that_the_server_ends_is_not_kept(way: str, close: str) -> None:
    server = Server()
    said = ANSWER.replace(b"\r\n\r\n", f"\r\n{close}\r\n\r\n".encode(), 1)

    def script(peer: Peer) -> None:
        server.connected()
        while server.request(peer):
            peer.say(said)

    with raw(script) as base, lm_at(base) as lm:
        assert calls(lm, way, 3) == ["Hello."] * 3
        assert (server.connections, server.requests) == (3, 3)


# --- TLS and proxies ---


@pytest.fixture(scope="module")
def server_side(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    folder = tmp_path_factory.mktemp("tls")
    return certify(folder, "llm.example"), folder / "trusted.pem"


@pytest.fixture
def secure(
    server_side: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext:
    monkeypatch.setenv("SSL_CERT_FILE", str(server_side[1]))
    return server_side[0]


def with_tls(context: ssl.SSLContext, script: Script) -> Script:
    def scripted(peer: Peer) -> None:
        with (
            contextlib.suppress(ssl.SSLError),
            context.wrap_socket(peer.link, server_side=True) as link,
        ):
            peer.link = link
            script(peer)

    return scripted


def idle_with_tls(seconds: float, server: Server) -> Script:
    """As `closing_after`: nothing can be peeked at through TLS."""

    def script(peer: Peer) -> None:
        server.connected()
        peer.link.settimeout(None)
        while True:
            try:
                if not server.request(peer):
                    return
            except TimeoutError:
                return
            peer.say(ANSWER)
            peer.link.settimeout(seconds)

    return script


@contextlib.contextmanager
def tunnels() -> Iterator[str]:
    """A proxy that joins its clients to whatever is listening on the port that they name."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for link in (source, sink):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def carry(peer: Peer) -> None:
        port = int(peer.request().split()[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as there:
            peer.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(there, peer.link))
            back.start()
            pump(peer.link, there)
            back.join()

    with raw(carry) as base:
        yield base.removesuffix("/v1")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by", ["direct", "tunnel"])
def test_the_same_holds_with_tls(
    way: str, by: str, secure: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, chance = Server(), random.Random(7)
    with raw(with_tls(secure, idle_with_tls(0.05, server))) as base, tunnels() as proxy:
        host = "127.0.0.1"
        if by == "tunnel":
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            monkeypatch.delenv("NO_PROXY", raising=False)
            host = "llm.example"
        with lm_at(base.replace("http:", "https:").replace("127.0.0.1", host)) as lm:
            said = many_calls(lm, way, 80, lambda: chance.uniform(0.0, 0.1))
            assert said == ["Hello."] * 80
            assert lm.usage.attempts == 80
        assert server.connections < 80  # some were used again


@pytest.mark.parametrize("way", WAYS)
def test_the_same_holds_by_way_of_a_proxy(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server, chance = Server(), random.Random(7)
    with raw(closing_after(0.01, server)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        with lm_at("http://llm.example/v1", allow_http=True) as lm:
            said = many_calls(lm, way, 80, lambda: chance.uniform(0.0, 0.02))
            assert said == ["Hello."] * 80
            assert lm.usage.attempts == 80
        assert server.connections < 80


@pytest.mark.parametrize("way", WAYS)
def test_what_is_said_after_an_answer_with_tls_is_no_answer_to_the_next_call(
    way: str, secure: ssl.SSLContext
) -> None:
    """Records are read whole, and an event loop reads whatever has come."""
    server = Server()
    wrong = ANSWER.replace(b"Hello.", b"Wrong!")

    def script(peer: Peer) -> None:
        while server.request(peer):
            peer.say(ANSWER + b" " * 70_000 + wrong)

    with raw(with_tls(secure, script)) as base, lm_at(base.replace("http:", "https:")) as lm:
        assert calls(lm, way, 5) == ["Hello."] * 5


@pytest.mark.parametrize("way", WAYS)
def test_much_that_is_said_after_an_answer_is_no_answer_to_the_next_call(way: str) -> None:
    server = Server()
    head, _, body = ANSWER.partition(b"\r\n\r\n")
    long = body + b" " * (65_536 - len(ANSWER) + 1)
    said = (HEAD % len(long)) + long
    wrong = ANSWER.replace(b"Hello.", b"Wrong!")

    def script(peer: Peer) -> None:
        while server.request(peer):
            peer.say(said + wrong)

    assert head and len(said) == 65_536 + 1 + len(HEAD % len(long)) - len(HEAD % len(BODY))
    with raw(script) as base, lm_at(base) as lm:
        assert calls(lm, way, 5) == ["Hello."] * 5
