"""Everything that a server may do wrong, and what becomes of it."""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from time import time
from typing import Any, Literal

from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    CallError,
    ConnectionFailed,
    ContentPolicy,
    ContextWindowExceeded,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    Timeout,
)
from tests.faults.dialects import DIALECTS, Dialect, body_of
from tests.faults.server import Act, Asked, answer, error, head, streamed
from tests.sockets import STREAM_HEAD, chunked

ALL = tuple(DIALECTS)
CHATS = ("openai", "mistral")
RETRIES = 2


@dataclass(frozen=True)
class Fault:
    """What a server does, and the law of what becomes of a call to it.

    `asks` is the least wait between two attempts; `ways` are those that the fault is a fault in,
    and `routes` the APIs. `said` says that the answer names a request id, `partial` is the text
    that came before a stream broke. `transient` says that the fault is tried once more with a
    right answer after it.
    """

    act: Act
    kind: type[CallError]
    retried: bool = True
    status: int | None = 200
    asks: float = 0.0
    ways: Literal["all", "whole", "streamed"] = "all"
    routes: tuple[str, ...] = ALL
    said: bool = True
    partial: str = ""
    retries: int = RETRIES
    retryable: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        return self.retries + 1 if self.retried else 1


SILENT: dict[str, Any] = {"said": False, "status": None}
SLOW: dict[str, Any] = {
    "retries": 1,
    "settings": {"timeout": 0.15},
    "routes": ("openai", "anthropic"),
}


def _stalls(asked: Asked) -> None:
    asked.peer.stall()


def _resets(asked: Asked) -> None:
    asked.peer.reset()


def _closes(asked: Asked) -> None:
    """Close in the ordinary way, without a word."""


def _slow_head(asked: Asked) -> None:
    asked.peer.trickle(b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 500, 0.02)


def _slow_body(asked: Asked) -> None:
    body = body_of(asked.dialect) + b" " * 200
    asked.peer.say(head(200, len(body)))
    asked.peer.trickle(body, 0.02)


def _stalled_body(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body)) + body[:10])
    asked.peer.stall()


def _endless(line: bytes) -> Act:
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


def _then(*acts: Act) -> Act:
    """Do one after the other, and close."""

    def act(asked: Asked) -> None:
        for one in acts:
            one(asked)

    return act


def _cut_body(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body)) + body[:-20])


def _reset_body(asked: Asked) -> None:
    _cut_body(asked)
    asked.peer.ending.wait(0.03)  # a reset may overtake what was not read yet
    asked.peer.reset()


def _cut_chunks(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, None, "transfer-encoding: chunked") + chunked(body[:40]))


def _short_length(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body) - 20) + body)


def _two_lengths(asked: Asked) -> None:
    body = body_of(asked.dialect)
    asked.peer.say(head(200, len(body), "content-length: 7") + body)


def _body(made: Callable[[Dialect], bytes], *lines: str) -> Act:
    return lambda asked: answer(200, made(asked.dialect), *lines)(asked)


def _hollow(dialect: Dialect) -> bytes:
    return json.dumps({**dialect.whole("Hello."), **dialect.hollow}).encode()


def _json(value: object) -> Act:
    return answer(200, json.dumps(value))


@functools.cache
def bomb() -> bytes:
    """64 MiB of spaces, packed to as many kilobytes."""
    packer = zlib.compressobj(wbits=31)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(64)), packer.flush()])


def _stream(made: Callable[[Dialect], list[bytes]], *, ends: bool = True) -> Act:
    return streamed(made, ends=ends)


def _text(dialect: Dialect) -> list[bytes]:
    return dialect.unended("Hello.")


def _half(dialect: Dialect) -> list[bytes]:
    return dialect.pieces("Hello.")[: dialect.begun + 1]


def _before(dialect: Dialect) -> list[bytes]:
    return dialect.pieces("Hello.")[: dialect.begun]


def _reset_stream(asked: Asked) -> None:
    _stream(_text, ends=False)(asked)
    asked.peer.ending.wait(0.03)  # a reset overtakes what was not read yet
    asked.peer.reset()


def _stalled_stream(asked: Asked) -> None:
    _stream(_text, ends=False)(asked)
    asked.peer.stall()


