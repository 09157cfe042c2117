"""What calls used, what is remembered of them, and what of an answer is passed on."""

from __future__ import annotations

import asyncio
import contextvars
import io
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import ServerError
from lmconf.runtime import LM
from lmconf.runtime.usage import Tally, Usage
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse

PRICE = {"input": 1.0, "output": 10.0}
ONE = (5 * 1.0 + 2 * 10.0) / 1e6


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


def lm_at(server: Loopback, **settings: Any) -> LM:
    given = {"api_base": server.v1, "api_key": "", "num_retries": 0, "pricing": PRICE, **settings}
    return LM("openai/tiny", **given)


def test_usage_and_cost_add_up_and_a_cache_hit_bills_nothing(server: Loopback) -> None:
    lm = lm_at(server)
    for prompt in ("a", "b", "a"):
        lm(prompt)
    assert lm.usage == Usage(
        calls=3,
        cache_hits=1,
        attempts=2,
        prompt_tokens=10,
        completion_tokens=4,
        total_tokens=14,
        cost=2 * ONE,
    )
    assert [entry["cost"] for entry in lm.history] == [
        pytest.approx(ONE),
        pytest.approx(ONE),
        None,
    ]
    assert lm.history[-1]["usage"] == {}


def test_every_form_of_call_counts(server: Loopback) -> None:
    lm = lm_at(server, cache=False)
    lm("a")
    lm.ask("a")
    asyncio.run(lm.acall("a"))
    asyncio.run(lm.aask("a"))
    server.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo."))))
    with lm.stream("a") as stream:
        assert "".join(stream) == "Hello."

    async def streamed() -> str:
        async with lm.astream("a") as pieces:
            return "".join([piece async for piece in pieces])

    assert asyncio.run(streamed()) == "Hello."
    assert lm.usage.calls == 6
    assert lm.usage.total_tokens == 6 * 7


def test_details_of_tokens_are_added_up(server: Loopback) -> None:
    server.answers(
        {
            **chat(),
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 60},
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
        }
    )
    lm = lm_at(server, pricing={**PRICE, "cached_input": 0.5})
    lm("a")
    assert (lm.usage.cached_tokens, lm.usage.reasoning_tokens) == (60, 30)
    assert lm.usage.cost == pytest.approx((40 * 1.0 + 60 * 0.5 + 50 * 10.0) / 1e6)


def test_a_model_without_a_price_is_counted_as_such(server: Loopback) -> None:
    lm = lm_at(server, pricing=None)
    lm("a")
    assert (lm.usage.cost, lm.usage.unpriced) == (0.0, 1)


def test_the_price_is_that_of_the_base_model(server: Loopback) -> None:
    lm = lm_at(server, pricing=None, base_model="openai/gpt-4o-mini")
    answer = lm.ask("a")
    assert answer.cost == pytest.approx((5 * 0.15 + 2 * 0.6) / 1e6)


def test_a_copy_counts_its_own_and_a_profile_counts_all(server: Loopback) -> None:
    base = {"api_base": server.v1, "api_key": "", "num_retries": 0, "pricing": PRICE}
    profile = lmconf.load(
        {
            "lms": {
                "a": {"model": "openai/tiny", **base},
                "b": {"model": "openai/other", **base},
            }
        }
    )
    a, b = profile["a"], profile["b"]
    a("1")
    b("1")
    a.copy(temperature=0.5)("1")
    assert (a.usage.calls, b.usage.calls) == (1, 1)
    assert profile.usage.calls == 3
    assert profile.usage.cost == pytest.approx(3 * ONE)
    profile.close()


