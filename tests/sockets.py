"""Servers that are nothing but a socket: what they do between two bytes is up to a test."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.loopback import chat, chat_chunks, sse

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
BODY = json.dumps(chat()).encode()
PIECES = sse(*chat_chunks("Hel", "lo."))


def chunked(*pieces: bytes) -> bytes:
    """`pieces` as chunks of a body of unknown length."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


class Peer:
    """One connection of a client, as the server's script sees it."""

    def __init__(self, link: socket.socket, ending: threading.Event) -> None:
        self.link = link
        self.ending = ending

    def request(self) -> bytes:
        """Read one request to its end."""
        got = b""
        while b"\r\n\r\n" not in got:
            more = self.link.recv(65536)
            if not more:
                return got
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
        length = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
        while len(body) < length:
            more = self.link.recv(65536)
            if not more:
                break
            body += more
        return head + b"\r\n\r\n" + body

    def say(self, data: bytes) -> None:
        """Send `data`."""
        self.link.sendall(data)

    def trickle(self, data: bytes, gap: float) -> None:
        """Send `data` byte by byte, `gap` seconds apart."""
        for byte in data:
            self.say(bytes([byte]))
            if self.ending.wait(gap):
                return

    def stall(self) -> None:
        """Say nothing more, and hold the connection until the test is over."""
        self.ending.wait(30)

    def reset(self) -> None:
        """Break the connection off, so that the client is told of a reset and not of an end."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.link.close()

    def gone(self, seconds: float = 5.0) -> bool:
        """Say whether the client closes the connection within `seconds`."""
        self.link.settimeout(seconds)
        try:
            while self.link.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


@contextlib.contextmanager
def raw(script: Callable[[Peer], Any]) -> Iterator[str]:
    """A server that does what `script` says with each connection; its address is given."""
    ending = threading.Event()
    threads: list[threading.Thread] = []
    links: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def serve(link: socket.socket) -> None:
            with link, contextlib.suppress(OSError):  # the client may leave at any time
                script(Peer(link, ending))

        def accept() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                if ending.is_set():
                    link.close()
                    return
                links.append(link)
                thread = threading.Thread(target=serve, args=(link,), daemon=True)
                threads.append(thread)
                thread.start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        port = server.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            ending.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
            accepting.join(5)
            for link in links:
                with contextlib.suppress(OSError):  # most are closed already
                    link.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(5)


@contextlib.contextmanager
def full() -> Iterator[str]:
    """The address of a server that takes no more connections: its queue is full."""
    with contextlib.ExitStack() as held:
        server = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = server.getsockname()
        for _ in range(20):
            link = held.enter_context(socket.socket())
            link.setblocking(False)
            link.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}/v1"
