"""What leaves the machine, read at a socket: the profile's words, and nothing of the environment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lmconf.errors import AuthenticationFailed, CallError, ConnectionFailed, NotCarriedOut
from lmconf.providers.catalogue import PROVIDERS
from lmconf.transports import Connection, Request, Transport, make
from lmconf.transports.specs import TransportSpec
from tests.loopback import (
    Loopback,
    Received,
    Reply,
    anthropic,
    chat,
    chat_chunks,
    cohere,
    completion,
    gemini,
    ollama,
    serving,
    sse,
)

KEY = "sk-the-real-key-0123456789"
AMBIENT = "mark-of-"


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


def request_to(server: Loopback, provider: str, route: str = "chat", **changes: Any) -> Request:
    own_path = (
        "ollama",
        "ollama_chat",
        "anthropic",
        "gemini",
        "azure",
        "azure_text",
        "cohere",
        "cohere_chat",
    )
    base = server.url if provider in own_path else server.v1
    connection = {"base": base, "key": KEY, **changes.pop("connection", {})}
    given: dict[str, Any] = {
        "route": route,
        "provider": provider,
        "model": "tiny",
        "connection": Connection(**connection),
        "settings": {"temperature": 0.0, "max_tokens": 9},
    }
    if route == "text":
        given["prompt"] = "Say hello."
    else:
        given["messages"] = [{"role": "user", "content": "Say hello."}]
    return Request(**{**given, **changes})


def answer_of(provider: str, route: str = "chat") -> dict[str, Any]:
    if provider in ("ollama", "ollama_chat"):
        return ollama()
    if route == "text":
        return completion()
    # Groq always says it, and litellm counts on that.
    own = {"groq": lambda: {**chat(), "service_tier": "on_demand"}}
    own |= {"anthropic": anthropic, "gemini": gemini, "cohere": cohere, "cohere_chat": cohere}
    return own.get(provider, chat)()


def complete(transport: Transport, request: Request) -> Any:
    return transport.complete(request)


def acomplete(transport: Transport, request: Request) -> Any:
    return asyncio.run(transport.acomplete(request))


def stream(transport: Transport, request: Request) -> Any:
    return list(transport.stream(request))


def astream(transport: Transport, request: Request) -> Any:
    async def read() -> list[Any]:
        return [chunk async for chunk in transport.astream(request)]

    return asyncio.run(read())


Way = Callable[[Transport, Request], Any]
WHOLE = (complete, acomplete)
STREAMED = (stream, astream)

# The clouds have tests of their own: their requests are signed, or carry a token.
OTHERS = [record for record in PROVIDERS.values() if record.credentials != "cloud"]
ROUTES = [(record.name, "chat") for record in OTHERS if record.chat is not None]
ROUTES += [(record.name, "text") for record in OTHERS if record.text is not None]


def sole(server: Loopback) -> Received:
    assert len(server.received) == 1, [r.path for r in server.received]
    return server.received[0]


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize(("provider", "route"), ROUTES)
@pytest.mark.usefixtures("hostile")
def test_the_stated_key_and_no_other_is_sent_once_to_the_stated_address(
    provider: str, route: str, way: Way, transport: Transport, dialled: list[Any]
) -> None:
    with serving(answer_of(provider, route)) as server:
        response = way(transport, request_to(server, provider, route))
        received = sole(server)
    assert received.text.count(KEY) == 1
    assert KEY not in received.path
    assert AMBIENT not in received.text
    assert {address[1] for address in dialled} == {server.port}
    choice = response["choices"][0]
    said = choice["message"]["content"] if "message" in choice else choice["text"]
    assert said == "Hello."


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize(("provider", "route"), ROUTES)
@pytest.mark.usefixtures("hostile")
def test_an_empty_key_sends_no_credential_although_variables_are_set(
    provider: str, route: str, way: Way, transport: Transport, dialled: list[Any]
) -> None:
    with serving(answer_of(provider, route)) as server:
        way(transport, request_to(server, provider, route, connection={"key": ""}))
        received = sole(server)
    assert AMBIENT not in received.text
    assert "placeholder" not in received.text
    assert "lmconf-places" not in received.text
    names = {name.lower() for name, _ in received.headers}
    assert not names & {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
    assert "key=" not in received.path
    assert {address[1] for address in dialled} == {server.port}


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("key", [KEY, ""])
@pytest.mark.parametrize("provider", [r.name for r in OTHERS if r.chat == "openai"])
@pytest.mark.usefixtures("hostile")
def test_a_streamed_request_obeys_the_same_rules(
    provider: str, key: str, way: Way, transport: Transport
) -> None:
    with serving(Reply(pieces=sse(*chat_chunks("Hel", "lo.")))) as server:
        way(transport, request_to(server, provider, connection={"key": key}))
        received = sole(server)
    assert received.text.count(KEY) == (1 if key else 0)
    assert AMBIENT not in received.text
    assert received.json["stream"] is True


def test_a_header_of_the_profile_takes_the_place_of_the_credentials_own(
    transport: Transport,
) -> None:
    with serving(chat()) as server:
        headers = {"Authorization": "Basic abc"}
        transport.complete(request_to(server, "openai", connection={"key": "", "headers": headers}))
        assert sole(server).header("authorization") == "Basic abc"


@pytest.mark.parametrize("way", WHOLE)
def test_a_redirect_is_not_followed(way: Way, transport: Transport) -> None:
    with serving(chat()) as elsewhere, serving() as server:
        target = f"{elsewhere.v1}/chat/completions"
        server.answers(Reply(status=307, headers={"location": target}, json={}))
        with pytest.raises(ConnectionFailed, match="307") as raised:
            way(transport, request_to(server, "openai"))
        assert elsewhere.received == []
    assert not raised.value.retryable
    assert "redirects are not followed" in str(raised.value)


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama_chat", "deepinfra"])
def test_a_request_is_sent_once_however_it_fails(
    way: Way, provider: str, transport: Transport
) -> None:
    for reply in (
        Reply(status=500, json={"error": {"message": "down"}}),
        Reply(status=429, json={"error": {"message": "slow"}}),
        Reply(status=422, json={"error": {"message": "odd"}}),
        Reply(drop=True),
    ):
        with serving(reply) as server:
            with pytest.raises(CallError):
                way(transport, request_to(server, provider))
            assert len(server.received) == 1


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_a_key_that_a_server_echoes_is_masked_and_nothing_hangs_on_the_error(
    way: Way, transport: Transport
) -> None:
    reply = Reply(
        status=401,
        json={"error": {"message": f"Incorrect API key: {KEY}", "code": "invalid_api_key"}},
        headers={"x-request-id": "req-7"},
    )
    with serving(reply) as server, pytest.raises(AuthenticationFailed) as raised:
        way(transport, request_to(server, "openai"))
    error = raised.value
    assert error.request_id == "req-7"
    assert "***" in error.message
    assert error.__cause__ is None
    assert error.__context__ is None
    assert KEY not in f"{error!r} {error} {vars(error)}"
    trace = error.__traceback__
    while trace is not None:
        for name, value in trace.tb_frame.f_locals.items():
            if "test_every_route" not in trace.tb_frame.f_code.co_filename:
                assert KEY not in repr(value), (trace.tb_frame.f_code.co_name, name)
        trace = trace.tb_next


def test_a_provider_that_takes_no_client_is_told_that_nothing_can_be_promised(
    transport: Transport,
) -> None:
    with serving(chat()) as server, pytest.raises(NotCarriedOut, match="replicate"):
        transport.complete(request_to(server, "replicate", connection={"key": ""}))


@pytest.mark.parametrize("way", WHOLE)
def test_the_machines_proxy_is_used_and_never_for_loopback(
    way: Way, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(chat()) as proxy, serving(chat()) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY")
        way(transport, request_to(server, "openai"))
        assert (len(server.received), len(proxy.received)) == (1, 0)
        there = {"base": "http://llm.example/v1"}
        way(transport, request_to(server, "openai", connection=there))
        assert (len(server.received), len(proxy.received)) == (1, 1)
    assert proxy.received[0].path == "http://llm.example/v1/chat/completions"


async def test_a_synchronous_call_works_while_an_event_loop_runs(transport: Transport) -> None:
    with serving(chat()) as server:
        response = transport.complete(request_to(server, "openai"))
    assert response["choices"][0]["message"]["content"] == "Hello."
