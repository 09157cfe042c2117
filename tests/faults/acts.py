"""What a server may do with one request, right or wrong."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable
from email.utils import formatdate
from time import time

from tests.faults.dialects import Dialect, body_of
from tests.faults.server import Act, Asked, answer, error, head, streamed
from tests.sockets import STREAM_HEAD, chunked


def stalls(asked: Asked) -> None:
    asked.peer.stall()


def resets(asked: Asked) -> None:
    asked.peer.reset()


def closes(asked: Asked) -> None:
    """Close in the ordinary way, without a word."""


def slow_head(asked: Asked) -> None:
    asked.peer.trickle(b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 500, 0.02)


def slow_body(asked: Asked) -> None:
    body = body_of(asked.dialect) + b" " * 200
    asked.peer.say(head(200, len(body)))
    asked.peer.trickle(body, 0.02)


def stalled_body(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body)) + body[:10])
    asked.peer.stall()


def endless(line: bytes) -> Act:
    """Say `line` for as long as the client listens."""

    def act(asked: Asked) -> None:
        while True:
            asked.peer.say(line * 1000)

    return act


def bytes_of(said: bytes) -> Act:
    """Say these bytes, and close."""

    def act(asked: Asked) -> None:
        asked.peer.say(said)

    return act


def then(*acts: Act) -> Act:
    """Do one after the other, and close."""

    def act(asked: Asked) -> None:
        for one in acts:
            one(asked)

    return act


def cut_body(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body)) + body[:-20])


def reset_body(asked: Asked) -> None:
    cut_body(asked)
    asked.peer.ending.wait(0.03)  # a reset may overtake what was not read yet
    asked.peer.reset()


def cut_chunks(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, None, "transfer-encoding: chunked") + chunked(body[:40]))


def short_length(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body) - 20) + body)


def two_lengths(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body), "content-length: 7") + body)


def body(made: Callable[[Dialect], bytes], *lines: str) -> Act:
    return lambda asked: answer(200, made(asked.dialect), *lines)(asked)


def hollow(dialect: Dialect) -> bytes:
    return json.dumps({**dialect.whole("Hello."), **dialect.hollow}).encode()


def json_of(value: object) -> Act:
    return answer(200, json.dumps(value))


@functools.cache
def bomb() -> bytes:
    """64 MiB of spaces, packed to as many kilobytes."""
    packer = zlib.compressobj(wbits=31)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(64)), packer.flush()])


def stream(made: Callable[[Dialect], list[bytes]], *, ends: bool = True) -> Act:
    return streamed(made, ends=ends)


def texts(dialect: Dialect) -> list[bytes]:
    return dialect.unended("Hello.")


def half(dialect: Dialect) -> list[bytes]:
    return dialect.pieces("Hello.")[: dialect.begun + 1]


def before(dialect: Dialect) -> list[bytes]:
    return dialect.pieces("Hello.")[: dialect.begun]


def reset_stream(asked: Asked) -> None:
    stream(texts, ends=False)(asked)
    asked.peer.ending.wait(0.03)  # a reset overtakes what was not read yet
    asked.peer.reset()


def stalled_stream(asked: Asked) -> None:
    stream(texts, ends=False)(asked)
    asked.peer.stall()


def trickled_stream(asked: Asked) -> None:
    asked.peer.say(STREAM_HEAD)
    while not asked.peer.ending.wait(0.02):
        asked.peer.say(chunked(b": still here\n\n"))


def failing(status: int) -> bytes:
    error = {"message": "no", "type": "some_error", "code": status}
    return b"data: " + json.dumps({"type": "error", "error": error}).encode() + b"\n\n"


def retry_after_date(seconds: float) -> Act:
    def act(asked: Asked) -> object:
        date = formatdate(time() + seconds, usegmt=True)
        return error(503, f"retry-after: {date}")(asked)

    return act


def packed_bomb(status: int) -> Act:
    def act(asked: Asked) -> object:
        return answer(status, bomb(), "content-encoding: gzip")(asked)

    return act
