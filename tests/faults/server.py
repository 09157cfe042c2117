"""A server that does to each request what a list of acts says, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.faults.dialects import Dialect, body_of
from tests.sockets import STREAM_HEAD, Peer, chunked, raw

REQUEST_ID = "req-7"


@dataclass
class Asked:
    """One request: who asks, in which API, whether for a stream, and when it had come."""

    peer: Peer
    dialect: Dialect
    raw: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def streamed(self) -> bool:
        return bool(self.json.get("stream"))

    @property
    def json(self) -> Any:
        return json.loads(self.raw.partition(b"\r\n\r\n")[2])


Act: TypeAlias = Callable[[Asked], object]
"""What a server does with one request; the connection is closed then, unless it returns True."""


class Faulty:
    """A running server: `acts` are done in turn, and the last one ever after."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.base = ""
        self.asked: list[Asked] = []
        self._acts: list[Act] = []
        self._lock = threading.Lock()

    def acts(self, *acts: Act) -> None:
        with self._lock:
            self._acts = list(acts)
            self.asked = []

    def talk(self, peer: Peer) -> None:
        """Do as the acts say with every request of a connection."""
        while request := peer.request():
            asked = Asked(peer, self.dialect, request)
            with self._lock:
                self.asked.append(asked)
                act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
            if act(asked) is not True:
                return


@contextlib.contextmanager
def faulty(dialect: Dialect, *acts: Act) -> Iterator[Faulty]:
    server = Faulty(dialect)
    server.acts(*acts)
    with raw(server.talk) as base:
        server.base = base
        yield server


def head(status: int, length: int | None, *lines: str) -> bytes:
    """The head of an answer with a request's id in it."""
    told = [f"HTTP/1.1 {status} Whatever", f"x-request-id: {REQUEST_ID}", *lines]
    if length is not None:
        told.append(f"content-length: {length}")
    if not any(line.lower().startswith("content-type") for line in told):
        told.append("content-type: application/json")
    return "\r\n".join([*told, "", ""]).encode()


def answer(status: int, body: bytes | str = b"", *lines: str) -> Act:
    """Answer in one piece, and keep the connection."""
    said = body.encode() if isinstance(body, str) else body

    def act(asked: Asked) -> bool:
        asked.peer.say(head(status, len(said), *lines) + said)
        return True

    return act


def error(status: int, *lines: str, **about: Any) -> Act:
    """Answer with an error as OpenAI writes it."""
    said = {"message": "no", "type": "some_error", "param": None, "code": None, **about}
    return answer(status, json.dumps({"error": said}), *lines)


def good(text: str = "Hello.") -> Act:
    """Answer as one should, in one piece or as a stream."""

    def act(asked: Asked) -> bool:
        if asked.streamed:
            return bool(streamed(lambda dialect: dialect.pieces(text))(asked))
        return bool(answer(200, body_of(asked.dialect, text))(asked))

    return act


def streamed(pieces: Callable[[Dialect], Sequence[bytes]], *, ends: bool = True) -> Act:
    """Stream `pieces`; a body that `ends` keeps the connection, another closes it unfinished."""

    def act(asked: Asked) -> bool:
        begun = STREAM_HEAD.replace(b"connection: close", f"x-request-id: {REQUEST_ID}".encode())
        asked.peer.say(begun + chunked(*pieces(asked.dialect)) + (b"0\r\n\r\n" if ends else b""))
        return ends

    return act
