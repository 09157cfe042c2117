"""An LM that asks the Responses API: its store, its retries, its rules, and a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import BadResponse, ContextWindowExceeded, ProfileError
from lmconf.runtime import LM
from lmconf.transports import KINDS, Json, Request
from tests.loopback import (
    Loopback,
    Reply,
    named_sse,
    output_text,
    response_events,
    responses,
    serving,
)

QUICK = {"initial": 0.001, "jitter": "none"}
WEIGHTS = Path(__file__).parents[2] / "profiles/models/lmconf-tiny-f16.gguf"
CALL = {"type": "function_call", "id": "f", "call_id": "c1", "name": "add", "arguments": "{}"}


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()


def lm_at(server: Loopback, **settings: Any) -> LM:
    given = {"api_base": server.v1, "api_key": "", "retry": QUICK, **settings}
    return LM("openai/tiny", model_type="responses", **given)


def streamed(response: dict[str, Any]) -> Reply:
    return Reply(pieces=named_sse(response_events(response)))


async def asked_on_a_loop(lm: LM, prompt: str) -> tuple[Any, Any]:
    whole = await lm.aask(prompt)
    async with lm.astream(prompt) as pieces:
        text = "".join([piece async for piece in pieces])
    return whole, text


@pytest.mark.parametrize("first", ["call", "stream"])
def test_calls_loops_and_streams_share_one_entry(first: str) -> None:
    output = [output_text("Tokyo.", annotations=[{"type": "url_citation", "url": "u"}]), CALL]
    response = responses(*output, service_tier="default")
    with serving(Reply(json=response) if first == "call" else streamed(response)) as server:
        lm = lm_at(server)
        if first == "call":
            answer = lm.ask("Where?")
        else:
            with lm.stream("Where?") as stream:
                assert "".join(stream) == "Tokyo."
            answer = stream.answer
        whole, text = asyncio.run(asked_on_a_loop(lm, "Where?"))
        assert len(server.received) == 1
    assert (answer.cache_hit, whole.cache_hit) == (False, True)
    assert whole.response == answer.response
    assert text == "Tokyo."
    assert answer.tool_calls[0]["function"] == {"name": "add", "arguments": "{}"}
    assert answer.usage["prompt_tokens_details"]["cached_tokens"] == 3
    assert answer.finish_reason == "tool_calls"


def test_chat_and_responses_are_different_questions() -> None:
    with serving(responses()) as server:
        lm = lm_at(server)
        assert lm.dump_state()["model_type"] == "responses"
        assert lm("hi") == ["Hello."]
        with pytest.raises(BadResponse):
            lm.copy(model_type="chat", num_retries=0)("hi")
        assert [received.path for received in server.received] == [
            "/v1/responses",
            "/v1/chat/completions",
        ]


def test_reasoning_goes_back_with_the_message_that_came_with_it() -> None:
    thought = {
        "type": "reasoning",
        "id": "r",
        "summary": [{"type": "summary_text", "text": "I add."}],
        "encrypted_content": "gAAA",
    }
    with serving(responses(thought, CALL)) as server:
        lm = lm_at(server, cache=False)
        answer = lm.ask("Add.")
        message = answer.response["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": "c1", "content": "3"}
        lm(messages=[{"role": "user", "content": "Add."}, message, result])
        items = server.received[1].json["input"]
    assert answer.reasoning == "I add."
    assert items[1] == thought
    assert [item["type"] for item in items] == [
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
    ]


def test_what_fails_before_an_answer_begins_is_tried_again() -> None:
    error = {"code": "server_error", "message": "oh"}
    failed = responses(status="failed", error=error, output=[])
    with serving(streamed(failed), streamed(responses()), failed, responses()) as server:
        lm = lm_at(server, cache=False)
        with lm.stream("hi") as stream:
            assert "".join(stream) == "Hello."
        assert stream.answer.attempts == 2
        assert lm.ask("hi").attempts == 2


def test_a_refusal_and_a_cut_answer_are_not_kept() -> None:
    refusal = output_text("")
    refusal["content"] = [{"type": "refusal", "refusal": "No."}]
    cut = responses(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    with serving(responses(refusal), cut, responses()) as server:
        lm = lm_at(server)
        refused = lm.ask("hi")
        assert refused.response["choices"][0]["message"]["refusal"] == "No."
        with pytest.warns(lmconf.TruncatedWarning):
            assert lm.ask("hi").finish_reason == "length"
        assert lm.ask("hi").finish_reason == "stop"
        assert lm.ask("hi").cache_hit
        assert len(server.received) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"stop": ["END"]},
        {"seed": 1},
        {"n": 2},
        {"logit_bias": {"5": 1}},
        {"frequency_penalty": 1.0},
        {"presence_penalty": 1.0},
        {"modalities": ["audio"]},
        {"thinking": {"type": "enabled"}},
    ],
)
def test_a_parameter_that_the_api_does_not_have_is_told_before_anything_is_sent(
    settings: dict[str, Any],
) -> None:
    (name,) = settings
    with serving(responses()) as server:
        lm = lm_at(server)
        for asked in (
            lambda: lm("hi", **settings),
            lambda: lm.copy(**settings),
            lambda: lm_at(server, **settings),
        ):
            with pytest.raises(ProfileError, match=f"the Responses API has no `{name}`"):
                asked()
        left_out: dict[str, Any] = {name: None}
        assert lm("hi", **left_out) == ["Hello."]
        chat = lm.copy(model_type="chat", **settings)
        assert chat.model_type == "chat"


def test_another_transport_makes_rules_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "house", lambda arguments, advice: House())
    stated = {"model": "house/x", "model_type": "responses", "seed": 1, "transport": "house"}
    lm = lmconf.load(stated).lm
    assert lm("hi", stop="END", cache=False) == ["1 END"]


class House:
    """A transport that knows more than the API does."""

    def complete(self, request: Request) -> Json:
        said = f"{request.settings['seed']} {request.settings['stop'][0]}"
        return {"choices": [{"index": 0, "message": {"content": said}, "finish_reason": "stop"}]}

    def close(self) -> None:
        pass


@dataclasses.dataclass
class Place:
    """Where something is."""

    city: str
    people: int


def test_an_answer_in_a_form_is_asked_for_and_read() -> None:
    with serving(responses(output_text('{"city": "Tokyo", "people": 14}'))) as server:
        answer = lm_at(server).ask("Where?", response_format=Place)
        form = sole(server)["text"]["format"]
    assert answer.parsed == Place("Tokyo", 14)
    assert (form["type"], form["name"]) == ("json_schema", "Place")
    assert form["schema"]["properties"]["people"]["type"] == "integer"


def test_refusals_citations_and_costs_are_told_as_on_every_route() -> None:
    cited = {"type": "url_citation", "url": "https://a.example", "title": "A"}
    refusal = {**output_text(), "content": [{"type": "refusal", "refusal": "No."}]}
    with serving(responses(output_text("A", annotations=[cited])), responses(refusal)) as server:
        lm = LM(
            "openai/gpt-4o-mini",
            model_type="responses",
            api_base=server.v1,
            api_key="",
            cache=False,
        )
        answer = lm.ask("Where?")
        assert answer.citations == (cited,)
        assert answer.cost is not None
        assert 0 < answer.cost < 0.001
        assert lm.ask("Where?").refusal == "No."


def sole(server: Loopback) -> Any:
    (received,) = server.received
    return received.json


def test_litellm_is_never_imported_for_it() -> None:
    code = """
        import sys
        import lmconf
        from tests.loopback import responses, serving
        with serving(responses()) as server:
            lm = lmconf.LM("openai/x", model_type="responses", api_base=server.v1, api_key="")
            assert lm("hi", cache=False) == ["Hello."]
        assert not {"litellm", "openai"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.mark.slow
class TestARealServer:
    """llama.cpp's own server, started by the first call."""

    @pytest.fixture
    def lm(self) -> Iterator[LM]:
        server = {"use": "llama_cpp", "weights": str(WEIGHTS), "args": {"ctx-size": 512}}
        given: dict[str, Any] = {"launch_kwargs": server, "max_tokens": 32, "cache": False}
        with LM("openai/lmconf-tiny", model_type="responses", **given) as made:
            yield made

    def test_it_answers_calls_loops_and_streams_alike(self, lm: LM) -> None:
        whole = lm.ask("Say this is a test!")
        assert whole.text == "This is a test!"
        assert whole.finish_reason == "stop"
        assert whole.usage["completion_tokens"] > 0
        assert whole.response["object"] == "chat.completion"
        with lm.stream("Say this is a test!") as stream:
            pieces = list(stream)
        assert len(pieces) > 1
        assert "".join(pieces) == whole.text
        assert stream.answer.usage["completion_tokens"] == whole.usage["completion_tokens"]
        assert stream.answer.finish_reason == "stop"
        answer, text = asyncio.run(asked_on_a_loop(lm, "Say this is a test!"))
        assert answer.text == text == whole.text

    def test_it_reads_a_conversation_with_tools_in_it(self, lm: LM) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hello."}]},
            {"role": "assistant", "content": "Hello.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
            {"role": "assistant", "content": [{"type": "text", "text": "It is 3."}]},
            {"role": "user", "content": "Say hello."},
        ]
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        answer = lm.ask(messages=messages, tools=[tool], tool_choice="none")
        assert answer.text
        assert answer.usage["prompt_tokens"] > lm.ask("Say hello.").usage["prompt_tokens"]

    def test_a_cut_answer_is_told_although_the_server_calls_it_complete(self, lm: LM) -> None:
        with pytest.warns(lmconf.TruncatedWarning):
            assert lm.ask("Say this is a test!", max_tokens=2).finish_reason == "length"

    def test_a_prompt_that_is_too_long_is_told_as_such(self, lm: LM) -> None:
        with pytest.raises(ContextWindowExceeded):
            lm("word " * 1000)
