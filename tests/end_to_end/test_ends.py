"""How answers end: one that was given up is a failure, and one of an unknown end is not kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmconf.errors import CallError, ServerError
from lmconf.runtime import LM
from lmconf.testing import answer, fake
from tests.loopback import Loopback, Reply, chat, chat_chunks, completion, serving, sse
from tests.wire.providers import STREAMED, WHOLE, Way

UP = "abort aborted cancelled error failed insufficient_system_resource network_error".split()
KNOWN = "stop tool_calls function_call".split()
UNKNOWN = ("repetition", "something_new")
CUT = ("length", "content_filter")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path))
    with serving(chat()) as made:
        yield made


def _chat(reason: str, streamed: bool) -> Reply:
    if streamed:
        return Reply(pieces=sse(*chat_chunks("Hel", "lo.", finish=reason)))
    return Reply(json=chat("Hello.", finish_reason=reason))


def _text(reason: str, streamed: bool) -> Reply:
    whole = completion("Hello.")
    whole["choices"][0]["finish_reason"] = reason
    if not streamed:
        return Reply(json=whole)
    first = {**whole, "choices": [{**whole["choices"][0], "finish_reason": None}]}
    last = {**whole, "choices": [{**whole["choices"][0], "text": ""}]}
    return Reply(pieces=sse(first, last))


ROUTES: dict[str, tuple[str, dict[str, Any], Callable[[str, bool], Reply]]] = {
    "chat": ("openai/tiny", {}, _chat),
    "completions": ("openai/tiny", {"model_type": "text"}, _text),
    "shaped by LiteLLM": ("deepinfra/tiny", {}, _chat),
    "shaped by LiteLLM, over http": ("databricks/tiny", {}, _chat),
}


def lm_of(server: Loopback, route: str, **settings: Any) -> LM:
    model, more, _ = ROUTES[route]
    # The disk's store is this test's own; the process's is not, and ports come again.
    base = {"api_base": server.v1, "api_key": "k", "cache_in_memory": False}
    return LM(model, **{"num_retries": 0, **base, **more, **settings})


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("reason", UP)
@pytest.mark.parametrize("route", ROUTES)
def test_an_answer_that_was_given_up_is_a_failure(
    server: Loopback, route: str, reason: str, way: Way
) -> None:
    server.answers(ROUTES[route][2](reason, way in STREAMED))
    lm = lm_of(server, route)
    with pytest.raises(ServerError) as caught:
        way(lm, {"prompt": "Hi"})
    assert "finish_reason" in str(caught.value) or "error" in str(caught.value)
    assert caught.value.retryable is (way in WHOLE)  # nothing is tried again once text came
    if way in STREAMED:
        assert caught.value.partial == "Hello."
    # It was not kept: the next call asks again, and its whole answer is.
    server.answers(ROUTES[route][2]("stop", False))
    assert not lm.ask("Hi").cache_hit
    assert lm.ask("Hi").cache_hit


@pytest.mark.parametrize("route", ROUTES)
def test_it_is_asked_again_where_nothing_came_yet(server: Loopback, route: str) -> None:
    make = ROUTES[route][2]
    server.answers(make("abort", False), make("stop", False))
    lm = lm_of(server, route, num_retries=1, retry={"initial": 0.01, "max": 0.01})
    assert lm.ask("Hi").attempts == 2
    given_up = sse(*chat_chunks(finish="abort", usage=False))
    server.answers(Reply(pieces=given_up), make("stop", True))
    if make is _chat:
        with lm.copy(cache=False).stream("Hi") as stream:
            assert "".join(stream) == "Hello."
        assert stream.answer.attempts == 2


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("reason", [*KNOWN, *UNKNOWN, *CUT])
@pytest.mark.parametrize("route", ["chat", "completions"])
def test_only_known_good_ends_are_kept(server: Loopback, route: str, reason: str, way: Way) -> None:
    server.answers(ROUTES[route][2](reason, way in STREAMED))
    lm = lm_of(server, route)
    if reason == "length":
        with pytest.warns(UserWarning, match="max_tokens"):
            first = way(lm, {"prompt": "Hi"})
    else:
        first = way(lm, {"prompt": "Hi"})
    assert (first.text, first.finish_reason) == ("Hello.", reason)
    assert first.truncated is (reason == "length")
    server.answers(ROUTES[route][2]("stop", False))
    assert lm.ask("Hi").cache_hit is (reason in KNOWN)


SAID = {
    "stop": "STOP Stop COMPLETE complete eos eos_token end_turn stop_sequence finished",
    "tool_calls": "tool_use tool_call TOOL_CALLS",
    "length": "LENGTH Length max_tokens MAX_TOKENS max_length model_length max_output_tokens"
    " model_context_window_exceeded ERROR_LIMIT",
    "content_filter": "CONTENT_FILTER SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII refusal"
    " guardrail_intervened content_filtered sensitive ERROR_TOXIC",
}


@pytest.mark.filterwarnings("ignore::lmconf.TruncatedWarning")
@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("route", ["chat", "completions", "shaped by LiteLLM"])
def test_every_servers_word_for_an_end_is_one_of_openais(
    server: Loopback, route: str, way: Way
) -> None:
    lm = lm_of(server, route)
    found = {}
    for word in " ".join(SAID.values()).split():
        server.answers(ROUTES[route][2](word, way in STREAMED))
        told = way(lm, {"prompt": word})
        server.answers(ROUTES[route][2]("stop", False))
        found[word] = (told.finish_reason, told.truncated, lm.ask(word).cache_hit)
    wanted = {
        word: (reason, reason == "length", reason not in CUT)
        for reason, words in SAID.items()
        for word in words.split()
    }
    assert found == wanted


@pytest.mark.parametrize("word", ["", "null", "None"])
@pytest.mark.parametrize("way", STREAMED)
def test_no_word_for_an_end_is_none(server: Loopback, word: str, way: Way) -> None:
    """Some servers write one in every piece: a stream that breaks off then is not whole."""
    server.answers(_chat(word, True))
    lm = lm_of(server, "chat")
    with pytest.raises(CallError, match="truncated"):
        way(lm, {"prompt": "Hi"})
    pieces = chat_chunks("Hel", "lo.")
    for chunk in pieces[:-1]:
        for choice in chunk["choices"]:
            if choice["finish_reason"] is None:
                choice["finish_reason"] = word
    server.answers(Reply(pieces=sse(*pieces)))
    assert way(lm, {"prompt": "Hi"}).finish_reason == "stop"
    assert lm.ask("Hi").cache_hit


def test_a_missing_end_is_kept_as_it_was(server: Loopback) -> None:
    whole = chat("Hello.")
    del whole["choices"][0]["finish_reason"]
    server.answers(Reply(json=whole))
    lm = lm_of(server, "chat")
    assert lm.ask("Hi").finish_reason is None
    assert lm.ask("Hi").cache_hit


def test_a_store_hands_out_nothing_that_was_given_up(server: Loopback) -> None:
    """What an earlier release kept of such an answer is asked anew."""
    lm = lm_of(server, "chat")
    server.answers(Reply(json=chat("Half of", finish_reason="something_new")))
    assert lm.ask("Hi").text == "Half of"
    server.answers(Reply(json=chat("Whole.")))
    assert lm.ask("Hi").text == "Whole."


def test_one_of_several_that_was_given_up_is_a_failure(server: Loopback) -> None:
    whole = chat("One.")
    whole["choices"].append({**whole["choices"][0], "index": 1, "finish_reason": "abort"})
    server.answers(Reply(json=whole))
    with pytest.raises(ServerError, match="abort"):
        lm_of(server, "chat", n=2).ask("Hi")


def test_a_transport_of_ones_own_is_held_to_the_same() -> None:
    with fake([answer("Half of", finish_reason="abort")]) as made, pytest.raises(CallError) as told:
        made.lm(num_retries=0).ask("Hi")
    assert isinstance(told.value, ServerError)


def test_a_fallback_answers_in_its_place(server: Loopback) -> None:
    with serving(chat("Instead.")) as second:
        other = {"model": "openai/other", "api_base": second.v1, "api_key": "", "num_retries": 0}
        lm = lm_of(server, "chat", fallbacks=[other], cache=False)
        server.answers(Reply(json=chat("Half of", finish_reason="error")))
        assert lm.ask("Hi").text == "Instead."


def test_anthropics_unknown_end_is_not_kept(server: Loopback) -> None:
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "tiny",
        "content": [{"type": "text", "text": "Hello."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    lm = LM(
        "anthropic/claude-3-haiku-20240307",
        api_base=server.url,
        api_key="k",
        num_retries=0,
        cache_in_memory=False,
    )
    server.answers(Reply(json={**body, "stop_reason": "something_new"}))
    assert lm.ask("Hi").text == "Hello."
    server.answers(Reply(json=body))
    assert not lm.ask("Hi").cache_hit, json.dumps(lm.history[-1], default=str)
    assert lm.ask("Hi").cache_hit


def test_many_at_once_are_told_apart(server: Loopback) -> None:
    server.script = lambda received: _chat(
        "abort" if "1" in received.json["messages"][0]["content"] else "stop", False
    )
    lm = lm_of(server, "chat", cache=False)

    async def ask(at: int) -> str:
        try:
            return (await lm.aask(str(at))).text
        except ServerError:
            return "given up"

    async def several() -> list[str]:
        return await asyncio.gather(*map(ask, range(4)))

    assert asyncio.run(several()) == ["Hello.", "given up", "Hello.", "Hello."]
