"""Which client sends: what each built-in transport does, read at a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lmconf
from lmconf.errors import BadRequest, UsageError
from lmconf.providers.catalogue import PROVIDERS
from lmconf.transports import Request, make
from lmconf.transports.specs import TransportSpec
from tests.loopback import Reply, chat, chat_chunks, completion, serving, sse
from tests.wire.test_every_route import AMBIENT, KEY, STREAMED, WHOLE, Way, request_to, sole

pytestmark = pytest.mark.usefixtures("hostile")

BARE = [record.name for record in PROVIDERS.values() if record.chat == "bare"]
BY_LITELLM = [name for name in BARE if PROVIDERS[name].litellm not in (None, "own")]
SPEAKING = [record.name for record in PROVIDERS.values() if record.chat == "openai"]


def send(use: str, provider: str, way: Way, reply: Any, **changes: Any) -> Any:
    """Return what a server receives of one request that the transport `use` carries."""
    transport = make(TransportSpec(use=use))
    with serving(reply) as server:
        way(transport, request_to(server, provider, **changes))
        received = sole(server)
    transport.close()
    assert received.text.count(KEY) == 1
    assert AMBIENT not in received.text
    assert received.json["temperature"] == 0.0
    return received


def reply_of(way: Way) -> Any:
    return Reply(pieces=sse(*chat_chunks("Hel", "lo."))) if way in STREAMED else chat()


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("provider", BY_LITELLM)
def test_litellm_carries_what_it_is_named_for(provider: str, way: Way) -> None:
    reply = {**chat(), "service_tier": "on_demand"} if way in WHOLE else reply_of(way)
    received = send("litellm", provider, way, reply)
    assert received.header("user-agent") != "lmconf"


def test_azures_token_goes_through_litellm_as_a_token() -> None:
    token = {"key": KEY, "other": {"azure_ad_token": KEY, "api_version": "2025-01-01"}}
    received = send("litellm", "azure", WHOLE[0], chat(), connection=token)
    assert received.header("authorization") == f"Bearer {KEY}"
    assert received.header("api-key") is None
    assert received.path == "/openai/deployments/tiny/chat/completions?api-version=2025-01-01"
    with pytest.raises(BadRequest, match="has none"):
        send("litellm", "azure", WHOLE[0], chat(), connection={"other": {"api_version": "v1"}})


@pytest.mark.parametrize("provider", BARE)
def test_what_speaks_the_openai_api_is_sent_by_lmconfs_own_client(provider: str) -> None:
    received = send("auto", provider, WHOLE[0], chat())
    assert received.header("user-agent") == "lmconf"


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("provider", [*SPEAKING, "openai"])
def test_the_own_client_can_be_named_where_the_openai_api_is_spoken(
    provider: str, way: Way
) -> None:
    received = send("openai", provider, way, reply_of(way))
    assert received.header("user-agent") == "lmconf"


CANNOT: list[tuple[str, str, Any, str]] = [
    ("litellm", "openai", "responses", "the Responses API"),
    ("litellm", "openai", "text", "lmconf's own client sends completions"),
    ("litellm", "anyscale", "chat", "does not know"),
    ("litellm", "maritalk", "chat", "cannot be given"),
    ("openai", "anthropic", "chat", "does not use the OpenAI API"),
    ("openai", "groq", "text", "does not use the OpenAI API"),
]


@pytest.mark.parametrize(("use", "provider", "route", "why"), CANNOT)
def test_what_a_transport_cannot_carry_is_told_before_anything_is_sent(
    use: str, provider: str, route: Any, why: str
) -> None:
    with pytest.raises(lmconf.ProfileError, match=why) as raised:
        lmconf.LM(f"{provider}/tiny", model_type=route, transport=use, api_key="")
    assert [(d.code, d.path) for d in raised.value.diagnostics] == [
        ("contradiction", ("transport", "use"))
    ]
    transport = make(TransportSpec(use=use))
    with serving(chat()) as server:
        with pytest.raises(BadRequest, match=why):
            transport.complete(request_to(server, provider, route))
        assert server.received == []


def test_arguments_are_litellms() -> None:
    arguments: Any = {"seed": 7}
    transport = make(TransportSpec(use="litellm", args=arguments))
    with serving(chat()) as server:
        transport.complete(request_to(server, "openai"))
        assert sole(server).json["seed"] == 7
    transport = make(TransportSpec(args=arguments))
    with serving(chat()) as server:
        with pytest.raises(UsageError, match="do not go through"):
            transport.complete(request_to(server, "openai"))
        assert server.received == []
    with pytest.raises(lmconf.ProfileError, match="does not send these requests"):
        lmconf.LM("openai/tiny", transport={"args": arguments})


def test_a_registered_provider_is_asked_for_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    make_record: Callable[..., lmconf.Provider] = lmconf.Provider
    chats, both = make_record("chats"), make_record("both", text="bare")
    for record in (chats, both):
        monkeypatch.setitem(PROVIDERS, record.name, record)
    with pytest.raises(lmconf.ProfileError, match="no API for completions"):
        lmconf.LM("chats/tiny", api_base="https://a.example", api_key="", model_type="text")
    transport = make(TransportSpec())
    with serving(completion()) as server:
        with pytest.raises(BadRequest, match="no API for completions"):
            transport.complete(request_to(server, "chats", "text"))
        request: Request = request_to(server, "both", "text")
        assert transport.complete(request)["choices"][0]["text"] == "Hello."
        assert sole(server).path == "/v1/completions"