def test_a_block_counts_what_is_called_inside_it(server: Loopback) -> None:
    a = LM("openai/tiny", name="a", api_base=server.v1, api_key="", pricing=PRICE)
    b = LM("openai/tiny", name="b", api_base=server.v1, api_key="", pricing=PRICE)
    with lmconf.track_usage() as outer:
        a("1", seed=1)
        with lmconf.track_usage() as inner:
            b("2", seed=2)
            b("2", seed=2)
    a("3", seed=3)
    assert outer.total.calls == 3
    assert outer["a"].calls == 1
    assert set(outer.by_lm) == {"a", "b"}
    assert inner.total == outer["b"]
    assert (inner["b"].calls, inner["b"].cache_hits) == (2, 1)
    assert inner["a"] == Usage()


def test_tasks_and_threads_that_carry_the_context_count(server: Loopback) -> None:
    lm = lm_at(server, cache=False)

    async def several() -> None:
        await asyncio.gather(*(lm.acall(str(number)) for number in range(5)))

    with lmconf.track_usage() as usage:
        asyncio.run(several())
        with ThreadPoolExecutor(4) as pool:
            for number in range(5):
                pool.submit(contextvars.copy_context().run, lm, str(number))
            pool.submit(lm, "outside").result()
    assert usage.total.calls == 10
    assert lm.usage.calls == 11


def test_a_failed_call_counts_nothing(server: Loopback) -> None:
    server.answers(Reply(status=500, json={}))
    lm = lm_at(server)
    with lmconf.track_usage() as usage, pytest.raises(ServerError):
        lm("a")
    assert usage.total == lm.usage == Usage()


def test_many_threads_add_up_exactly() -> None:
    whole = Tally()
    tally = Tally(whole)

    def add() -> None:
        for _ in range(2000):
            tally.add("a", 1, {"prompt_tokens": 1, "completion_tokens": 2}, 0.5)
            tally.add_hit("b")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.total == whole.total
    assert tally["a"] == Usage(
        calls=8000,
        attempts=8000,
        prompt_tokens=8000,
        completion_tokens=16000,
        total_tokens=24000,
        cost=4000.0,
    )
    assert tally["b"] == Usage(calls=8000, cache_hits=8000)


def test_an_entry_of_the_history_has_the_reference_keys_and_more(server: Loopback) -> None:
    server.answers(Reply(json=chat(), headers={"x-request-id": "req-1"}))
    lm = lm_at(server)
    lm("hi", temperature=0.7)
    entry = lm.history[-1]
    assert list(entry)[:7] == [
        "prompt",
        "messages",
        "kwargs",
        "response",
        "outputs",
        "usage",
        "cost",
    ]
    assert entry["prompt"] == "hi"
    assert entry["kwargs"] == {"temperature": 0.7, "max_tokens": 1000}
    assert entry["outputs"] == ["Hello."]
    assert (entry["lm"], entry["model"], entry["response_model"]) == (
        "openai/tiny",
        "openai/tiny",
        "tiny",
    )
    assert (entry["cache_hit"], entry["attempts"], entry["request_id"]) == (False, 1, "req-1")
    assert (entry["finish_reason"], entry["model_type"]) == ("stop", "chat")
    assert entry["latency"] > 0
    assert entry["timestamp"] > 1.7e9
    assert len(entry["uuid"]) == 32


def test_a_history_holds_as_much_as_the_profile_says(server: Loopback) -> None:
    lm = lm_at(server, history={"max": 2})
    for prompt in "abc":
        lm(prompt)
    assert [entry["prompt"] for entry in lm.history] == ["b", "c"]
    assert lm.copy().spec.history.max == 2
    assert len(lm.copy().history) == 0
    silent = lm_at(server, history=False)
    silent("a")
    assert len(silent.history) == 0
    assert silent.usage.calls == 1


def test_a_history_without_content_holds_nothing_that_was_said(server: Loopback) -> None:
    server.answers(chat("A confidential answer."))
    lm = lm_at(server, history={"content": False})
    lm("a confidential question")
    assert "confidential" not in repr(list(lm.history))
    assert lm.history[0]["usage"]["total_tokens"] == 7
    out = io.StringIO()
    lm.inspect_history(file=out)
    assert "is not recorded" in out.getvalue()


