"""An LM from its settings to the bytes at a socket and back: calls, retries, stores, streams."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    Closed,
    ConnectionFailed,
    ProfileError,
    ServerError,
    UsageError,
)
from lmconf.runtime import LM
from tests.artefacts import ask
from tests.loopback import (
    USAGE,
    Loopback,
    Received,
    Reply,
    chat,
    chat_chunks,
    completion,
    serving,
    sse,
)

KEY = "sk-a-key-that-nobody-may-see-0123456789"
QUICK = {"initial": 0.001, "jitter": "none"}


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own for what is kept on disk."""
    folder = tmp_path / "kept"
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(folder))
    live_store(MemoryStore()).clear()
    return folder


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


def lm_at(server: Loopback, **settings: Any) -> LM:
    # A seed of its own keeps a test's answers apart from those that others left in memory.
    given = {"api_base": server.v1, "api_key": KEY, "retry": QUICK, **settings}
    return LM(
        settings.pop("model", "openai/tiny"), **{k: v for k, v in given.items() if k != "model"}
    )


# Calling


def test_a_call_returns_texts_as_the_reference_does(server: Loopback) -> None:
    lm = lm_at(server, temperature=0.9, max_tokens=3000, stop=None, cache=False)
    assert lm("Say this is a test!", temperature=0.7) == ["Hello."]
    assert lm(messages=[{"role": "user", "content": "Say this is a test!"}]) == ["Hello."]
    first, second = (received.json for received in server.received)
    message = {"role": "user", "content": "Say this is a test!"}
    assert first == {
        "model": "tiny",
        "messages": [message],
        "temperature": 0.7,
        "max_tokens": 3000,
    }
    assert second == {**first, "temperature": 0.9}


def test_the_defaults_are_those_of_the_reference(server: Loopback) -> None:
    lm_at(server)("hi")
    body = server.received[0].json
    assert (body["temperature"], body["max_tokens"]) == (0.0, 1000)


def test_a_reasoning_model_is_sent_the_name_that_it_wants(server: Loopback) -> None:
    lm_at(server, model="openai/o3-mini")("hi")
    body = server.received[0].json
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] >= 5000
    assert body["temperature"] == 1.0


def test_a_text_model_is_sent_a_prompt(server: Loopback) -> None:
    server.answers(completion("once upon"))
    lm = lm_at(server, model_type="text")
    assert lm("a story") == ["once upon"]
    lm(messages=[{"role": "system", "content": "tell"}, {"role": "user", "content": "a story"}])
    assert [received.path for received in server.received] == ["/v1/completions"] * 2
    prompts = [received.json["prompt"] for received in server.received]
    assert prompts == ["a story", "tell\n\na story"]


