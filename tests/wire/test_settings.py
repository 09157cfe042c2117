"""Every setting reaches each server as its API spells it, or is refused: none is lost."""

from __future__ import annotations

from typing import Any

import pytest

from lmconf.errors import BadRequest
from lmconf.runtime import LM
from tests.loopback import gemini, serving
from tests.wire import apis
from tests.wire.providers import STREAMED, WHOLE, WIRES, Way, Wire, ask
from tests.wire.settings import FORM, INVOICE, REFUSED, SPELT, STATED

pytestmark = pytest.mark.usefixtures("hostile")

SAID = {"role": "user", "content": "Say hello."}
ROWS = pytest.mark.parametrize("wire", [pytest.param(w, id=name) for name, w in WIRES.items()])


@ROWS
@pytest.mark.parametrize("name", STATED)
def test_a_setting(name: str, wire: Wire) -> None:
    expected = SPELT[wire.asks].get(name, STATED[name])
    with serving(apis.said(wire.speaks)) as server:
        lm = wire.lm(server, **STATED[name])
        if expected is REFUSED:
            with pytest.raises(BadRequest) as raised:
                ask(lm, {"messages": [SAID]})
            assert server.received == []
            stated = [*STATED[name], "parallel_tool_calls", "json_object"]
            assert any(setting in str(raised.value) for setting in stated)
            assert raised.value.help
            return
        answer = ask(lm, {"messages": [SAID]})
        (received,) = server.received
    assert answer.text == apis.JSON_TEXT
    body = received.json
    del body["messages"]
    assert body.pop("model") == wire.model
    assert body.pop("stream", False) is False
    assert body == expected


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_a_form_that_is_asked_for_as_a_tool_comes_back_as_a_text(way: Way) -> None:
    wire = WIRES["anthropic"]
    with serving(apis.CALLED[way in STREAMED]) as server:
        answer = way(wire.lm(server, response_format=FORM), {"messages": [SAID]})
    assert answer.text == apis.JSON_TEXT
    assert answer.tool_calls == ()
    assert answer.finish_reason == "stop"


def test_a_newer_claude_is_asked_for_a_form_by_its_own_name() -> None:
    wire = Wire(**{**vars(WIRES["anthropic"]), "model": "claude-sonnet-4-5"})
    with serving(apis.said("anthropic")) as server:
        ask(wire.lm(server, response_format=FORM, max_tokens=50), {"messages": [SAID]})
        (received,) = server.received
    assert received.json["output_format"] == {"type": "json_schema", "schema": INVOICE}
    assert "tools" not in received.json
    assert received.header("anthropic-beta") == "structured-outputs-2025-11-13"


@ROWS
@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_extra_is_merged_into_the_body_at_any_depth(way: Way, wire: Wire) -> None:
    extra: dict[str, Any] = {"top_k": 40, "options": {"num_ctx": 512, "a": {"b": 1}}, "seed": None}
    replies = apis.STREAMED if way in STREAMED else apis.WHOLE
    with serving(replies[wire.speaks]) as server:
        way(wire.lm(server, temperature=0.5, extra=extra), {"messages": [SAID]})
        body = server.received[0].json
    held = {"temperature": 0.5} if wire.asks == "ollama" else {}
    assert body["options"] == {**held, **extra["options"]}
    assert (body["top_k"], body["seed"]) == (40, None)


@ROWS
@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_headers_of_the_profile_and_its_account_are_sent(way: Way, wire: Wire) -> None:
    stated = {"X-Team": "blue", "User-Agent": "mine/1", "Accept": "application/x-mine"}
    replies = apis.STREAMED if way in STREAMED else apis.WHOLE
    with serving(replies[wire.speaks]) as server:
        lm = wire.lm(server, headers=stated, organization="org-1", project="proj-1")
        way(lm, {"messages": [SAID]})
        (received,) = server.received
    assert {name: received.header(name) for name in stated} == stated
    assert received.header("openai-organization") == "org-1"
    assert received.header("openai-project") == "proj-1"


@pytest.mark.parametrize("model", ["o3-mini", "gpt-5", "gpt-5.4", "o1-pro"])
def test_a_model_that_litellm_would_send_elsewhere_goes_where_the_profile_says(model: str) -> None:
    wire = Wire(**{**vars(WIRES["openai"]), "model": model})
    tools = STATED["tools"]
    with serving(apis.WHOLE["openai"]) as server:
        lm = wire.lm(server, max_tokens=6000, reasoning_effort="low", **tools)
        ask(lm, {"messages": [SAID]})
        (received,) = server.received
    assert received.path == "/v1/chat/completions"
    told = {"max_completion_tokens": 6000, "reasoning_effort": "low", **tools}
    assert received.json == {"model": model, "messages": [SAID], **told}


def test_a_deployment_is_spelt_as_the_model_behind_it_wants() -> None:
    with serving(apis.WHOLE["openai"]) as server:
        lm = WIRES["azure"].lm(server, base_model="openai/o3-mini", max_tokens=6000)
        ask(lm, {"messages": [SAID]})
        (received,) = server.received
    told = {"max_completion_tokens": 6000, "model": "house-gpt"}
    assert received.json == {"messages": [SAID], **told}


def test_azures_older_versions_are_sent_what_was_stated() -> None:
    with serving(apis.said("openai")) as server:
        lm = WIRES["azure"].lm(server, api_version="2023-05-15", response_format=FORM)
        ask(lm, {"messages": [SAID]})
        (received,) = server.received
    assert received.path.endswith("?api-version=2023-05-15")
    assert received.json == {"model": "house-gpt", "messages": [SAID], "response_format": FORM}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *(("gemini/gemini-2.5-flash", name) for name in ("user", "metadata", "one tool at a time")),
        ("gemini/gemini-3-pro-preview", "thinking"),
        *(("vertex_ai/gemini-2.5-flash", name) for name in ("user", "one tool at a time")),
        ("cohere/command-r", "any tool"),
        ("cohere/command-r", "a tool"),
    ],
)
def test_what_litellm_would_drop_elsewhere_is_refused(model: str, name: str) -> None:
    with serving() as server:
        settings: dict[str, Any] = {"api_base": server.url, "api_key": "", **STATED[name]}
        if model.startswith("vertex_ai/"):
            settings["vertex_project"] = "my-project"
        with pytest.raises(BadRequest):
            ask(LM(model, cache=False, num_retries=0, **settings), {"messages": [SAID]})
        assert server.received == []


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
def test_geminis_newer_models_are_sent_penalties_too(name: str) -> None:
    with serving(gemini()) as server:
        settings: dict[str, Any] = {"api_base": server.url, "api_key": "", **STATED[name]}
        lm = LM("gemini/gemini-3-pro-preview", cache=False, num_retries=0, **settings)
        ask(lm, {"messages": [SAID]})
        (received,) = server.received
    assert received.json["generationConfig"][name] == STATED[name][name]