def test_a_cut_answer_is_returned_marked_and_warned_of(server: Loopback) -> None:
    server.answers(chat("Hel", finish_reason="length"))
    lm = lm_at(server)
    with pytest.warns(lmconf.TruncatedWarning, match="truncated by `max_tokens`") as caught:
        assert lm("a") == ["Hel"]
    assert caught[0].filename == __file__
    with pytest.warns(lmconf.TruncatedWarning) as caught:
        answer = lm.ask("a")
    assert answer.truncated
    assert caught[0].filename == __file__

    async def calling() -> None:
        await lm.acall("a")

    with pytest.warns(lmconf.TruncatedWarning) as caught:
        asyncio.run(calling())
    assert caught[0].filename == __file__
    server.answers(Reply(pieces=sse(*chat_chunks("Hel", finish="length"))))
    with warnings.catch_warnings(record=True) as noted, lm.stream("b") as stream:
        warnings.simplefilter("always")
        assert list(stream) == ["Hel"]
    (warning,) = [one for one in noted if one.category is lmconf.TruncatedWarning]
    assert warning.filename == __file__
    assert stream.answer.truncated
    assert lm.history[-1]["finish_reason"] == "length"


ANNOTATION = {
    "type": "url_citation",
    "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1},
}


def test_citations_are_passed_on_as_the_provider_writes_them(server: Loopback) -> None:
    server.answers(
        chat("Rome.", annotations=[ANNOTATION]),
        {**chat("Rome."), "citations": ["https://b.example"]},
        chat("Rome."),
    )
    lm = lm_at(server, cache=False)
    (first,) = lm.ask("?").citations
    assert first["url_citation"]["url"] == "https://a.example"
    assert lm.ask("?").citations == ("https://b.example",)
    assert lm.ask("?").citations == ()


def test_a_stream_yields_chunks_with_everything_that_is_no_text(server: Loopback) -> None:
    def chunk(**delta: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return {"id": "1", "object": "chat.completion.chunk", "model": "tiny", "choices": [choice]}

    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a": 1}'}}
    pieces = [
        chunk(role="assistant", reasoning_content="Let me see."),
        chunk(content="Rome."),
        chunk(tool_calls=[call]),
        chunk(tool_calls=[more]),
        *chat_chunks("", finish="tool_calls")[1:],
    ]
    server.answers(Reply(pieces=sse(*pieces)))
    lm = lm_at(server)
    with lm.stream("?") as stream:
        seen = list(stream.chunks())
    deltas = [choice["delta"] for chunk in seen for choice in chunk["choices"]]
    assert any(delta.get("reasoning_content") == "Let me see." for delta in deltas)
    answer = stream.answer
    assert (answer.text, answer.reasoning) == ("Rome.", "Let me see.")
    assert answer.tool_calls[0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    with lm.stream("?") as again:
        replayed = list(again.chunks())
    assert again.answer.cache_hit
    assert again.answer.tool_calls == answer.tool_calls
    said = [choice["delta"] for chunk in replayed for choice in chunk["choices"]]
    assert [delta["content"] for delta in said if "content" in delta] == ["Rome."]
    assert [call["index"] for delta in said for call in delta.get("tool_calls", ())] == [0]
    assert replayed[-1]["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"model": "openai/gpt-4o"}, "openai"),
        ({"model": "azure/x", "api_base": "https://a.example", "api_key": ""}, "openai"),
        ({"model": "databricks/x", "api_base": "https://a.example", "api_key": ""}, "databricks"),
        ({"model": "anthropic/claude-3-opus-20240229"}, None),
        ({"model": "openai/x", "provider": "local"}, "local"),
        ({"model": "openai/x", "launch_kwargs": {"use": "llama_cpp", "weights": "x"}}, "llama_cpp"),
    ],
)
def test_the_provider_follows_from_what_is_said(settings: dict[str, Any], kind: str | None) -> None:
    assert LM(**settings).infer_provider() == kind
