"""What servers say of errors, and what watches over their bodies; `tests/faults` has the rest."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lmconf.errors import (
    BadRequest,
    BadResponse,
    CallError,
    ConnectionFailed,
    ContentPolicy,
    ContextWindowExceeded,
    RateLimited,
    ServerError,
    UsageError,
)
from lmconf.schema.frozen import FrozenMap
from lmconf.transports import Connection, Phases, Request, Transport, make
from lmconf.transports.specs import TransportSpec
from lmconf.transports.status_errors import error_for_status, no_advice
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse

Way = Callable[[Transport, Request], Any]


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


def request_to(base: str, **changes: Any) -> Request:
    given: dict[str, Any] = {
        "route": "chat",
        "provider": "openai",
        "model": "tiny",
        "connection": Connection(base=base, key="sk-the-key-0123456789"),
        "messages": [{"role": "user", "content": "Say hello."}],
    }
    return Request(**{**given, **changes})


def complete(transport: Transport, request: Request) -> Any:
    return transport.complete(request)


def acomplete(transport: Transport, request: Request) -> Any:
    return asyncio.run(_awaited(transport, request))


async def _awaited(transport: Transport, request: Request) -> Any:
    return await transport.acomplete(request)


def stream(transport: Transport, request: Request) -> Any:
    return list(transport.stream(request))


def astream(transport: Transport, request: Request) -> Any:
    async def read() -> list[Any]:
        return [chunk async for chunk in transport.astream(request)]

    return asyncio.run(read())


WHOLE: tuple[Way, ...] = (complete, acomplete)
STREAMED: tuple[Way, ...] = (stream, astream)


def failure(way: Way, transport: Transport, server: Loopback, **changes: Any) -> CallError:
    with pytest.raises(CallError) as raised:
        way(transport, request_to(server.v1, **changes))
    error = raised.value
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


@pytest.mark.parametrize(
    ("status", "error", "kind", "retryable"),
    [
        (429, {"message": "pay", "type": "insufficient_quota"}, RateLimited, False),
        (529, {"type": "overloaded_error", "message": "busy"}, ServerError, True),
        (400, {"message": "x", "type": "exceed_context_size_error"}, ContextWindowExceeded, False),
        (400, {"message": "prompt is too long: 9 > 8"}, ContextWindowExceeded, False),
        (400, {"message": "x", "code": "content_policy_violation"}, ContentPolicy, False),
        (
            400,
            {"message": "x", "code": "y", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
            ContentPolicy,
            False,
        ),
        (500, {"message": "context window handler crashed"}, ServerError, True),
    ],
)
def test_the_code_in_an_errors_body_decides_the_kind(
    status: int, error: Mapping[str, Any], kind: type[CallError], retryable: bool
) -> None:
    body = json.dumps({"error": error}).encode()
    found = error_for_status(status, {}, body, (), no_advice)
    assert type(found) is kind
    assert found.retryable is retryable
    assert found.status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>Bad gateway</h1></html>",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 9999,
    ],
)
def test_an_errors_body_may_be_anything(body: bytes) -> None:
    found = error_for_status(502, {}, body, (), no_advice)
    assert type(found) is ServerError
    assert "<html>" not in found.message
    assert found.message


def test_the_reader_of_headers_has_the_last_word_on_trying_again() -> None:
    def advice(status: int, headers: Mapping[str, str]) -> tuple[float | None, bool | None]:
        return 7.0, headers["x-should-retry"] == "true"

    no = error_for_status(500, {"x-should-retry": "false"}, b"", (), advice)
    yes = error_for_status(400, {"x-should-retry": "true"}, b"", (), advice)
    assert (no.retryable, no.retry_after) == (False, 7.0)
    assert (yes.retryable, type(yes)) == (True, BadRequest)


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_a_refused_connection_is_a_connection_that_failed(way: Way, transport: Transport) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=rf"127\.0\.0\.1:{port}") as raised:
        way(transport, request_to(f"http://127.0.0.1:{port}/v1"))
    assert raised.value.retryable
    assert raised.value.__context__ is None


@pytest.mark.parametrize("way", WHOLE)
def test_a_packed_answer_is_unpacked(way: Way, transport: Transport) -> None:
    body = gzip.compress(json.dumps(chat("Packed.")).encode())
    with serving(Reply(body=body, headers={"content-encoding": "gzip"})) as server:
        response = way(transport, request_to(server.v1))
    assert response["choices"][0]["message"]["content"] == "Packed."


@functools.cache
def bomb() -> bytes:
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(b"data: "), *(packer.compress(b" " * 2**20) for _ in range(256))]
    return b"".join([*parts, packer.flush()])


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_a_bomb_takes_no_more_memory_than_an_answer_may(way: Way, transport: Transport) -> None:
    """A quarter of a gibibyte, packed to as many kilobytes, is given up at the cap."""
    headers = {"content-encoding": "gzip"}
    replies = [Reply(body=bomb(), headers=headers), Reply(pieces=[bomb()], headers=headers)]
    for reply in replies:
        with serving(reply) as server:
            failure(way, transport, server, max_body=2**22)
            tracemalloc.start()
            try:
                error = failure(way, transport, server, max_body=2**22)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert type(error) is BadResponse
        assert "larger than 4MiB" in error.message
        assert most < 40 * 2**20


@pytest.mark.parametrize("way", WHOLE)
def test_a_packed_body_of_several_parts_is_unpacked_and_nothing_may_follow_it(
    way: Way, transport: Transport
) -> None:
    whole = json.dumps(chat("Packed.")).encode()
    parts = gzip.compress(whole[:40]) + gzip.compress(b"") + gzip.compress(whole[40:])
    headers = {"content-encoding": "gzip"}
    with serving(Reply(body=parts, headers=headers)) as server:
        response = way(transport, request_to(server.v1))
        assert response["choices"][0]["message"]["content"] == "Packed."
        server.answers(Reply(body=parts + b"more", headers=headers))
        assert "damaged" in failure(way, transport, server).message


@pytest.mark.parametrize("way", WHOLE)
def test_a_packed_body_that_holds_nothing_is_no_way_around_the_cap(
    way: Way, transport: Transport
) -> None:
    body = gzip.compress(b"") * 2**16
    with serving(Reply(body=body, headers={"content-encoding": "gzip"})) as server:
        error = failure(way, transport, server, max_body=2**20)
    assert "larger than 1MiB" in error.message


def test_the_phases_of_an_attempt_have_bounds_of_their_own(transport: Transport) -> None:
    with serving(Reply(json=chat(), pause=3.0)) as server:
        error = failure(complete, transport, server, timeout=Phases(total=60, first_byte=0.2))
        assert "no answer within 0.2s" in error.message
        server.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo.")), gap=3.0))
        error = failure(stream, transport, server, timeout=Phases(total=60, idle=0.2))
        assert "no more of the answer came within 0.2s" in error.message
        assert error.partial == "Hel"


@pytest.mark.parametrize("way", STREAMED)
def test_text_that_talks_of_the_end_is_not_taken_for_it(way: Way, transport: Transport) -> None:
    said = '"finish_reason": "stop" and "done": true'
    chunks = chat_chunks("", said, finish=None, usage=False)
    with serving(Reply(pieces=sse(*chunks, done=False))) as server:
        error = failure(way, transport, server)
    assert type(error) is BadResponse
    assert error.partial == said


@pytest.mark.parametrize("way", STREAMED)
def test_the_end_is_seen_however_the_bytes_are_split(way: Way, transport: Transport) -> None:
    whole = b"".join(sse(*chat_chunks("Hel", "lo.", usage=False), done=False))
    pieces = [whole[i : i + 7] for i in range(0, len(whole), 7)]
    with serving(Reply(pieces=pieces)) as server:
        chunks = way(transport, request_to(server.v1))
    reasons = [choice.get("finish_reason") for chunk in chunks for choice in chunk["choices"]]
    assert "stop" in reasons


def test_a_stream_closed_early_frees_its_connection(transport: Transport) -> None:
    gone = threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            for _ in range(2000):
                yield from sse(*chat_chunks("x" * 1000, finish=None, usage=False), done=False)
        finally:
            gone.set()

    with serving(Reply(pieces=pieces())) as server:
        chunks = transport.stream(request_to(server.v1))
        assert next(chunks)["choices"]
        chunks.close()  # type: ignore[attr-defined]
        assert gone.wait(10)


def test_nothing_is_printed_or_logged_when_a_call_fails(
    transport: Transport, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(status=500, json={"error": {"message": "down"}})) as server:
        for way in (*WHOLE, *STREAMED):
            failure(way, transport, server)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["api_key", "num_retries", "fallbacks", "caching", "client"])
def test_arguments_that_belong_to_other_fields_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        make(TransportSpec(args=FrozenMap({name: 1})))


def test_one_transport_serves_many_threads_and_loops_at_once(transport: Transport) -> None:
    def echo(received: Any) -> Reply:
        time.sleep(0.02)
        return Reply(json=chat(received.json["messages"][0]["content"]))

    said: dict[str, str] = {}

    def ask(name: str, base: str, way: Way) -> None:
        messages = [{"role": "user", "content": name}]
        response = way(transport, request_to(base, messages=messages))
        said[name] = response["choices"][0]["message"]["content"]

    with serving() as server:
        server.script = echo
        threads = [
            threading.Thread(target=ask, args=(f"{way.__name__}{i}", server.v1, way))
            for i in range(8)
            for way in WHOLE
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(said) == 16
    assert all(name == text for name, text in said.items())
