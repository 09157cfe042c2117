"""What every transport owes, shown for each kind: those that come with lmconf and a registered one."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from lmconf.errors import BadResponse, CallError, RateLimited, UsageError
from lmconf.runtime import LM
from lmconf.spec.frozen import FrozenMap
from lmconf.transports import (
    KINDS,
    Connection,
    Json,
    Request,
    Transport,
    make,
    names,
    register_transport,
)
from lmconf.transports.specs import TransportSpec
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse


class Plain:
    """A transport of one's own, on nothing but the standard library."""

    def __init__(self, path: str = "/chat/completions") -> None:
        self.path = path
        self.closed = 0

    def complete(self, request: Request) -> Json:
        body = {"model": request.model, "messages": list(request.messages), **request.settings}
        status, text = self._post(request, body)
        if status != 200:
            raise RateLimited("slow down", status=status)
        found: Json = json.loads(text)
        if not found.get("choices"):
            raise BadResponse("the answer holds no choices")
        return found

    async def acomplete(self, request: Request) -> Json:
        return await asyncio.to_thread(self.complete, request)

    def stream(self, request: Request) -> Iterator[Json]:
        status, text = self._post(request, {"messages": list(request.messages), "stream": True})
        if status != 200:
            raise RateLimited("slow down", status=status)
        chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        yield from chunks
        if not any(choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]):
            raise BadResponse("the stream was cut short")

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        for chunk in self.stream(request):
            yield chunk

    def _post(self, request: Request, body: Json) -> tuple[int, str]:
        posted = urllib.request.Request(
            f"{request.connection.base}{self.path}", json.dumps(body).encode()
        )
        try:
            with urllib.request.urlopen(posted) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with closing(error):
                return error.code, ""

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table with `plain` in it, for this test alone."""
    monkeypatch.setitem(KINDS, "plain", lambda arguments, advice: Plain(**arguments))


@pytest.fixture(params=["litellm", "plain"])
def transport(request: pytest.FixtureRequest, plain: None) -> Iterator[Transport]:
    made = make(TransportSpec(use=request.param))
    yield made
    made.close()
    made.close()


def request_to(server: Loopback) -> Request:
    return Request(
        route="chat",
        provider="openai",
        model="tiny",
        connection=Connection(base=server.v1, key=""),
        messages=[{"role": "user", "content": "Say hello."}],
    )


async def gathered(chunks: AsyncIterator[Json]) -> list[Json]:
    return [chunk async for chunk in chunks]


def text_of(chunks: list[Json]) -> str:
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )


def test_a_response_is_plain_json_alike_for_threads_and_loops(transport: Transport) -> None:
    with serving(chat()) as server:
        request = request_to(server)
        response = transport.complete(request)

        async def asked() -> Json:
            return await transport.acomplete(request)

        assert asyncio.run(asked()) == response
    assert json.loads(json.dumps(response)) == response
    (choice,) = response["choices"]
    assert choice["message"]["content"] == "Hello."
    assert choice["finish_reason"] == "stop"
    assert response["usage"]["total_tokens"] == 7


def test_a_stream_yields_the_text_in_order_and_its_finish(transport: Transport) -> None:
    with serving(Reply(pieces=sse(*chat_chunks("Hel", "lo", ".")))) as server:
        request = request_to(server)
        for chunks in (
            list(transport.stream(request)),
            asyncio.run(gathered(transport.astream(request))),
        ):
            assert json.loads(json.dumps(chunks)) == chunks
            assert text_of(chunks) == "Hello."
            reasons = [choice.get("finish_reason") for c in chunks for choice in c["choices"]]
            assert [reason for reason in reasons if reason] == ["stop"]


def test_a_cut_stream_and_an_empty_answer_are_bad_responses(transport: Transport) -> None:
    cut = Reply(pieces=sse(*chat_chunks("Hel", finish=None, usage=False), done=False))
    with serving(cut) as server:
        with pytest.raises(BadResponse):
            list(transport.stream(request_to(server)))
        with pytest.raises(BadResponse):
            asyncio.run(gathered(transport.astream(request_to(server))))
        server.answers({"choices": []})
        with pytest.raises(BadResponse):
            transport.complete(request_to(server))


def test_one_failure_is_one_attempt_and_a_call_error(transport: Transport) -> None:
    with serving(Reply(status=429, json={"error": {"message": "slow"}})) as server:
        request = request_to(server)
        ways: list[Callable[[], Any]] = [
            lambda: transport.complete(request),
            lambda: list(transport.stream(request)),
            lambda: asyncio.run(gathered(transport.astream(request))),
        ]
        for number, way in enumerate(ways, 1):
            with pytest.raises(CallError) as raised:
                way()
            assert type(raised.value) is RateLimited
            assert raised.value.status == 429
            assert len(server.received) == number


def test_a_transport_is_used_from_many_threads(transport: Transport) -> None:
    with serving(chat()) as server:
        texts: list[str] = []

        def ask() -> None:
            texts.append(transport.complete(request_to(server))["choices"][0]["message"]["content"])

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["Hello."] * 6


def test_making_a_transport_imports_nothing_and_opens_nothing() -> None:
    assert isinstance(make(TransportSpec()), object)
    with pytest.raises(UsageError, match="did you mean 'litellm'"):
        make(TransportSpec(use="lite_llm"))


def test_the_kind_that_comes_with_lmconf_cannot_be_replaced() -> None:
    with pytest.raises(UsageError):
        register_transport("litellm", Plain)


@pytest.mark.usefixtures("plain")
def test_an_lm_sends_through_a_registered_transport() -> None:
    """Everything around it stays: retries, what is kept, history, streams."""
    register_transport("plain", Plain)
    assert "plain" in names()
    chunks = Reply(pieces=sse(*chat_chunks("St", "ream.")))
    with serving(Reply(status=429, json={}), chat("Mine."), chunks) as server:
        lm = LM(
            "openai/tiny",
            api_base=server.v1,
            api_key="",
            seed=71,
            retry={"initial": 0.001},
            transport={"use": "plain", "args": FrozenMap(path="/own/path")},
        )
        answer = lm.ask("hi")
        assert (answer.text, answer.attempts) == ("Mine.", 2)
        assert lm("hi") == ["Mine."]
        with lm.stream("other") as stream:
            assert "".join(stream) == "Stream."
        assert [received.path for received in server.received] == ["/v1/own/path"] * 3
        # The same question by another transport is another question.
        server.answers(chat("Through litellm."))
        assert lm.copy(transport="litellm")("hi") == ["Through litellm."]