def _trickled_stream(asked: Asked) -> None:
    asked.peer.say(STREAM_HEAD)
    while not asked.peer.ending.wait(0.02):
        asked.peer.say(chunked(b": still here\n\n"))


def _failing(status: int) -> bytes:
    error = {"message": "no", "type": "some_error", "code": status}
    return b"data: " + json.dumps({"type": "error", "error": error}).encode() + b"\n\n"


def _retry_after_date(seconds: float) -> Act:
    def act(asked: Asked) -> object:
        date = formatdate(time() + seconds, usegmt=True)
        return error(503, f"retry-after: {date}")(asked)

    return act


def _bomb(status: int) -> Act:
    def act(asked: Asked) -> object:
        return answer(status, bomb(), "content-encoding: gzip")(asked)

    return act


def _redirect(status: int) -> Fault:
    there = "location: http://127.0.0.1:9/v1/chat/completions"
    return Fault(answer(status, b"", there), ConnectionFailed, retried=False, status=status)


def _status(
    status: int, kind: type[CallError], retried: bool = False, *lines: str, **about: Any
) -> Fault:
    return Fault(error(status, *lines, **about), kind, retried=retried, status=status)


def _again(said: str, asks: float = 0.0) -> Fault:
    return Fault(error(503, said), ServerError, status=503, asks=asks)


def _never(said: str) -> Fault:
    """The server asks for more time than the call has left: it fails at once."""
    made = error(429, said)
    return Fault(made, RateLimited, retried=False, retryable=True, status=429)


STATUSES: dict[str, Fault] = {
    "400": _status(400, BadRequest),
    "401": _status(401, AuthenticationFailed),
    "402": _status(402, PermissionDenied),
    "403": _status(403, PermissionDenied),
    "404": _status(404, NotFound),
    "405": _status(405, BadRequest),
    "408": _status(408, ServerError, True),
    "409": _status(409, ServerError, True),
    "410": _status(410, BadRequest),
    "413": _status(413, BadRequest),
    "415": _status(415, BadRequest),
    "422": _status(422, BadRequest),
    "429": _status(429, RateLimited, True),
    "498": _status(498, RateLimited, True),
    "500": _status(500, ServerError, True),
    "501": _status(501, ServerError),
    "502": _status(502, ServerError, True),
    "503": _status(503, ServerError, True),
    "504": _status(504, ServerError, True),
    "505": _status(505, ServerError),
    "520": _status(520, ServerError, True),
    "529": _status(529, ServerError, True),
    "599": _status(599, ServerError, True),
    "400 for a long prompt": _status(400, ContextWindowExceeded, code="context_length_exceeded"),
    "400 for a flagged prompt": _status(400, ContentPolicy, code="content_filter"),
    "429 for an exhausted quota": _status(429, RateLimited, code="insufficient_quota"),
    "429 for an exhausted quota with retry-after": _status(
        429, RateLimited, False, "retry-after: 0.01", code="insufficient_quota"
    ),
    "204": Fault(answer(204), BadResponse, status=204),
    "205": Fault(answer(205), BadResponse, status=205),
    "300": _redirect(300),
    "301": _redirect(301),
    "302": _redirect(302),
    "303": _redirect(303),
    "304": Fault(answer(304), ConnectionFailed, retried=False, status=304),
    "307": _redirect(307),
    "308": _redirect(308),
    "500 with a page of HTML": Fault(
        answer(500, "<html><h1>Oops</h1></html>", "content-type: text/html"),
        ServerError,
        status=500,
    ),
    "500 with nothing": Fault(answer(500), ServerError, status=500),
    "500 with half a body": Fault(
        bytes_of(head(500, 900) + b'{"error": {"mess'), ServerError, status=500
    ),
    "500 with a body without end": Fault(
        _then(bytes_of(head(500, 2**40)), _endless(b"x" * 100)),
        ServerError,
        status=500,
    ),
    "401 in a packing that nobody asked for": _status(
        401, AuthenticationFailed, False, "content-encoding: br"
    ),
    "400 for a long prompt, packed": Fault(
        answer(
            400,
            gzip.compress(b'{"error": {"message": "no", "code": "context_length_exceeded"}}'),
            "content-encoding: gzip",
        ),
        ContextWindowExceeded,
        retried=False,
        status=400,
    ),
    "500 with a bomb": Fault(_bomb(500), ServerError, status=500),
}

