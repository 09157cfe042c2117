"""llama.cpp's own server, a peer that nobody here wrote: its OpenAI and its Anthropic routes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lmconf.errors import AuthenticationFailed, BadRequest, CallError
from lmconf.runtime import LM
from tests.peers.conftest import KEY
from tests.wire.providers import STREAMED, WHOLE, Way, aask, ask, astream, stream
from tests.wire.settings import FORM

WAYS = pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
TEST = {"prompt": "Say this is a test!"}


def lm(provider: str, base: str, **settings: Any) -> LM:
    stated = {"api_key": KEY, "max_tokens": 40, "cache": False, "num_retries": 0}
    return LM(f"{provider}/lmconf-tiny", api_base=base, **{**stated, **settings})


@WAYS
@pytest.mark.parametrize(
    "provider",
    "openai anyscale groq hosted_vllm litellm_proxy llamafile lm_studio openrouter together_ai"
    " databricks mistral".split(),
)
def test_a_chat_by_every_provider_whose_servers_speak_so(
    provider: str, way: Way, llama: str
) -> None:
    answer = way(lm(provider, f"{llama}/v1"), TEST)
    assert answer.text == "This is a test!"
    assert answer.finish_reason == "stop"
    assert answer.usage["completion_tokens"] > 3
    assert answer.usage["total_tokens"] > answer.usage["completion_tokens"]
    assert answer.model == "lmconf-tiny"


@WAYS
@pytest.mark.parametrize("provider", ["openai", "hosted_vllm", "together_ai"])
def test_a_completion(provider: str, way: Way, llama: str) -> None:
    given = lm(provider, f"{llama}/v1", model_type="text", max_tokens=8, stop=["\n", "."])
    answer = way(given, {"prompt": "The capital of France is"})
    assert answer.text == " Paris"
    assert answer.finish_reason == "stop"
    assert answer.usage["completion_tokens"] > 0


@pytest.mark.parametrize("way", [ask, aask, stream, astream])
def test_log_probabilities(way: Way, llama: str) -> None:
    answer = way(lm("openai", f"{llama}/v1", logprobs=True, top_logprobs=2), TEST)
    assert isinstance(answer.logprobs, dict)
    tokens = answer.logprobs["content"]
    assert "".join(token["token"] for token in tokens).startswith("This is a test!")
    assert all(token["logprob"] <= 0 for token in tokens)
    assert {len(token["top_logprobs"]) for token in tokens} == {2}


@WAYS
def test_an_answer_in_a_form(way: Way, llama: str) -> None:
    given = lm("openai", f"{llama}/v1", response_format=FORM, max_tokens=60)
    answer = way(given, {"prompt": "Give me Japan as JSON."})
    assert set(json.loads(answer.text)) == {"total"}


@pytest.mark.parametrize("way", WHOLE)
def test_several_answers(way: Way, llama: str) -> None:
    answer = way(lm("openai", f"{llama}/v1", n=2, temperature=0.0), TEST)
    assert answer.texts == ("This is a test!", "This is a test!")


@pytest.mark.parametrize("way", WHOLE)
def test_turns(way: Way, llama: str) -> None:
    turns = [
        {"role": "user", "content": "What is the capital of Japan?"},
        {"role": "assistant", "content": "The capital of Japan is Tokyo."},
        {"role": "user", "content": "And of France?"},
    ]
    answer = way(lm("openai", f"{llama}/v1"), {"messages": turns})
    assert answer.text == "The capital of France is Paris."


@WAYS
def test_anthropics_messages(way: Way, llama: str) -> None:
    given = lm("anthropic", llama, stop=["END"])
    answer = way(given, {"messages": [{"role": "user", "content": "Say this is a test!"}]})
    assert answer.text == "This is a test!"
    assert answer.finish_reason == "stop"
    assert answer.usage["prompt_tokens"] > 0
    assert answer.usage["completion_tokens"] > 3


@pytest.mark.parametrize("way", WHOLE)
def test_anthropics_system_message_is_heard(way: Way, llama: str) -> None:
    turns = [
        {"role": "system", "content": "Answer in JSON."},
        {"role": "user", "content": "What is the capital of Japan?"},
    ]
    answer = way(lm("anthropic", llama), {"messages": turns})
    assert json.loads(answer.text) == {"country": "Japan", "capital": "Tokyo"}


@WAYS
@pytest.mark.parametrize(("provider", "path"), [("openai", "/v1"), ("anthropic", "")])
@pytest.mark.parametrize("key", ["wrong-key-0123456789", ""])
def test_a_wrong_key_is_told(provider: str, path: str, key: str, way: Way, llama: str) -> None:
    with pytest.raises(AuthenticationFailed) as raised:
        way(lm(provider, llama + path, api_key=key), TEST)
    assert raised.value.status == 401
    assert "wrong-key" not in str(raised.value)


def test_what_the_server_refuses_is_told_in_its_words(llama: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(CallError, match="image input is not supported"):
        ask(lm("openai", f"{llama}/v1"), {"messages": [{"role": "user", "content": [picture]}]})
    with pytest.raises(BadRequest):
        ask(lm("openai", f"{llama}/v1", extra={"grammar": "root ::= ("}), TEST)
