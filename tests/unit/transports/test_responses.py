"""The Responses API: what is sent to it, read at a socket, and what its answers become."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf.errors import (
    BadRequest,
    BadResponse,
    CallError,
    ConnectionFailed,
    ContentPolicy,
    ContextWindowExceeded,
    RateLimited,
    ServerError,
    Timeout,
    UsageError,
)
from lmconf.providers.catalogue import PROVIDERS
from lmconf.runtime.assembly import Assembly
from lmconf.schema.frozen import freeze
from lmconf.transports import REQUEST_ID, Connection, Phases, Request, Transport, make
from lmconf.transports.http.sse import EventReader
from lmconf.transports.openai.responses_response import response_of
from lmconf.transports.openai.responses_stream import ResponsesStreamReader
from lmconf.transports.specs import TransportSpec
from tests.loopback import (
    Loopback,
    Received,
    Reply,
    named_sse,
    output_text,
    response_events,
    responses,
    serving,
)

KEY = "sk-the-real-key-0123456789"
ASKED = {"role": "user", "content": "Say hello."}


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


def request_to(server: Loopback, provider: str = "openai", **changes: Any) -> Request:
    connection = {"base": server.v1, "key": KEY, **changes.pop("connection", {})}
    settings = changes.pop("settings", {})
    extra = changes.pop("extra", {})
    return Request(
        route="responses",
        provider=provider,
        model=changes.pop("model", "tiny"),
        connection=Connection(**connection),
        messages=changes.pop("messages", [ASKED]),
        settings=freeze(settings),
        extra=freeze(extra),
        **changes,
    )


def complete(transport: Transport, request: Request) -> Any:
    return transport.complete(request)


def acomplete(transport: Transport, request: Request) -> Any:
    return asyncio.run(transport.acomplete(request))


def stream(transport: Transport, request: Request) -> Any:
    whole = Assembly()
    for chunk in transport.stream(request):
        whole.add(chunk)
    return whole.response()


def astream(transport: Transport, request: Request) -> Any:
    async def read() -> Any:
        whole = Assembly()
        async for chunk in transport.astream(request):
            whole.add(chunk)
        return whole.response()

    return asyncio.run(read())


Way = Callable[[Transport, Request], Any]
WHOLE = (complete, acomplete)
STREAMED = (stream, astream)
WAYS = (*WHOLE, *STREAMED)


def answering(way: Way, response: dict[str, Any]) -> Reply:
    if way in WHOLE:
        return Reply(json=response)
    return Reply(pieces=named_sse(response_events(response)))


def sole(server: Loopback) -> Received:
    assert len(server.received) == 1, [r.path for r in server.received]
    return server.received[0]


def body_of(transport: Transport, **changes: Any) -> Any:
    with serving(responses()) as server:
        transport.complete(request_to(server, **changes))
        return sole(server).json


# What is sent


def test_a_plain_question_is_one_item_that_the_server_does_not_keep(transport: Transport) -> None:
    assert body_of(transport, settings={"temperature": 0.0, "max_tokens": 9}) == {
        "model": "tiny",
        "input": [{"type": "message", "role": "user", "content": "Say hello."}],
        "store": False,
        "temperature": 0.0,
        "max_output_tokens": 9,
    }


def test_every_kind_of_message_becomes_items_in_its_place(transport: Transport) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    typed = {"id": "c2", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    sent = body_of(
        transport,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
            {"role": "user", "content": "Add.", "cache": None},
            {
                "role": "assistant",
                "content": "I add.",
                "reasoning_content": "Hm.",
                "reasoning_items": [thought],
                "annotations": [],
                "tool_calls": [call, typed],
            },
            {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "2"},
            {
                "role": "tool",
                "tool_call_id": "c2",
                "content": [{"type": "text", "text": "a file"}],
            },
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "assistant", "content": [{"type": "text", "text": "Done."}]},
            {"role": "assistant", "content": ""},
        ],
    )
    assert sent["input"] == [
        {"type": "message", "role": "system", "content": "Be brief."},
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "And kind."}],
        },
        {"type": "message", "role": "user", "content": "Add."},
        thought,
        {"type": "message", "role": "assistant", "content": "I add."},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "ls"},
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "a file"}],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No."}],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Done."}],
        },
    ]


def test_images_files_and_sounds_become_parts_of_the_input(transport: Transport) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:;base64,JVBE"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        sound,
        {"type": "input_file", "file_url": "https://a.example/c.pdf"},
    ]
    (item,) = body_of(transport, messages=[{"role": "user", "content": parts}])["input"]
    assert item["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "auto"},
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:;base64,JVBE"},
        {"type": "input_file", "file_id": "file-1"},
        sound,
        {"type": "input_file", "file_url": "https://a.example/c.pdf"},
    ]


def test_tools_are_flat_and_as_strict_as_they_are_in_chat(transport: Transport) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    grammar = {"syntax": "lark", "definition": "start: NUMBER"}
    sent = body_of(
        transport,
        settings={
            "tools": [
                {"type": "function", "function": {"name": "add", "parameters": schema}},
                {"type": "function", "function": {"name": "now", "strict": True}},
                {
                    "type": "custom",
                    "custom": {"name": "run", "format": {"type": "grammar", "grammar": grammar}},
                },
                {"type": "web_search"},
                {"type": "function", "name": "flat", "parameters": schema},
            ],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "add"}}],
                },
            },
            "parallel_tool_calls": False,
        },
    )
    empty = {"type": "object", "properties": {}}
    assert sent["tools"] == [
        {"type": "function", "name": "add", "parameters": schema, "strict": False},
        {"type": "function", "name": "now", "parameters": empty, "strict": True},
        {"type": "custom", "name": "run", "format": {"type": "grammar", **grammar}},
        {"type": "web_search"},
        {"type": "function", "name": "flat", "parameters": schema},
    ]
    assert sent["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "add"}],
    }
    assert sent["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"max_completion_tokens": 9}, {"max_output_tokens": 9}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"verbosity": "high"}, {"text": {"verbosity": "high"}}),
        (
            {"response_format": {"type": "json_object"}, "verbosity": "low"},
            {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
                }
            },
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "a",
                        "schema": {"type": "object"},
                        "strict": True,
                    }
                }
            },
        ),
        ({"logprobs": True}, {"include": ["message.output_text.logprobs"]}),
        (
            {"logprobs": True, "top_logprobs": 2},
            {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        ),
        ({"logprobs": False}, {}),
        ({"n": 1}, {}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
            {"tool_choice": {"type": "function", "name": "add"}},
        ),
        ({"metadata": {"a": "b"}, "user": "u"}, {"metadata": {"a": "b"}, "user": "u"}),
        ({"service_tier": "flex", "top_p": 0.5}, {"service_tier": "flex", "top_p": 0.5}),
    ],
)
def test_settings_stand_where_the_api_reads_them(
    settings: dict[str, Any], sent: dict[str, Any], transport: Transport
) -> None:
    plain = body_of(transport)
    assert body_of(transport, settings=settings) == {**plain, **sent}


@pytest.mark.parametrize("way", WAYS)
def test_extra_is_merged_into_the_body_last(way: Way, transport: Transport) -> None:
    extra = {"reasoning": {"summary": "auto"}, "store": True, "truncation": "auto"}
    with serving(answering(way, responses())) as server:
        way(transport, request_to(server, settings={"reasoning_effort": "low"}, extra=extra))
        sent = sole(server).json
    assert sent["reasoning"] == {"effort": "low", "summary": "auto"}
    assert (sent["store"], sent["truncation"]) == (True, "auto")
    assert sent.get("stream", False) is (way in STREAMED)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ({"role": "user", "name": "Ada", "content": "hi"}, "`name`"),
        ({"role": "assistant", "audio": {"id": "a"}, "content": None}, "`audio`"),
        ({"role": "assistant", "function_call": {"name": "f"}, "content": None}, "function_call"),
        ({"role": "tool", "content": "3"}, "tool_call_id"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_what_no_item_can_hold_is_refused_before_anything_is_sent(
    way: Way, message: dict[str, Any], what: str, transport: Transport
) -> None:
    with serving(responses()) as server:
        with pytest.raises(UsageError, match=what) as raised:
            way(transport, request_to(server, messages=[ASKED, message]))
        assert server.received == []
    assert "messages[1]" in str(raised.value)


@pytest.mark.parametrize("name", ["stop", "seed", "n", "logit_bias", "thinking"])
def test_a_parameter_that_the_api_does_not_have_is_refused(name: str, transport: Transport) -> None:
    with serving(responses()) as server:
        with pytest.raises(BadRequest, match=name):
            transport.complete(request_to(server, settings={name: 7}))
        assert server.received == []


# Where it is sent


RESPONSES = [name for name, record in PROVIDERS.items() if record.responses is not None]


@pytest.mark.parametrize("way", [complete, astream])
@pytest.mark.parametrize("key", [KEY, ""])
@pytest.mark.parametrize("provider", RESPONSES)
def test_the_stated_key_and_no_other_is_sent_once_to_the_stated_address(
    provider: str, key: str, way: Way, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "AZURE_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(name, "ambient-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    own = PROVIDERS[provider].base or ""
    with serving(answering(way, responses())) as server:
        base = server.v1 if own.endswith("/v1") or not own else server.url
        base = server.url if provider.startswith("azure") else base
        response = way(
            transport, request_to(server, provider, connection={"base": base, "key": key})
        )
        received = sole(server)
    assert response["choices"][0]["message"]["content"] == "Hello."
    assert received.text.count(KEY) == (1 if key else 0)
    assert "ambient" not in received.text
    assert "lmconf-places" not in received.text
    names = {name.lower() for name, _ in received.headers}
    assert names <= set(
        "host content-type accept accept-encoding user-agent content-length authorization api-key"
        " connection".split()
    )
    if not key:
        assert not names & {"authorization", "api-key"}
    if provider.startswith("azure"):
        assert received.path == "/openai/v1/responses"
    elif own.endswith("/v1") or not own or PROVIDERS[provider].responses:
        assert received.path == "/v1/responses"
    else:
        assert received.path == "/responses"


@pytest.mark.parametrize(
    ("base", "version", "path"),
    [
        ("", None, "/openai/v1/responses"),
        ("", "v1", "/openai/v1/responses"),
        ("", "preview", "/openai/v1/responses?api-version=preview"),
        ("", "2025-04-01-preview", "/openai/responses?api-version=2025-04-01-preview"),
        ("/openai/v1", None, "/openai/v1/responses"),
        ("/openai", "2025-04-01-preview", "/openai/responses?api-version=2025-04-01-preview"),
        ("/api/projects/p/openai/v1", None, "/api/projects/p/openai/v1/responses"),
    ],
)
def test_azure_is_asked_where_its_version_says(
    base: str, version: str | None, path: str, transport: Transport
) -> None:
    other = {} if version is None else {"api_version": version}
    with serving(responses()) as server:
        connection = {"base": server.url + base, "other": other}
        transport.complete(request_to(server, "azure", model="reasoner", connection=connection))
        received = sole(server)
    assert received.path == path
    assert received.json["model"] == "reasoner"
    assert received.header("api-key") == KEY


def test_an_azure_token_goes_where_azure_wants_tokens(transport: Transport) -> None:
    with serving(responses()) as server:
        connection = {"base": server.url, "other": {"azure_ad_token": KEY}}
        transport.complete(request_to(server, "azure", connection=connection))
        received = sole(server)
    assert received.header("authorization") == f"Bearer {KEY}"
    assert received.header("api-key") is None


def test_headers_and_accounts_of_the_profile_are_sent(transport: Transport) -> None:
    with serving(responses()) as server:
        connection = {"headers": {"X-Team": "a"}, "organization": "org", "project": "proj"}
        transport.complete(request_to(server, connection=connection))
        received = sole(server)
    assert received.header("x-team") == "a"
    assert received.header("openai-organization") == "org"
    assert received.header("openai-project") == "proj"


def test_a_short_name_of_a_fireworks_model_is_written_out(transport: Transport) -> None:
    with serving(responses()) as server:
        transport.complete(request_to(server, "fireworks_ai", model="qwen3"))
        assert sole(server).json["model"] == "accounts/fireworks/models/qwen3"


def test_a_provider_without_the_api_is_refused(transport: Transport) -> None:
    with serving(responses()) as server:
        with pytest.raises(BadRequest, match="anthropic/ has no known Responses API"):
            transport.complete(request_to(server, "anthropic"))
        assert server.received == []


# What comes back

TEXT = output_text("Tokyo. 🗼")
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "add",
    "arguments": '{"a": 1, "b": 2}',
    "status": "completed",
}
TYPED = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c2", "name": "run", "input": "ls -l"}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [
        {"type": "summary_text", "text": "First I look."},
        {"type": "summary_text", "text": "Then I tell."},
    ],
    "encrypted_content": "gAAA",
}
THOUGHT_OPENLY = {
    "type": "reasoning",
    "id": "rs_2",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm."}],
}
SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "q"},
}
CITED = {
    "type": "url_citation",
    "url": "https://a.example",
    "title": "A",
    "start_index": 0,
    "end_index": 3,
}
TOKEN = {"token": "Tokyo", "logprob": -0.1, "top_logprobs": [{"token": "Tokyo", "logprob": -0.1}]}
REFUSAL = {**TEXT, "content": [{"type": "refusal", "refusal": "I cannot help with that."}]}

ANSWERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "text": (responses(TEXT), {"content": "Tokyo. 🗼"}, "stop"),
    "two texts": (
        responses(output_text("A, "), {**output_text("B"), "id": "msg_2"}),
        {"content": "A, B"},
        "stop",
    ),
    "a call": (
        responses(CALL),
        {
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'},
                }
            ],
        },
        "tool_calls",
    ),
    "text and calls": (
        responses(TEXT, TYPED, {**CALL, "arguments": ""}),
        {
            "content": "Tokyo. 🗼",
            "tool_calls": [
                {"id": "c2", "type": "custom", "custom": {"name": "run", "input": "ls -l"}},
                {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}},
            ],
        },
        "tool_calls",
    ),
    "reasoning": (
        responses(THOUGHT, THOUGHT_OPENLY, TEXT),
        {
            "content": "Tokyo. 🗼",
            "reasoning_content": "First I look.\n\nThen I tell.\n\nHm.",
            "reasoning_items": [THOUGHT],
        },
        "stop",
    ),
    "a search": (
        responses(SEARCH, output_text("Tokyo", annotations=[CITED])),
        {"content": "Tokyo", "annotations": [CITED], "output_items": [SEARCH]},
        "stop",
    ),
    "a refusal": (
        responses(REFUSAL),
        {"content": None, "refusal": "I cannot help with that."},
        "stop",
    ),
    "cut": (
        responses(TEXT, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        {"content": "Tokyo. 🗼"},
        "length",
    ),
    "filtered": (
        responses(TEXT, status="incomplete", incomplete_details={"reason": "content_filter"}),
        {"content": "Tokyo. 🗼"},
        "content_filter",
    ),
    "cut for another reason": (
        responses(TEXT, status="incomplete", incomplete_details=None),
        {"content": "Tokyo. 🗼"},
        "length",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_a_chat_completion_however_it_comes(
    name: str, way: Way, transport: Transport
) -> None:
    response, message, finish = ANSWERS[name]
    with serving(answering(way, response)) as server:
        found = way(transport, request_to(server))
    found.pop(REQUEST_ID, None)
    assert found == {
        "id": "resp_1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


@pytest.mark.parametrize("way", WAYS)
def test_log_probabilities_and_the_tier_stand_where_chat_has_them(
    way: Way, transport: Transport
) -> None:
    response = responses(output_text("Tokyo", logprobs=[TOKEN]), service_tier="flex")
    with serving(answering(way, response)) as server:
        found = way(transport, request_to(server))
    assert found["choices"][0]["logprobs"] == {"content": [TOKEN]}
    assert found["service_tier"] == "flex"


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_as_long_as_allowed_counts_as_cut_where_the_server_never_says_so(
    way: Way, transport: Transport
) -> None:
    vague = responses()
    del vague["incomplete_details"]
    for settings, extra in (
        ({"max_tokens": 2}, {}),
        ({"max_completion_tokens": 2}, {}),
        ({"max_tokens": 9}, {"max_output_tokens": 2}),
    ):
        for response, finish in ((vague, "length"), (responses(), "stop")):
            with serving(answering(way, response)) as server:
                found = way(transport, request_to(server, settings=settings, extra=extra))
            assert found["choices"][0]["finish_reason"] == finish


def test_pieces_come_as_they_are_sent(transport: Transport) -> None:
    response = responses(THOUGHT, TEXT, CALL)
    with serving(answering(stream, response)) as server:
        chunks = list(transport.stream(request_to(server)))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert [d["content"] for d in deltas if "content" in d] == ["Tok", "yo.", " 🗼"]
    assert (
        "".join(d.get("reasoning_content", "") for d in deltas) == "First I look.\n\nThen I tell."
    )
    calls = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
    assert calls[0]["id"] == "call_1"
    assert len(calls) == 1 + len(range(0, len(CALL["arguments"]), 3))
    assert {chunk["id"] for chunk in chunks} == {"resp_1"}
    assert [c["choices"][0].get("finish_reason") for c in chunks][-1] == "tool_calls"


def test_a_stream_is_over_when_the_server_says_so(transport: Transport) -> None:
    def pieces() -> Iterator[bytes]:
        yield from named_sse(response_events(responses()))
        time.sleep(20)

    with serving(Reply(pieces=pieces())) as server:
        began = time.monotonic()
        assert stream(transport, request_to(server))["choices"][0]["message"]["content"] == "Hello."
        assert time.monotonic() - began < 5


def test_the_connection_of_a_stream_is_used_again(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    connect = socket.create_connection

    def noting(address: Any, *args: Any, **kwargs: Any) -> socket.socket:
        opened.append(address)
        return connect(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", noting)
    body = b"".join(named_sse(response_events(responses())))
    whole = Reply(body=body, headers={"content-type": "text/event-stream"})
    with serving(whole) as server:
        for _ in range(3):
            assert stream(transport, request_to(server))["id"] == "resp_1"
        assert len(server.received) == 3
    assert len(opened) == 1


def test_what_the_last_event_leaves_out_is_taken_from_the_others() -> None:
    response = responses(THOUGHT, TEXT, CALL)
    events = response_events(response)
    events[-1]["response"]["output"] = []
    assert assembled(events) == response_of(response, None, ())


def test_what_came_in_no_piece_comes_with_the_end() -> None:
    response = responses(THOUGHT, TEXT, CALL, TYPED)
    assert assembled(response_events(response)[-1:]) == response_of(response, None, ())


def assembled(events: list[dict[str, Any]], limit: int | None = None) -> Any:
    answer, whole = ResponsesStreamReader(limit, ()), Assembly()
    for event in events:
        for chunk in answer.take(json.loads(json.dumps(event))):
            whole.add(chunk)
    assert answer.ended
    return whole.response()


_words = st.text(max_size=8)
_said = st.lists(_words.filter(bool), min_size=1, max_size=2)
_items = st.one_of(
    _words.filter(bool).map(output_text),
    _said.map(lambda texts: {**THOUGHT, "summary": [{"type": "t", "text": t} for t in texts]}),
    _words.map(lambda text: {**CALL, "arguments": text}),
    _words.map(lambda text: {**TYPED, "input": text}),
    st.just(SEARCH),
    st.just(REFUSAL),
)


@given(st.lists(_items, min_size=1, max_size=5), st.integers(1, 4))
def test_a_stream_put_together_is_the_response_in_one_piece(
    items: list[dict[str, Any]], size: int
) -> None:
    output = [
        {**item, "id": f"i{n}", **({"call_id": f"c{n}"} if "call_id" in item else {})}
        for n, item in enumerate(items)
    ]
    response = responses(*output)
    assert assembled(response_events(response, size)) == response_of(response, None, ())


@given(st.lists(st.text(max_size=6), max_size=4), st.data())
def test_events_are_the_same_wherever_their_bytes_are_parted(
    texts: list[str], data: st.DataObject
) -> None:
    wanted = [{"type": "a", "delta": text} for text in texts]
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    lines = [f"event: a{end}: a comment{end}data: {_json(x)}{end}{end}" for x in wanted]
    body = "".join(lines).encode() + b"data: [DONE]\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    reading = EventReader()
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True):
        found += list(reading.read(body[start:stop]))
    assert found == wanted


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# What goes wrong


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ({"code": "rate_limit_exceeded", "message": "slow down"}, RateLimited, True),
        ({"code": "insufficient_quota", "message": "pay"}, RateLimited, False),
        ({"code": "server_error", "message": "oh"}, ServerError, True),
        ({"code": "invalid_prompt", "message": "no"}, ContentPolicy, False),
        ({"code": "invalid_image", "message": "no"}, BadRequest, False),
        ({"code": "image_content_policy_violation", "message": "no"}, ContentPolicy, False),
        ({"code": "context_length_exceeded", "message": "long"}, ContextWindowExceeded, False),
        ({"code": 400, "message": "bad", "type": "invalid_request_error"}, BadRequest, False),
        ({"code": "never_heard_of", "message": "oh"}, BadResponse, True),
        (None, ServerError, True),
    ],
)
def test_a_failed_response_is_the_error_that_its_code_stands_for(
    error: Any, kind: type[CallError], retryable: bool, transport: Transport
) -> None:
    response = responses(status="failed", error=error, output=[])
    flat = {**(error or {}), "type": "error"}
    begun = named_sse(response_events(responses())[:4])
    for way, reply in (
        (complete, Reply(json=response)),
        (acomplete, Reply(json=response)),
        (stream, answering(stream, response)),
        (astream, Reply(pieces=[*begun, *named_sse([flat])])),
        (stream, Reply(pieces=[*begun, *named_sse([{"type": "error", "error": error or {}}])])),
    ):
        with serving(reply) as server, pytest.raises(CallError) as raised:
            way(transport, request_to(server))
        assert type(raised.value) is kind
        assert raised.value.retryable is retryable
        assert raised.value.__context__ is None


@pytest.mark.parametrize("way", STREAMED)
def test_a_stream_that_is_cut_is_an_error_with_the_text_so_far(
    way: Way, transport: Transport
) -> None:
    pieces = named_sse(response_events(responses(output_text("Hello there."))))
    for cut in (pieces[:5], [*pieces[:5], b"data: [DONE]\n\n"]):
        with (
            serving(Reply(pieces=cut, headers={"x-request-id": "r-7"})) as server,
            pytest.raises(BadResponse, match="truncated") as raised,
        ):
            way(transport, request_to(server))
        assert raised.value.partial == "Hello ther"[: 3 * 3]
        assert raised.value.request_id == "r-7"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"null", b'{"choices": []}', b'{"output": [3]}', b'{"output": "x"}']
)
def test_what_is_no_response_is_a_bad_response(way: Way, body: bytes, transport: Transport) -> None:
    reply = Reply(body=body)
    if way in STREAMED:
        reply = Reply(pieces=[b"event: response.completed\ndata: " + body + b"\n\n"])
    with serving(reply) as server, pytest.raises(BadResponse):
        way(transport, request_to(server))


@pytest.mark.parametrize("way", WHOLE)
def test_an_answer_that_comes_later_is_not_waited_for(way: Way, transport: Transport) -> None:
    with (
        serving(responses(status="queued", output=[])) as server,
        pytest.raises(BadResponse, match="background") as raised,
    ):
        way(transport, request_to(server, extra={"background": True}))
    assert not raised.value.retryable


@pytest.mark.parametrize("way", WAYS)
def test_refusals_redirects_and_deadlines_are_those_of_every_route(
    way: Way, transport: Transport
) -> None:
    said = {"error": {"message": f"no such key: {KEY}", "code": "invalid_api_key"}}
    with (
        serving(Reply(401, json=said)) as server,
        pytest.raises(CallError) as refused,
    ):
        way(transport, request_to(server))
    assert refused.value.status == 401
    assert KEY not in str(refused.value)
    with (
        serving(Reply(307, headers={"location": "/elsewhere"})) as server,
        pytest.raises(ConnectionFailed, match="redirects"),
    ):
        way(transport, request_to(server))
    assert len(server.received) == 1
    pieces = named_sse(response_events(responses(output_text("A longer text."))))
    slow = Reply(pieces=pieces, gap=0.2) if way in STREAMED else Reply(json=responses(), pause=2)
    with serving(slow) as server, pytest.raises(Timeout):
        way(transport, request_to(server, timeout=Phases(total=0.4)))


def test_a_secret_in_a_failed_response_is_masked(transport: Transport) -> None:
    error = {"code": "server_error", "message": f"could not use {KEY}"}
    with (
        serving(responses(status="failed", error=error)) as server,
        pytest.raises(ServerError) as raised,
    ):
        transport.complete(request_to(server))
    assert KEY not in str(raised.value)


def test_arguments_of_litellm_are_refused() -> None:
    made = make(TransportSpec(args=freeze({"drop_params": True})))
    with serving(responses()) as server:
        with pytest.raises(UsageError, match=r"transport\.args"):
            made.complete(request_to(server))
        assert server.received == []


# The other side's own word


def test_what_is_sent_and_answered_here_is_what_openais_own_types_describe(
    transport: Transport,
) -> None:
    from openai.types.responses import Response, ResponseInputParam, ResponseStreamEvent
    from openai.types.responses.response_create_params import ResponseCreateParamsBase
    from pydantic import TypeAdapter

    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    typed = {"id": "c2", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    body = body_of(
        transport,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "Hm.", "tool_calls": [call, typed]},
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
            {"role": "tool", "tool_call_id": "c2", "content": "a file"},
        ],
        settings={
            "max_tokens": 20,
            "temperature": 0.5,
            "reasoning_effort": "low",
            "verbosity": "low",
            "logprobs": True,
            "top_logprobs": 2,
            "service_tier": "flex",
            "metadata": {"a": "b"},
            "tools": [{"type": "function", "function": {"name": "add"}}],
            "tool_choice": {"type": "function", "function": {"name": "add"}},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
            },
        },
    )
    items = TypeAdapter(ResponseInputParam)
    assert len(items.validate_python(body["input"])) == len(body["input"]) == 7
    params = {key: value for key, value in body.items() if key != "input"}
    known: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsBase)
    read = known.validate_python({**params, "input": "above"})
    # What its types do not know, they leave out.
    assert {**read, "tools": list(read["tools"])} == {**params, "input": "above"}
    events: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for response, _, _ in ANSWERS.values():
        told = {**response, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        Response.model_validate(told)
        for event in response_events(response):
            if event["type"].endswith(".delta") or ".output_item." in event["type"]:
                events.validate_python(event)