ADVICE: dict[str, Fault] = {
    "retry-after in seconds": _again("retry-after: 0.02", 0.02),
    "retry-after in milliseconds": _again("retry-after-ms: 20", 0.02),
    "retry-after-ms before retry-after": Fault(
        error(503, "retry-after: 3600", "retry-after-ms: 20"), ServerError, status=503, asks=0.02
    ),
    "retry-after of nothing": _again("retry-after: 0"),
    "retry-after that is negative": _again("retry-after: -5"),
    "retry-after in milliseconds that is negative": _again("retry-after-ms: -5"),
    "retry-after that is no number": _again("retry-after: NaN"),
    "retry-after that is infinite": _again("retry-after: inf"),
    "retry-after with an exponent": _again("retry-after: 1e9"),
    "retry-after that overflows": _again("retry-after: " + "9" * 400),
    "retry-after of words": _again("retry-after: in a while"),
    "retry-after that is empty": _again("retry-after:"),
    "retry-after of a date gone by": Fault(_retry_after_date(-60), ServerError, status=503),
    "retry-after of a date that does not exist": _again(
        "retry-after: Fri, 31 Feb 2031 99:99:99 GMT"
    ),
    "retry-after that is huge": _never("retry-after: 86400"),
    "retry-after in milliseconds that is huge": _never("retry-after-ms: 86400000"),
    "retry-after of a date far away": Fault(
        _retry_after_date(3600), ServerError, retried=False, retryable=True, status=503
    ),
    "retry-after of a date soon": Fault(
        _retry_after_date(1.0), ServerError, status=503, retries=1, routes=("openai",)
    ),
    "x-should-retry: false with 503": _status(503, ServerError, False, "x-should-retry: false"),
    "x-should-retry: FALSE with 429": _status(429, RateLimited, False, "X-Should-Retry: FALSE"),
    "x-should-retry: true with 400": _status(400, BadRequest, True, "x-should-retry: true"),
    "x-should-retry: true with 404": _status(404, NotFound, True, "x-should-retry: true"),
    "x-should-retry: true with 401": _status(
        401, AuthenticationFailed, False, "x-should-retry: true"
    ),
    "x-should-retry: perhaps with 503": _status(503, ServerError, True, "x-should-retry: perhaps"),
    "x-should-retry: perhaps with 400": _status(400, BadRequest, False, "x-should-retry: perhaps"),
}

