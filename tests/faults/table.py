"""Everything that a server may do wrong, and what becomes of it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
from tests.faults.acts import (
    before,
    body,
    bytes_of,
    closes,
    cut_body,
    cut_chunks,
    endless,
    failing,
    half,
    hollow,
    json_of,
    packed_bomb,
    reset_body,
    reset_stream,
    resets,
    retry_after_date,
    short_length,
    slow_body,
    slow_head,
    stalled_body,
    stalled_stream,
    stalls,
    stream,
    texts,
    then,
    trickled_stream,
    two_lengths,
)
from tests.faults.dialects import body_of
from tests.faults.fault import ALL, CHATS, Fault
from tests.faults.server import answer, error, head
from tests.sockets import chunked

SILENT: dict[str, Any] = {"said": False, "status": None}
SLOW: dict[str, Any] = {
    "retries": 1,
    "settings": {"timeout": 0.15},
    "routes": ("openai", "anthropic"),
}


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
        then(bytes_of(head(500, 2**40)), endless(b"x" * 100)),
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
    "500 with a bomb": Fault(packed_bomb(500), ServerError, status=500),
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
    "retry-after of a date gone by": Fault(retry_after_date(-60), ServerError, status=503),
    "retry-after of a date that does not exist": _again(
        "retry-after: Fri, 31 Feb 2031 99:99:99 GMT"
    ),
    "retry-after that is huge": _never("retry-after: 86400"),
    "retry-after in milliseconds that is huge": _never("retry-after-ms: 86400000"),
    "retry-after of a date far away": Fault(
        retry_after_date(3600), ServerError, retried=False, retryable=True, status=503
    ),
    "retry-after of a date soon": Fault(
        retry_after_date(1.0), ServerError, status=503, retries=1, routes=("openai",)
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
    "a reset": Fault(resets, ConnectionFailed, **SILENT),
    "a close without a word": Fault(closes, ConnectionFailed, **SILENT),
    "half a status line": Fault(bytes_of(b"HTTP/1."), ConnectionFailed, **SILENT),
    "half a head": Fault(bytes_of(b"HTTP/1.1 200 OK\r\ncontent-le"), ConnectionFailed, **SILENT),
    "another protocol": Fault(bytes_of(b"SSH-2.0-OpenSSH_9\r\n\r\n"), ConnectionFailed, **SILENT),
    "TLS in the clear": Fault(
        bytes_of(b"\x15\x03\x01\x00\x02\x02\x46"), ConnectionFailed, **SILENT
    ),
    "a head without end": Fault(
        then(bytes_of(b"HTTP/1.1 200 OK\r\n"), endless(b"x-x: y\r\n")),
        ConnectionFailed,
        **SILENT,
    ),
    "a status of two digits": Fault(
        bytes_of(b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n"), ConnectionFailed, **SILENT
    ),
    "a negative length": Fault(
        bytes_of(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}"), ConnectionFailed, **SILENT
    ),
    "two lengths": Fault(two_lengths, ConnectionFailed, **SILENT),
    "another protocol by 101": Fault(
        bytes_of(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        ConnectionFailed,
        **SILENT,
    ),
    "silence": Fault(stalls, Timeout, **SILENT, **SLOW),
    "slow headers": Fault(slow_head, Timeout, **SILENT, **SLOW),
    "a hundred continues and no answer": Fault(
        then(bytes_of(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), stalls),
        Timeout,
        **SILENT,
        **SLOW,
    ),
}

WHOLE: dict[str, Any] = {"ways": "whole"}
BODIES: dict[str, Fault] = {
    "a trickled body": Fault(slow_body, Timeout, **WHOLE, **SLOW),
    "a stalled body": Fault(stalled_body, Timeout, **WHOLE, **SLOW),
    "a cut body": Fault(cut_body, BadResponse, **WHOLE),
    "a reset within the body": Fault(reset_body, BadResponse, **WHOLE),
    "cut chunks": Fault(cut_chunks, BadResponse, **WHOLE),
    "chunks with a wrong length": Fault(
        bytes_of(
            head(200, None, "transfer-encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n"
        ),
        BadResponse,
        **WHOLE,
    ),
    "a length that is too short": Fault(short_length, BadResponse, **WHOLE),
    "an empty body": Fault(answer(200), BadResponse, **WHOLE),
    "half of the JSON": Fault(body(lambda d: body_of(d)[:50]), BadResponse, **WHOLE),
    "a page of HTML": Fault(
        answer(200, "<html>Welcome</html>", "content-type: text/html"), BadResponse, **WHOLE
    ),
    "no UTF-8": Fault(body(lambda d: body_of(d, "\xff") + b"\xff\xfe"), BadResponse, **WHOLE),
    "JSON that is too deep": Fault(
        answer(200, '{"choices": ' + "[" * 3000), BadResponse, **WHOLE
    ),
    "a list": Fault(json_of([1]), BadResponse, **WHOLE),
    "null": Fault(json_of(None), BadResponse, **WHOLE),
    "a text": Fault(json_of("Hello."), BadResponse, **WHOLE),
    "an object of nothing": Fault(json_of({}), BadResponse, **WHOLE),
    "no answers in it": Fault(body(hollow), BadResponse, **WHOLE),
    "choices that are null": Fault(
        json_of({"choices": None}), BadResponse, routes=CHATS, **WHOLE
    ),
    "choices that are numbers": Fault(
        json_of({"choices": [1, 2]}), BadResponse, routes=CHATS, **WHOLE
    ),
    "a choice without a message": Fault(
        json_of({"choices": [{"index": 0}]}), BadResponse, routes=CHATS, **WHOLE
    ),
    "an error in a 200": Fault(json_of({"error": {"message": "no"}}), BadResponse, **WHOLE),
    "429 in a 200": Fault(
        json_of({"error": {"message": "no", "code": 429}}), RateLimited, status=429, **WHOLE
    ),
    "401 in a 200": Fault(
        json_of({"error": {"message": "no", "code": 401}}),
        AuthenticationFailed,
        retried=False,
        status=401,
        **WHOLE,
    ),
    "a huge body": Fault(
        then(bytes_of(head(200, 2**40)), endless(b" " * 1000)),
        BadResponse,
        retried=False,
        settings={"max_body": 2**20},
        **WHOLE,
    ),
    "huge chunks": Fault(
        then(
            bytes_of(head(200, None, "transfer-encoding: chunked")),
            endless(chunked(b" " * 1000)),
        ),
        BadResponse,
        retried=False,
        settings={"max_body": 2**20},
        **WHOLE,
    ),
    "a gzip bomb": Fault(
        packed_bomb(200),
        BadResponse,
        retried=False,
        settings={"max_body": 2**20},
        **WHOLE,
    ),
    "broken gzip": Fault(
        body(lambda d: gzip.compress(body_of(d))[:-12], "content-encoding: gzip"),
        BadResponse,
        **WHOLE,
    ),
    "gzip that is none": Fault(
        body(body_of, "content-encoding: gzip"), BadResponse, **WHOLE
    ),
    "a packing that nobody asked for": Fault(
        body(body_of, "content-encoding: br"), BadResponse
    ),
}  # fmt: skip

STREAMED: dict[str, Any] = {"ways": "streamed"}
BROKEN: dict[str, Any] = {"ways": "streamed", "retried": False, "partial": "Hello."}
STREAMS: dict[str, Fault] = {
    "a stream of nothing": Fault(stream(lambda d: []), BadResponse, **STREAMED),
    "an empty body for a stream": Fault(answer(200), BadResponse, **STREAMED),
    "a stream of comments": Fault(stream(lambda d: [b": x\n\n"] * 9), BadResponse, **STREAMED),
    "a stream that is done at once": Fault(
        stream(lambda d: [b"data: [DONE]\n\n"]), BadResponse, **STREAMED
    ),
    "a stream cut before its text": Fault(stream(before, ends=False), BadResponse, **STREAMED),
    "a stream that ends before its text": Fault(stream(before), BadResponse, **STREAMED),
    "an error before the text": Fault(
        stream(lambda d: [*before(d), failing(503)]), ServerError, status=503, **STREAMED
    ),
    "401 before the text": Fault(
        stream(lambda d: [*before(d), failing(401)]),
        AuthenticationFailed,
        retried=False,
        status=401,
        **STREAMED,
    ),
    "garbage before the text": Fault(
        stream(lambda d: [*before(d), b"data: {]\n\n", *texts(d)]), BadResponse, **STREAMED
    ),
    "a page of HTML for a stream": Fault(
        answer(200, "<html>Welcome</html>", "content-type: text/html"), BadResponse, **STREAMED
    ),
    "a trickle of comments": Fault(
        trickled_stream, Timeout, said=False, **SLOW, **STREAMED
    ),
    "a stream that is cut": Fault(stream(texts, ends=False), BadResponse, **BROKEN),
    "a stream that is reset": Fault(reset_stream, BadResponse, **BROKEN),
    "a stream without a finish reason": Fault(stream(texts), BadResponse, **BROKEN),
    "a stream that is done without a finish reason": Fault(
        stream(lambda d: [*texts(d), b"data: [DONE]\n\n"]), BadResponse, **BROKEN
    ),
    "a stream cut within a piece": Fault(
        stream(lambda d: [*texts(d), b'data: {"choi'], ends=False), BadResponse, **BROKEN
    ),
    "an error after the text": Fault(
        stream(lambda d: [*texts(d), failing(503)]), ServerError, status=503, **BROKEN
    ),
    "garbage after the text": Fault(
        stream(lambda d: [*texts(d), b"data: {]\n\n"]), BadResponse, **BROKEN
    ),
    "garbage within the text": Fault(
        stream(lambda d: [*half(d), b"data: {]\n\n", *d.pieces("Hello.")[d.begun + 1 :]]),
        BadResponse,
        **{**BROKEN, "partial": "Hel"},
    ),
    "a list after the text": Fault(
        stream(lambda d: [*texts(d), b"data: [1]\n\n"]), BadResponse, **BROKEN
    ),
    "no UTF-8 after the text": Fault(
        stream(lambda d: [*texts(d), b"data: \xff\xfe\n\n"]), BadResponse, **BROKEN
    ),
    "chunks out of step after the text": Fault(
        then(stream(texts, ends=False), bytes_of(b"zz\r\nhello\r\n")),
        BadResponse,
        **BROKEN,
    ),
    "a stall after the text": Fault(
        stalled_stream, Timeout, **{**SLOW, **BROKEN}
    ),
    "a stream without an end": Fault(
        then(stream(texts, ends=False), endless(chunked(b": " + b"x" * 4000 + b"\n\n"))),
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
