"""Which key goes where: the one that is stated or implied, and no other of the many that are set."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lmconf.providers.catalogue import PROVIDERS
from lmconf.runtime import LM
from lmconf.secrets.references import Env
from tests.loopback import Loopback, serving
from tests.wire import apis
from tests.wire.environment import MARKS, marks_in
from tests.wire.providers import STREAMED, WHOLE, WIRES, Way, Wire, ask
from tests.wire.test_calls import SAID, check_envelope

pytestmark = pytest.mark.usefixtures("hostile")

ROWS = pytest.mark.parametrize("wire", [pytest.param(w, id=name) for name, w in WIRES.items()])
KEYED = pytest.mark.parametrize(
    "wire", [pytest.param(w, id=name) for name, w in WIRES.items() if w.key]
)
CARRIERS = {"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"}


@pytest.fixture(params=[*WHOLE, *STREAMED])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


def replies(wire: Wire, way: Way) -> Any:
    return (apis.STREAMED if way in STREAMED else apis.WHOLE)[wire.speaks]


def at_home(wire: Wire, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> LM:
    """Return an LM that says nothing but its model, of a provider whose own address is `server`."""
    base = server.url + wire.base
    if wire.address:
        monkeypatch.setenv(wire.address, base)
    else:
        monkeypatch.setitem(PROVIDERS, wire.name, replace(PROVIDERS[wire.name], base=base))
    return LM(f"{wire.name}/{wire.model}", cache=False, num_retries=0)


@KEYED
def test_a_providers_own_address_is_sent_its_usual_key(
    wire: Wire, way: Way, monkeypatch: pytest.MonkeyPatch, dialled: list[Any]
) -> None:
    with serving(replies(wire, way)) as server:
        way(at_home(wire, server, monkeypatch), {"messages": [SAID]})
        (received,) = server.received
    assert wire.key is not None
    check_envelope(received, wire, wire.paths["chat"], MARKS[wire.key])
    assert marks_in(received.text) == {wire.key}
    assert {address[1] for address in dialled} == {server.port}


@pytest.mark.parametrize("name", ["hosted_vllm", "ollama_chat"])
def test_a_server_that_needs_no_key_is_sent_none(
    name: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = WIRES[name]
    with serving(replies(wire, way)) as server:
        way(at_home(wire, server, monkeypatch), {"messages": [SAID]})
        (received,) = server.received
    assert not CARRIERS & {header.lower() for header, _ in received.headers}
    assert marks_in(received.text) == set()


@ROWS
def test_another_address_is_sent_the_variable_that_the_profile_names(wire: Wire, way: Way) -> None:
    with serving(replies(wire, way)) as server:
        way(wire.lm(server, api_key=Env("GEMINI_API_KEY")), {"messages": [SAID]})
        (received,) = server.received
    assert marks_in(received.text) == {"GEMINI_API_KEY"}


@ROWS
def test_an_empty_key_sends_none(wire: Wire, way: Way, dialled: list[Any]) -> None:
    with serving(replies(wire, way)) as server:
        way(wire.lm(server, api_key=""), {"messages": [SAID]})
        (received,) = server.received
    assert not CARRIERS & {header.lower() for header, _ in received.headers}
    assert marks_in(received.text) == set()
    assert "lmconf-places" not in received.text
    assert {address[1] for address in dialled} == {server.port}


@pytest.mark.parametrize(
    "stated",
    [
        {"api_key": None, "azure_ad_token": "stated-token"},
        {"api_key": "stated-token", "api_type": "azure_ad"},
        {"api_key": None, "azure_ad_token": Env("AZURE_AD_TOKEN")},
    ],
    ids=["a token", "a key that is a token", "a token of the environment"],
)
def test_azures_token_is_carried_as_one(stated: dict[str, Any], way: Way) -> None:
    wire = WIRES["azure"]
    with serving(replies(wire, way)) as server:
        base: dict[str, Any] = {"api_base": server.url, "cache": False, "num_retries": 0}
        told = {key: value for key, value in stated.items() if value is not None}
        way(LM("azure/house-gpt", **base, **told), {"messages": [SAID]})
        (received,) = server.received
    assert received.header("api-key") is None
    named = "azure_ad_token" in told and not isinstance(told["azure_ad_token"], str)
    token = MARKS["AZURE_AD_TOKEN"] if named else "stated-token"
    assert received.header("authorization") == f"Bearer {token}"
    assert marks_in(received.text) == ({"AZURE_AD_TOKEN"} if named else set())


def test_azure_is_asked_for_a_version_only_the_profile_can_change() -> None:
    wire = WIRES["azure"]
    with serving(apis.WHOLE["openai"]) as server:
        ask(wire.lm(server, api_version="2025-01-01"), {"messages": [SAID]})
        assert server.received[0].path.endswith("/chat/completions?api-version=2025-01-01")