CONNECTIONS: dict[str, Fault] = {
    "a reset": Fault(_resets, ConnectionFailed, **SILENT),
    "a close without a word": Fault(_closes, ConnectionFailed, **SILENT),
    "half a status line": Fault(bytes_of(b"HTTP/1."), ConnectionFailed, **SILENT),
    "half a head": Fault(bytes_of(b"HTTP/1.1 200 OK\r\ncontent-le"), ConnectionFailed, **SILENT),
    "another protocol": Fault(bytes_of(b"SSH-2.0-OpenSSH_9\r\n\r\n"), ConnectionFailed, **SILENT),
    "TLS in the clear": Fault(
        bytes_of(b"\x15\x03\x01\x00\x02\x02\x46"), ConnectionFailed, **SILENT
    ),
    "a head without end": Fault(
        _then(bytes_of(b"HTTP/1.1 200 OK\r\n"), _endless(b"x-x: y\r\n")),
        ConnectionFailed,
        **SILENT,
    ),
    "a status of two digits": Fault(
        bytes_of(b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n"), ConnectionFailed, **SILENT
    ),
    "a negative length": Fault(
        bytes_of(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}"), ConnectionFailed, **SILENT
    ),
    "two lengths": Fault(_two_lengths, ConnectionFailed, **SILENT),
    "another protocol by 101": Fault(
        bytes_of(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        ConnectionFailed,
        **SILENT,
    ),
    "silence": Fault(_stalls, Timeout, **SILENT, **SLOW),
    "slow headers": Fault(_slow_head, Timeout, **SILENT, **SLOW),
    "a hundred continues and no answer": Fault(
        _then(bytes_of(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), _stalls),
        Timeout,
        **SILENT,
        **SLOW,
    ),
}

WHOLE: dict[str, Any] = {"ways": "whole"}
BODIES: dict[str, Fault] = {
    "a trickled body": Fault(_slow_body, Timeout, **WHOLE, **SLOW),
    "a stalled body": Fault(_stalled_body, Timeout, **WHOLE, **SLOW),
    "a cut body": Fault(_cut_body, BadResponse, **WHOLE),
    "a reset within the body": Fault(_reset_body, BadResponse, **WHOLE),
    "cut chunks": Fault(_cut_chunks, BadResponse, **WHOLE),
    "chunks with a wrong length": Fault(
        bytes_of(
            head(200, None, "transfer-encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n"
        ),
        BadResponse,
        **WHOLE,
    ),
    "a length that is too short": Fault(_short_length, BadResponse, **WHOLE),
    "an empty body": Fault(answer(200), BadResponse, **WHOLE),
    "half of the JSON": Fault(_body(lambda d: body_of(d)[:50]), BadResponse, **WHOLE),
    "a page of HTML": Fault(
        answer(200, "<html>Welcome</html>", "content-type: text/html"), BadResponse, **WHOLE
    ),
    "no UTF-8": Fault(_body(lambda d: body_of(d, "\xff") + b"\xff\xfe"), BadResponse, **WHOLE),
    "JSON that is too deep": Fault(
        answer(200, '{"choices": ' + "[" * 3000), BadResponse, **WHOLE
    ),
    "a list": Fault(_json([1]), BadResponse, **WHOLE),
    "null": Fault(_json(None), BadResponse, **WHOLE),
    "a text": Fault(_json("Hello."), BadResponse, **WHOLE),
    "an object of nothing": Fault(_json({}), BadResponse, **WHOLE),
    "no answers in it": Fault(_body(_hollow), BadResponse, **WHOLE),
    "choices that are null": Fault(
        _json({"choices": None}), BadResponse, routes=CHATS, **WHOLE
    ),
    "choices that are numbers": Fault(
        _json({"choices": [1, 2]}), BadResponse, routes=CHATS, **WHOLE
    ),
    "a choice without a message": Fault(
        _json({"choices": [{"index": 0}]}), BadResponse, routes=CHATS, **WHOLE
    ),
    "an error in a 200": Fault(_json({"error": {"message": "no"}}), BadResponse, **WHOLE),
    "429 in a 200": Fault(
        _json({"error": {"message": "no", "code": 429}}), RateLimited, status=429, **WHOLE
    ),
    "401 in a 200": Fault(
        _json({"error": {"message": "no", "code": 401}}),
        AuthenticationFailed,
        retried=False,
        status=401,
        **WHOLE,
    ),
    "a huge body": Fault(
        _then(bytes_of(head(200, 2**40)), _endless(b" " * 1000)),
        BadResponse,
        retried=False,
        settings={"max_body": 2**20},
        **WHOLE,
    ),
    "huge chunks": Fault(
        _then(
            bytes_of(head(200, None, "transfer-encoding: chunked")),
            _endless(chunked(b" " * 1000)),
        ),
        BadResponse,
        retried=False,
        settings={"max_body": 2**20},
        **WHOLE,
    ),
    "a gzip bomb": Fault(
        _bomb(200),
        BadResponse,
        retried=False,
        settings={"max_body": 2**20},
        **WHOLE,
    ),
    "broken gzip": Fault(
        _body(lambda d: gzip.compress(body_of(d))[:-12], "content-encoding: gzip"),
        BadResponse,
        **WHOLE,
    ),
    "gzip that is none": Fault(
        _body(body_of, "content-encoding: gzip"), BadResponse, **WHOLE
    ),
    "a packing that nobody asked for": Fault(
        _body(body_of, "content-encoding: br"), BadResponse
    ),
}  # fmt: skip

STREAMED: dict[str, Any] = {"ways": "streamed"}
BROKEN: dict[str, Any] = {"ways": "streamed", "retried": False, "partial": "Hello."}
STREAMS: dict[str, Fault] = {
    "a stream of nothing": Fault(_stream(lambda d: []), BadResponse, **STREAMED),
    "an empty body for a stream": Fault(answer(200), BadResponse, **STREAMED),
    "a stream of comments": Fault(_stream(lambda d: [b": x\n\n"] * 9), BadResponse, **STREAMED),
    "a stream that is done at once": Fault(
        _stream(lambda d: [b"data: [DONE]\n\n"]), BadResponse, **STREAMED
    ),
    "a stream cut before its text": Fault(_stream(_before, ends=False), BadResponse, **STREAMED),
    "a stream that ends before its text": Fault(_stream(_before), BadResponse, **STREAMED),
    "an error before the text": Fault(
        _stream(lambda d: [*_before(d), _failing(503)]), ServerError, status=503, **STREAMED
    ),
    "401 before the text": Fault(
        _stream(lambda d: [*_before(d), _failing(401)]),
        AuthenticationFailed,
        retried=False,
        status=401,
        **STREAMED,
    ),
    "garbage before the text": Fault(
        _stream(lambda d: [*_before(d), b"data: {]\n\n", *_text(d)]), BadResponse, **STREAMED
    ),
    "a page of HTML for a stream": Fault(
        answer(200, "<html>Welcome</html>", "content-type: text/html"), BadResponse, **STREAMED
    ),
    "a trickle of comments": Fault(
        _trickled_stream, Timeout, said=False, **SLOW, **STREAMED
    ),
    "a stream that is cut": Fault(_stream(_text, ends=False), BadResponse, **BROKEN),
    "a stream that is reset": Fault(_reset_stream, BadResponse, **BROKEN),
    "a stream without a finish reason": Fault(_stream(_text), BadResponse, **BROKEN),
    "a stream that is done without a finish reason": Fault(
        _stream(lambda d: [*_text(d), b"data: [DONE]\n\n"]), BadResponse, **BROKEN
    ),
    "a stream cut within a piece": Fault(
        _stream(lambda d: [*_text(d), b'data: {"choi'], ends=False), BadResponse, **BROKEN
    ),
    "an error after the text": Fault(
        _stream(lambda d: [*_text(d), _failing(503)]), ServerError, status=503, **BROKEN
    ),
    "garbage after the text": Fault(
        _stream(lambda d: [*_text(d), b"data: {]\n\n"]), BadResponse, **BROKEN
    ),
    "garbage within the text": Fault(
        _stream(lambda d: [*_half(d), b"data: {]\n\n", *d.pieces("Hello.")[d.begun + 1 :]]),
        BadResponse,
        **{**BROKEN, "partial": "Hel"},
    ),
    "a list after the text": Fault(
        _stream(lambda d: [*_text(d), b"data: [1]\n\n"]), BadResponse, **BROKEN
    ),
    "no UTF-8 after the text": Fault(
        _stream(lambda d: [*_text(d), b"data: \xff\xfe\n\n"]), BadResponse, **BROKEN
    ),
    "chunks out of step after the text": Fault(
        _then(_stream(_text, ends=False), bytes_of(b"zz\r\nhello\r\n")),
        BadResponse,
        **BROKEN,
    ),
    "a stall after the text": Fault(
        _stalled_stream, Timeout, **{**SLOW, **BROKEN}
    ),
    "a stream without an end": Fault(
        _then(_stream(_text, ends=False), _endless(chunked(b": " + b"x" * 4000 + b"\n\n"))),
        BadResponse,
        settings={"max_body": 2**20},
        **BROKEN,
    ),
}  # fmt: skip


def _once_each(faults: Mapping[str, Fault]) -> dict[str, Fault]:
    """Leave out the routes on which the same code reads the head of an answer."""
    routes = ("openai", "anthropic")
    return {
        name: replace(fault, routes=routes) if fault.routes is ALL else fault
        for name, fault in faults.items()
    }


FAULTS: dict[str, Fault] = {
    **_once_each({**STATUSES, **ADVICE, **CONNECTIONS}),
    **BODIES,
    **STREAMS,
}
