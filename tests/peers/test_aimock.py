"""aimock, which speaks the APIs of several providers: Azure's, Anthropic's, Ollama's, OpenAI's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from lmconf.errors import AuthenticationFailed, CallError, RateLimited
from lmconf.runtime import LM
from tests.peers.conftest import KEY
from tests.wire.providers import STREAMED, WHOLE, Way, ask
from tests.wire.settings import TOOL


@dataclass(frozen=True)
class Peer:
    """One API of aimock's: the model that reaches it, and the path of its address.

    `thinker` is the model that aimock gives thoughts to, where it is not the same.
    """

    model: str
    path: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    thinker: str | None = None

    def lm(self, address: str, **settings: Any) -> LM:
        stated = {"api_key": KEY, "max_tokens": 100, "cache": False, "num_retries": 0}
        told = {**stated, **self.settings, **settings}
        return LM(told.pop("model", self.model), api_base=address + self.path, **told)


PEERS = {
    "openai": Peer("openai/gpt-4o-mini", "/v1", thinker="openai/gpt-5"),
    "responses": Peer(
        "openai/gpt-4o-mini", "/v1", {"model_type": "responses"}, thinker="openai/gpt-5"
    ),
    "azure": Peer("azure/house-gpt"),
    "anthropic": Peer("anthropic/claude-sonnet-4-5"),
    "ollama": Peer("ollama_chat/llama3.2"),
    "openrouter": Peer("openrouter/meta-llama/llama-3.3-70b-instruct", "/api/v1"),
    "groq": Peer("groq/llama-3.3-70b-versatile", "/v1"),
}
ROWS = pytest.mark.parametrize(
    "peer", [pytest.param(peer, id=name) for name, peer in PEERS.items()]
)
# aimock tells Ollama's thoughts under another name than Ollama does.
THINKING = pytest.mark.parametrize(
    "peer", [pytest.param(peer, id=name) for name, peer in PEERS.items() if name != "ollama"]
)
WAYS = pytest.mark.parametrize("way", [*WHOLE, *STREAMED])


@ROWS
@WAYS
def test_a_chat(way: Way, peer: Peer, aimock: str) -> None:
    answer = way(peer.lm(aimock), {"prompt": "Say this is a test!"})
    assert answer.text == "This is a test!"
    assert answer.finish_reason == "stop"
    if peer is not PEERS["ollama"]:  # of which aimock counts nothing
        assert answer.usage["total_tokens"] == 17


@THINKING
@WAYS
def test_thoughts_are_told_apart(way: Way, peer: Peer, aimock: str) -> None:
    lm = peer.lm(aimock)
    if peer.thinker:
        lm = peer.lm(aimock, model=peer.thinker, max_tokens=6000)
    answer = way(lm, {"prompt": "How many primes are there below 10?"})
    assert answer.text == "Four."
    assert answer.reasoning == "2, 3, 5 and 7."


@ROWS
@WAYS
def test_a_tool_is_called_and_its_result_is_heard(way: Way, peer: Peer, aimock: str) -> None:
    lm = peer.lm(aimock, tools=[TOOL])
    asked = {"role": "user", "content": "How is the weather in Oslo?"}
    answer = way(lm, {"messages": [asked]})
    assert answer.finish_reason == "tool_calls"
    (call,) = answer.tool_calls
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    turns = [
        asked,
        {"role": "assistant", "content": None, "tool_calls": [dict(call)]},
        {"role": "tool", "tool_call_id": call["id"], "content": "4 degrees"},
    ]
    assert way(lm, {"messages": turns}).text == "It is cold in Oslo."


@ROWS
@WAYS
def test_a_wrong_key_is_told(way: Way, peer: Peer, aimock: str) -> None:
    with pytest.raises(AuthenticationFailed) as raised:
        way(peer.lm(aimock, api_key="wrong-key-0123456789"), {"prompt": "Say this is a test!"})
    assert raised.value.status == 401
    assert "wrong-key" not in str(raised.value)


@WAYS
def test_azures_token_is_heard(way: Way, aimock: str) -> None:
    lm = PEERS["azure"].lm(aimock, api_type="azure_ad")
    assert way(lm, {"prompt": "Say this is a test!"}).text == "This is a test!"


@ROWS
@WAYS
def test_a_limit_is_told(way: Way, peer: Peer, aimock: str) -> None:
    with pytest.raises(RateLimited, match=r"Slow down\."):
        way(peer.lm(aimock), {"prompt": "Too fast."})


@ROWS
def test_what_the_peer_does_not_know_is_told(peer: Peer, aimock: str) -> None:
    with pytest.raises(CallError):
        ask(peer.lm(aimock), {"prompt": "Something that no fixture knows."})