def test_several_answers_log_probabilities_and_tool_calls_are_mappings(server: Loopback) -> None:
    probabilities = {
        "content": [{"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]
    }
    two = chat("Hi")
    two["choices"][0]["logprobs"] = probabilities
    two["choices"].append(
        {"index": 1, "message": {"role": "assistant", "content": "Ho"}, "finish_reason": "stop"}
    )
    server.answers(two)
    outputs = lm_at(server, n=2, logprobs=True)("hi")
    assert [output["text"] for output in outputs] == ["Hi", "Ho"]
    assert outputs[0]["logprobs"]["content"][0]["logprob"] == -0.5
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    server.answers(chat(None, tool_calls=[call], finish_reason="tool_calls"))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    answer = lm_at(server, tools=tools).ask("hi")
    assert answer.text == ""
    assert answer.tool_calls[0]["function"]["name"] == "f"
    assert lm_at(server, tools=tools)("hi") == [{"text": None, "tool_calls": [call]}]


def test_an_answer_tells_everything_that_is_known_of_it(server: Loopback) -> None:
    server.answers(Reply(json=chat("Hi.", reasoning_content="Hm."), headers={"x-request-id": "r1"}))
    answer = lm_at(server).ask("hi")
    assert (answer.text, answer.texts, answer.reasoning) == ("Hi.", ("Hi.",), "Hm.")
    assert {key: answer.usage[key] for key in USAGE} == USAGE
    assert (answer.finish_reason, answer.cache_hit, answer.attempts) == ("stop", False, 1)
    assert (answer.lm, answer.model, answer.request_id) == ("openai/tiny", "tiny", "r1")
    assert answer.cost is None
    json.dumps(answer.response)
    with pytest.raises(AttributeError):
        answer.text = "other"  # type: ignore[misc]


def test_sync_and_async_calls_answer_alike(server: Loopback) -> None:
    lm = lm_at(server, cache=False)

    async def ask() -> tuple[Any, Any]:
        return await lm.acall("hi"), await lm.aask("hi")

    outputs, answer = asyncio.run(ask())
    assert outputs == lm("hi")
    assert answer == lm.ask("hi")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "give a prompt, or messages"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "not both"),
        ({"messages": []}, "at least one"),
        ({"messages": "hi"}, "list of messages"),
        ({"messages": [{"role": "usr", "content": "hi"}]}, "did you mean 'user'"),
        ({"messages": [{"role": "user"}]}, "needs content"),
        ({"messages": [{"role": "user", "content": 5}]}, "text or a list of parts"),
        ({"prompt": 5}, "must be text"),
        ({"prompt": "hi", "api_base": "https://other.example/v1"}, "lm.copy"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_before_anything_is_sent(
    server: Loopback, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        lm_at(server)(**arguments)
    assert server.received == []


def test_an_unknown_or_wrong_setting_of_a_call_is_an_error(server: Loopback) -> None:
    lm = lm_at(server)
    with pytest.raises(ProfileError, match="temprature") as raised:
        lm("hi", temprature=0.5)  # type: ignore[call-arg]
    assert "temperature" in repr(raised.value.diagnostics)
    with pytest.raises(ProfileError, match="temperature"):
        lm("hi", temperature=7)
    assert server.received == []


# Trying again


def test_passing_failures_are_tried_again_by_one_owner_alone(server: Loopback) -> None:
    server.answers(
        Reply(status=500, json={"error": {"message": "down"}}),
        Reply(status=429, json={"error": {"message": "slow"}}),
        Reply(drop=True),
        Reply(json={"choices": []}),
        chat("At last."),
    )
    answer = lm_at(server).ask("hi")
    assert (answer.text, answer.attempts) == ("At last.", 5)
    assert len(server.received) == 5


def test_only_the_stated_failures_are_tried_again(server: Loopback) -> None:
    server.answers(Reply(status=500, json={}))
    with pytest.raises(ServerError):
        lm_at(server, retry={**QUICK, "when": ["rate_limit"]})("hi")
    assert len(server.received) == 1


def test_zero_retries_are_one_attempt(server: Loopback) -> None:
    server.answers(Reply(status=500, json={}))
    with pytest.raises(ServerError):
        lm_at(server, num_retries=0)("hi")
    assert len(server.received) == 1


# Keys


def test_a_missing_variable_is_named_before_anything_is_sent_or_imported(server: Loopback) -> None:
    lm = lm_at(server, api_key={"$env": "ACME_KEY"})
    with pytest.raises(AuthenticationFailed, match=r"ACME_KEY is not set.*`api_key`") as raised:
        lm("hi")
    assert raised.value.attempts == 0
    assert server.received == []
    assert "ACME_KEY" in raised.value.help


def test_a_rotated_key_is_picked_up(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = lm_at(server, api_key={"$env": "ACME_KEY"}, cache=False)
    for key in ("first-key", "second-key"):
        monkeypatch.setenv("ACME_KEY", key)
        lm("hi")
    sent = [received.header("authorization") for received in server.received]
    assert sent == ["Bearer first-key", "Bearer second-key"]


def test_a_key_given_in_code_is_asked_for_again_after_a_state_or_a_pickle(server: Loopback) -> None:
    lm = lm_at(server)
    assert lm.dump_state()["api_key"] == {"$given": "api_key"}
    again = pickle.loads(pickle.dumps(lm))
    assert again == lm
    assert KEY.encode() not in pickle.dumps(lm)
    with pytest.raises(AuthenticationFailed, match="value from code"):
        again.copy(cache=False)("hi")
    assert again.copy(api_key=KEY, cache=False)("hi") == ["Hello."]


def test_no_artefact_holds_the_key(server: Loopback, stores: Path) -> None:
    headers = {"X-Team-Token": {"$env": "TEAM_TOKEN", "format": "team {}"}}
    os.environ["TEAM_TOKEN"] = "a-team-token-nobody-may-see"
    lm = lm_at(server, headers=headers, num_retries=0)
    answer = lm.ask("hi")
    assert KEY in server.received[0].text
    assert "team a-team-token-nobody-may-see" in server.received[0].text
    server.answers(Reply(status=400, json={"error": {"message": f"your key {KEY} is odd"}}))
    with pytest.raises(BadRequest) as raised:
        lm("other")
    told = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    frames = [
        "".join(frame.locals.values())
        for frame in told.stack
        if "lmconf" in frame.filename and frame.locals
    ]
    kept = b"".join(path.read_bytes() for path in stores.rglob("*") if path.is_file())
    found = [repr(lm), repr(answer), repr(lm.history[:]), str(lm.dump_state()), str(raised.value)]
    found += [repr(vars(raised.value)), *frames, repr(lm.spec), kept.decode("latin-1")]
    assert frames
    assert kept
    assert not [text for text in found if KEY in text or "a-team-token" in text]


def test_plain_http_leaves_the_machine_only_where_the_profile_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BASE", "http://llm.example/v1")
    lm = LM("openai/x", api_base={"$env": "BASE"}, api_key="")
    with pytest.raises(ConnectionFailed, match="plain http") as raised:
        lm("hi")
    assert raised.value.attempts == 0


# What is kept


def test_a_second_call_is_answered_from_memory_without_usage_or_cost(server: Loopback) -> None:
    lm = lm_at(server)
    first, second = lm.ask("hi"), lm.ask("hi")
    assert len(server.received) == 1
    assert (second.cache_hit, second.usage, second.cost, second.attempts) == (True, {}, None, 0)
    assert second.response == first.response
    assert second.response is not first.response


def test_a_copy_a_new_lm_and_every_way_of_calling_share_what_is_kept(server: Loopback) -> None:
    lm_at(server)("hi")
    for way in ("sync", "async", "stream", "astream"):
        assert ask(lm_at(server), way) == "Hello."
    lm_at(server).copy(timeout="5s", num_retries=1, user="someone")("hi")
    lm_at(server, api_key={"$env": "OTHER"})("hi")
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5},
        {"max_tokens": 7},
        {"seed": 1},
        {"rollout_id": 2},
        {"extra": {"top_k": 3}},
        {"headers": {"X-Variant": "b"}},
        {"organization": "org-b"},
        {"project": "b"},
        {"model_type": "text"},
        {"base_model": "openai/gpt-4o"},
        {"endpoint": "acme"},
        {"cache": {"namespace": "b"}},
        {"response_format": {"type": "json_object"}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_whatever_steers_an_answer_keeps_it_apart(
    server: Loopback, settings: dict[str, Any]
) -> None:
    lm = lm_at(server)
    lm("hi")
    server.answers(completion() if "model_type" in settings else chat())
    lm.copy(**settings)("hi")
    assert len(server.received) == 2


def test_a_setting_of_one_call_counts_as_if_the_lm_had_it(server: Loopback) -> None:
    lm = lm_at(server)
    lm("hi", temperature=0.5, stop=["x"])
    lm.copy(temperature=0.5, stop=["x"])("hi")
    assert len(server.received) == 1


def test_two_servers_never_share_an_answer_and_a_named_endpoint_does(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(chat("Other.")) as other:
        monkeypatch.setenv("BASE", server.v1)
        lm = lm_at(server, api_base={"$env": "BASE"})
        assert lm("hi") == ["Hello."]
        monkeypatch.setenv("BASE", other.v1)
        assert lm("hi") == ["Other."]
        named = lm_at(server, endpoint="house", rollout_id="named")
        assert named("hi") == ["Hello."]
        # A key goes to another address only where it is stated for it.
        assert named.copy(api_base=other.v1, api_key=KEY)("hi") == ["Hello."]


def test_a_rollout_id_asks_anew_and_is_never_sent(server: Loopback) -> None:
    lm = lm_at(server)
    lm("hi")
    lm("hi", rollout_id=1)
    lm("hi", rollout_id=1)
    assert len(server.received) == 2
    assert "rollout" not in server.received[1].text


def test_a_tracing_header_does_not_keep_answers_apart(server: Loopback) -> None:
    for number in range(2):
        lm_at(server, headers={"traceparent": f"00-{number}"})("hi")
    assert len(server.received) == 1


@pytest.mark.filterwarnings("ignore::lmconf.TruncatedWarning")
@pytest.mark.parametrize(
    "reply",
    [
        chat("", finish_reason="stop"),
        chat("Hel", finish_reason="length"),
        chat("I c", finish_reason="content_filter"),
    ],
    ids=["empty", "cut", "filtered"],
)
def test_unusable_answers_are_returned_and_not_kept(
    server: Loopback, reply: dict[str, Any]
) -> None:
    server.answers(reply)
    lm = lm_at(server, seed=5)
    lm("hi")
    lm("hi")
    assert len(server.received) == 2


def test_the_modes_of_a_cache(server: Loopback) -> None:
    lm = lm_at(server)
    lm("hi", cache=False)
    lm("hi", cache={"mode": "read_only"})
    assert len(server.received) == 2
    lm("hi")
    lm("hi", cache={"mode": "read_only"})
    assert len(server.received) == 3
    server.answers(chat("Fresh."))
    assert lm("hi", cache={"mode": "refresh"}) == ["Fresh."]
    assert lm("hi") == ["Fresh."]


def test_a_process_may_be_told_to_keep_nothing(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, stores: Path
) -> None:
    monkeypatch.setenv("LMCONF_CACHE", "disabled")
    lm = lm_at(server)
    lm("hi")
    lm("hi")
    assert len(server.received) == 2
    assert not stores.exists()


def test_a_store_that_cannot_work_never_fails_a_call(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = {"backend": "disk", "path": str(tmp_path / "file")}
    lm = lm_at(server, cache={"store": store}, cache_in_memory=False)
    with pytest.warns(UserWarning):
        assert lm("hi") == ["Hello."]
    assert lm("hi") == ["Hello."]


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_run_that_is_answered_from_what_is_kept_never_imports_litellm(
    server: Loopback, place: str
) -> None:
    """Also without the key: nothing is resolved that is not needed."""
    settings = f"api_base={server.v1!r}, api_key={{'$env': 'ABSENT_KEY'}}"
    if place == "disk":
        lm_at(server, api_key=KEY)("hi")
    prepare = """
        from lmconf.caches import request_key
        from lmconf.runtime.stored import write
        parts = lm._parts()
        key = request_key(parts.identity.digest_of(lm.spec), [{"role": "user", "content": "hi"}], {})
        response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."},
                                 "finish_reason": "stop"}]}
        parts.cache_stores.tiers_of(lm.spec).put(key, write(response), ttl=None)
    """
    program = f"""
        import asyncio, sys
        from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.runtime import LM
        lm = LM("openai/tiny", {settings})
        {textwrap.dedent(prepare) if place == "memory" else ""}
        assert lm("hi") == ["Hello."]
        assert asyncio.run(lm.acall("hi")) == ["Hello."]
        with lm.stream("hi") as stream:
            assert list(stream) == ["Hello."]
        heavy = {{"litellm", "openai", "httpx", "jinja2", "structlog"}} & set(sys.modules)
        assert not heavy, heavy
    """
    lines = textwrap.dedent(program).splitlines()
    source = "\n".join(line.removeprefix("        ") for line in lines)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(server.received) == (1 if place == "disk" else 0)


# Streams


@pytest.fixture
def streaming(server: Loopback) -> Loopback:
    server.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo", "."))))
    return server


def test_a_stream_yields_pieces_and_then_holds_the_answer(streaming: Loopback) -> None:
    lm = lm_at(streaming, seed=11)
    with lm.stream("hi") as stream:
        with pytest.raises(Closed):
            _ = stream.answer
        assert list(stream) == ["Hel", "lo", "."]
    assert stream.answer.text == "Hello."
    assert stream.answer.usage["total_tokens"] == 7
    assert (stream.answer.finish_reason, stream.answer.attempts) == ("stop", 1)
    assert lm.history[-1]["outputs"] == ["Hello."]


def test_a_streamed_answer_is_kept_whole_and_replayed(streaming: Loopback) -> None:
    lm = lm_at(streaming, seed=12)
    assert ask(lm, "stream") == "Hello."
    assert lm("hi") == ["Hello."]
    assert ask(lm, "astream") == "Hello."
    assert len(streaming.received) == 1


def test_tool_calls_are_put_together_from_their_pieces(server: Loopback) -> None:
    def piece(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        base = chat_chunks(usage=False)[0]
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    def call(**changes: Any) -> dict[str, Any]:
        return piece({"tool_calls": [{"index": 0, **changes}]})

    chunks = [
        piece({"role": "assistant", "content": None}),
        call(id="c1", type="function", function={"name": "add", "arguments": ""}),
        call(function={"arguments": '{"a": '}),
        call(function={"arguments": "1}"}),
        piece({}, "tool_calls"),
    ]
    server.answers(Reply(pieces=sse(*chunks)))
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    with lm_at(server, tools=tools).stream("hi") as stream:
        assert list(stream) == []
    (made,) = stream.answer.tool_calls
    assert made["id"] == "c1"
    assert made["function"] == {"name": "add", "arguments": '{"a": 1}'}


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_stream_is_tried_again_until_it_begins_and_never_after(
    server: Loopback, way: str
) -> None:
    cut = Reply(pieces=sse(*chat_chunks("Hel", finish=None, usage=False), done=False))
    unbegun = Reply(pieces=sse(*chat_chunks("", finish=None, usage=False), done=False))
    server.answers(Reply(status=500, json={}), unbegun, cut)
    lm = lm_at(server, seed=13)
    with pytest.raises(BadResponse) as raised:
        ask(lm, way)
    assert raised.value.partial == "Hel"
    assert len(server.received) == 3
    assert not lm.history
    server.answers(Reply(pieces=sse(*chat_chunks("Whole."))))
    assert ask(lm, way) == "Whole."


def test_a_stream_left_early_is_neither_kept_nor_noted(streaming: Loopback) -> None:
    lm = lm_at(streaming, seed=14)
    with lm.stream("hi") as stream:
        assert next(stream) == "Hel"
    with pytest.raises(StopIteration):
        next(stream)
    assert not lm.history
    ask(lm, "stream")
    assert len(streaming.received) == 2


# History, copies, closing


def test_the_history_holds_what_the_references_does(server: Loopback) -> None:
    lm = lm_at(server, temperature=0.5, seed=21)
    lm("hi", top_p=0.5)
    entry = lm.history[-1]
    assert list(entry)[:7] == [
        "prompt", "messages", "kwargs", "response", "outputs", "usage", "cost",
    ]  # fmt: skip
    assert entry["prompt"] == "hi"
    assert entry["messages"] == [{"role": "user", "content": "hi"}]
    assert entry["kwargs"] == {"temperature": 0.5, "max_tokens": 1000, "seed": 21, "top_p": 0.5}
    assert entry["outputs"] == ["Hello."]
    assert entry["response"]["choices"][0]["message"]["content"] == "Hello."
    assert entry["usage"]["total_tokens"] == 7
    assert (entry["model"], entry["cache_hit"], entry["attempts"]) == ("openai/tiny", False, 1)
    assert entry["latency"] > 0
    lm("hi", top_p=0.5)
    assert lm.history[-1]["cache_hit"] is True
    assert len({entry["uuid"] for entry in lm.history}) == 2


def test_the_last_calls_can_be_read_by_people(
    server: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = lm_at(server, cache=False)
    lm("first")
    lm("second")
    lm.inspect_history()
    told = capsys.readouterr().out
    assert "second" in told
    assert "Hello." in told
    assert "first" not in told


def test_a_copy_is_checked_has_its_own_history_and_takes_no_key_elsewhere(
    server: Loopback,
) -> None:
    lm = lm_at(server)
    lm("hi")
    warm = lm.copy(temperature=0.7)
    assert (warm.temperature, lm.temperature) == (0.7, 0.0)
    assert not warm.history
    assert len(lm.history) == 1
    assert deepcopy(lm) == lm
    with pytest.raises(ProfileError):
        lm.copy(temperature=9)
    with pytest.raises(ProfileError, match="belongs to openai"):
        lm.copy(model="anthropic/claude-3-opus-20240229")


def test_fields_of_the_spec_are_attributes(server: Loopback) -> None:
    lm = lm_at(server, max_tokens=5)
    assert (lm.model, lm.model_type, lm.max_tokens) == ("openai/tiny", "chat", 5)
    assert lm.kwargs == {"temperature": 0.0, "max_tokens": 5}
    assert repr(lm) == "LM('openai/tiny')"
    with pytest.raises(AttributeError, match="temprature"):
        _ = lm.temprature


def test_a_closed_lm_says_so(server: Loopback) -> None:
    with lm_at(server) as lm:
        lm("hi")
    with pytest.raises(Closed):
        lm("hi")
    lm.close()


def test_prices_of_the_profile_make_the_cost(server: Loopback) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400},
    }
    server.answers({**chat(), "usage": usage})
    lm = lm_at(server, pricing={"input": 10, "output": 30, "cached_input": 1}, cache=False)
    assert lm.ask("hi").cost == pytest.approx((600 * 10 + 400 * 1 + 100 * 30) / 1e6)
    lm = lm_at(server, pricing={"input": 10, "output": 30}, cache=False)
    assert lm.ask("hi").cost == pytest.approx(0.013)


def test_the_price_table_knows_models_by_name_and_by_base_model(server: Loopback) -> None:
    lm = lm_at(server, cache=False)
    known = lm.copy(model="openai/gpt-4o-mini").ask("hi").cost
    assert known is not None
    assert known > 0
    assert lm.copy(base_model="openai/gpt-4o-mini").ask("hi").cost == known
    assert lm.ask("hi").cost is None


class Listener:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_start(self, event: Any) -> None:
        self.events.append(event)

    on_end = on_error = on_start


def test_callbacks_hear_of_every_call_once(server: Loopback) -> None:
    ear = Listener()
    lm = lm_at(server, callbacks=[ear], num_retries=0, seed=31)
    lm("hi")
    lm("hi")
    server.answers(Reply(pieces=sse(*chat_chunks("St", "ream."))))
    assert list(lm.stream("other")) == ["St", "ream."]
    server.answers(Reply(status=400, json={}))
    with pytest.raises(BadRequest):
        lm("third")
    kinds = [type(event).__name__ for event in ear.events]
    assert kinds == ["Start", "End", "Start", "End", "Start", "End", "Start", "Failure"]
    assert [event.cache_hit for event in ear.events if type(event).__name__ == "End"] == [
        False, True, False,
    ]  # fmt: skip
    assert len({event.call_id for event in ear.events}) == 4
    assert KEY not in repr(ear.events)


def test_one_lm_answers_many_threads_and_loops_at_once(server: Loopback) -> None:
    def echo(received: Received) -> Reply:
        return Reply(json=chat(received.json["messages"][0]["content"]))

    server.script = echo
    lm = lm_at(server, seed=41)
    wrong: list[str] = []

    async def several(names: list[str]) -> list[list[str]]:
        return list(await asyncio.gather(*(lm.acall(name) for name in names)))

    def work(number: int) -> None:
        names = [f"{number}-{i}" for i in range(5)]
        answers = [lm(name) for name in names] if number % 2 else asyncio.run(several(names))
        wrong.extend(name for name, answer in zip(names, answers, strict=True) if answer != [name])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(lm.history) == 40
