"""An LM that cannot answer is stood in for by another: with its own key, server and store."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.callbacks import End, Fallback
from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    BudgetExceeded,
    CircuitOpen,
    Closed,
    RateLimited,
    ServerError,
    Timeout,
)
from lmconf.retries import origins
from tests.artefacts import MARK
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse

DOWN = Reply(status=503, json={"error": {"message": "down"}})
PRICE = {"input": 1.0, "output": 10.0}


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()
    origins().forget()


@pytest.fixture
def first() -> Iterator[Loopback]:
    with serving(DOWN) as made:
        yield made


@pytest.fixture
def second() -> Iterator[Loopback]:
    with serving(chat("From the second.")) as made:
        yield made


def at(server: Loopback, **settings: Any) -> dict[str, Any]:
    return {
        "model": "openai/tiny",
        "api_base": server.v1,
        "api_key": "",
        "num_retries": 0,
        "cache": False,
        **settings,
    }


def lm_of(first: Loopback, second: Loopback, **settings: Any) -> lmconf.LM:
    other = at(second, model="openai/other", pricing=PRICE)
    return lmconf.LM(**at(first, **{"fallbacks": [other], **settings}))


def profile_of(first: Loopback, second: Loopback, **settings: Any) -> lmconf.Profile:
    lms = {
        "gpt": at(first, fallbacks=["claude"], **settings),
        "claude": at(second, model="openai/other", pricing=PRICE),
    }
    return lmconf.load({"lms": lms})


def test_the_answer_the_history_and_the_events_say_who_answered(
    first: Loopback, second: Loopback
) -> None:
    heard: list[Any] = []

    class Ear:
        def on_fallback(self, event: Fallback) -> None:
            heard.append(event)

        def on_end(self, event: End) -> None:
            heard.append(event)

    lm = lm_of(first, second, name="gpt", num_retries=1, retry={"initial": 0}, callbacks=[Ear()])
    answer = lm.ask("hi")
    assert (answer.text, answer.lm, answer.model) == (
        "From the second.",
        "openai/other",
        "tiny",
    )
    assert answer.attempts == 3
    [entry] = lm.history
    assert (entry["lm"], entry["model"], entry["attempts"]) == ("openai/other", "openai/other", 3)
    assert [(cause.lm, cause.kind, cause.status) for cause in entry["causes"]] == [
        ("gpt", "ServerError", 503)
    ] * 2
    fallback, end = heard
    assert (fallback.source, fallback.target, fallback.reason) == (
        "gpt",
        "openai/other",
        "server_error",
    )
    assert (fallback.error, fallback.status) == ("ServerError", 503)
    assert (end.lm, end.attempts, end.causes) == ("openai/other", 3, entry["causes"])
    assert end.call_id == fallback.call_id == entry["uuid"]


@pytest.mark.parametrize("way", ["ask", "aask", "stream", "astream"])
def test_every_way_of_calling_falls_back(way: str, first: Loopback, second: Loopback) -> None:
    if "stream" in way:
        second.answers(Reply(pieces=sse(*chat_chunks("From the second."))))
    lm = lm_of(first, second)

    async def read() -> str:
        async with lm.astream("hi") as stream:
            text = "".join([piece async for piece in stream])
        assert stream.answer.lm == "openai/other"
        return text

    if way == "ask":
        text: object = lm.ask("hi").text
    elif way == "aask":
        text = asyncio.run(lm.aask("hi")).text
    elif way == "stream":
        with lm.stream("hi") as stream:
            text = "".join(stream)
        assert stream.answer.lm == "openai/other"
    else:
        text = asyncio.run(read())
    assert text == "From the second."


def test_a_stream_falls_back_only_until_its_answer_begins(
    first: Loopback, second: Loopback
) -> None:
    first.answers(Reply(pieces=sse(*chat_chunks("Half", " an answer", finish=None), done=False)))
    with pytest.raises(BadResponse) as caught, lm_of(first, second).stream("hi") as stream:
        list(stream)
    assert caught.value.partial
    assert second.received == []


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "no such parameter"}, BadRequest),
        (401, {"message": "bad key"}, AuthenticationFailed),
    ],
)
def test_a_refused_request_or_key_is_never_taken_elsewhere(
    status: int, error: dict[str, Any], kind: type[Exception], first: Loopback, second: Loopback
) -> None:
    first.answers(Reply(status=status, json={"error": error}))
    with pytest.raises(kind) as caught:
        lm_of(first, second, fallback_on=["server_error", "context_window", "quota"])("hi")
    assert second.received == []
    assert caught.value.fallbacks == ()  # type: ignore[attr-defined]


LONG = {"message": "too long", "code": "context_length_exceeded"}
SPENT = {"message": "no credit", "code": "insufficient_quota"}


def test_status_and_code_decide_what_falls_back(first: Loopback, second: Loopback) -> None:
    """An exhausted quota goes elsewhere by default; too long a prompt where it is asked for."""
    first.answers(Reply(status=429, json={"error": SPENT}))
    assert lm_of(first, second).ask("hi").lm == "openai/other"
    with pytest.raises(RateLimited) as caught:
        lm_of(first, second, fallback_on="server_error")("hi")
    assert caught.value.exhausted
    first.answers(Reply(status=400, json={"error": LONG}))
    with pytest.raises(BadRequest):
        lm_of(first, second)("hi")
    assert lm_of(first, second, fallback_on="context_window").ask("hi").lm == "openai/other"


def test_an_lm_hands_over_when_its_own_budget_is_spent_where_that_is_asked_for(
    first: Loopback, second: Loopback
) -> None:
    heard: list[Fallback] = []

    class Ear:
        def on_fallback(self, event: Fallback) -> None:
            heard.append(event)

    with serving(chat("From the third.")) as third:
        poor = at(second, model="openai/other", budget={"tokens": 1})
        spent = {"budget": {"tokens": 1}, "fallbacks": [poor, at(third, model="openai/third")]}
        with pytest.raises(BudgetExceeded) as caught:
            lm_of(first, second, name="a", **spent)("hi")
        assert (caught.value.whose, caught.value.fallbacks) == ("lm", ())
        lm = lm_of(
            first, second, name="b", fallback_on=["budget", "timeout"], callbacks=[Ear()], **spent
        )
        answer = lm.ask("hi")
        assert (answer.lm, answer.text, answer.attempts) == ("openai/third", "From the third.", 1)
        third.answers(Reply(pieces=sse(*chat_chunks("From the ", "third."))))
        assert list(lm.stream("hi")) == ["From the ", "third."]
    assert first.received == second.received == []
    told = [(event.source, event.target, event.reason, event.status) for event in heard]
    assert told[:2] == [
        ("b", "openai/other", "budget", None),
        ("openai/other", "openai/third", "budget", None),
    ]


def test_a_kept_answer_is_given_though_the_budget_is_spent(
    first: Loopback, second: Loopback
) -> None:
    first.answers({**chat("Kept."), "usage": {"prompt_tokens": 2, "completion_tokens": 3}})
    policy = {"fallback_on": "budget", "cache": {"store": {"backend": "memory"}}, "max_tokens": 10}
    lm = lm_of(first, second, name="c", budget={"tokens": 20}, **policy)
    assert lm.ask("kept by budget").lm == "c"
    assert lm.ask("another" * 9).lm == "openai/other"
    assert lm.ask("kept by budget").lm == "c"


def test_the_budget_of_the_profile_is_no_reason_to_ask_another_lm(
    first: Loopback, second: Loopback
) -> None:
    common = {"fallbacks": ["other"], "fallback_on": ["budget"]}
    document = {
        "budget": {"tokens": 150},
        "main": "gpt",
        "lms": {
            "gpt": at(first, max_tokens=200, budget={"tokens": 1_000_000}, **common),
            "dear": at(first, budget={"tokens": 1}, **common),
            "other": at(second, max_tokens=200),
        },
    }
    profile = lmconf.load(document)
    with pytest.raises(BudgetExceeded) as caught:
        profile["gpt"]("hi")
    assert (caught.value.whose, caught.value.fallbacks) == ("profile", ())
    assert caught.value.to_dict()["whose"] == "profile"
    # Its own budget is a reason; that of the profile ends it.
    with pytest.raises(BudgetExceeded) as caught:
        profile["dear"]("hi")
    [refusal] = caught.value.fallbacks
    assert isinstance(refusal, BudgetExceeded)
    assert (caught.value.whose, refusal.whose) == ("lm", "profile")
    assert first.received == second.received == []


def test_the_last_error_is_that_of_the_first_lm_and_lists_the_others(
    first: Loopback, second: Loopback
) -> None:
    second.answers(Reply(status=400, json={"error": {"message": "not like this"}}))
    with serving(chat()) as third:
        others = [at(second, model="openai/other"), at(third)]
        with pytest.raises(ServerError) as caught:
            lm_of(first, second, fallbacks=others)("hi")
        assert third.received == []  # a refused request is taken no further, whoever refused it
    error = caught.value
    [refusal] = error.fallbacks
    assert isinstance(refusal, BadRequest)
    assert (error.lm, refusal.lm) == ("openai/tiny", "openai/other")
    assert [cause.kind for cause in error.causes] == ["ServerError", "BadRequest"]
    assert "then openai/other: not like this" in str(error)
    told = error.to_dict()
    assert told["fallbacks"][0]["type"] == "BadRequest"  # type: ignore[index]
    again = pickle.loads(pickle.dumps(error))
    assert (again.causes, str(again)) == (error.causes, str(error))


def test_usage_is_counted_once_to_whoever_answered_and_to_the_caller(
    first: Loopback, second: Loopback
) -> None:
    profile = profile_of(first, second)
    with lmconf.track_usage() as used:
        profile["gpt"]("hi")
    cost = (5 * 1.0 + 2 * 10.0) / 1e6
    for usage in (profile.usage, profile["gpt"].usage, profile["claude"].usage, used.total):
        assert usage.calls == 1
        assert usage.cost == pytest.approx(cost)
    assert list(used.by_lm) == [profile["claude"].name]
    assert len(profile["gpt"].history) == 1
    assert len(profile["claude"].history) == 0


def test_an_answer_is_kept_for_the_lm_that_gave_it(first: Loopback, second: Loopback) -> None:
    profile = lmconf.load(
        {
            "defaults": {"cache": {"store": {"backend": "memory"}}, "num_retries": 0},
            "lms": {
                "gpt": {**at(first), "cache": True, "fallbacks": ["claude"]},
                "claude": {**at(second, model="openai/other"), "cache": True},
            },
        }
    )
    assert profile["gpt"].ask("hi").lm.endswith("claude")
    assert profile["claude"].ask("hi").cache_hit
    hit = profile["gpt"].ask("hi")
    assert (hit.cache_hit, hit.lm) == (True, profile["claude"].name)
    assert len(second.received) == 1
    first.answers(chat("From the first."))
    assert profile["gpt"].ask("hi").text == "From the first."
    assert profile["gpt"].ask("hi").cache_hit


def test_settings_of_the_call_go_along_where_they_fit(first: Loopback, second: Loopback) -> None:
    others = [at(second, model="openai/o3-mini")]
    lm = lm_of(first, second, fallbacks=others)
    lm("hi", temperature=0.3, seed=7, max_tokens=20, extra={"top_k": 3}, headers={"X-A": "b"})
    [mine], [theirs] = first.received, second.received
    assert (mine.json["temperature"], mine.json["top_k"], mine.header("X-A")) == (0.3, 3, "b")
    assert (theirs.json["temperature"], theirs.json["seed"]) == (1.0, 7)
    assert theirs.json["max_completion_tokens"] == 16000
    assert "top_k" not in theirs.json
    assert theirs.header("X-A") is None
    assert theirs.json["messages"] == mine.json["messages"]


def test_no_reference_of_a_call_reaches_another_server(
    first: Loopback, second: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_TOKEN", MARK)
    key = lmconf.Env("TEAM_TOKEN")
    lm = lm_of(first, second)
    lm("hi", headers={"Authorization": key}, metadata={"token": key})
    assert MARK in first.received[0].text
    assert MARK not in second.received[0].text
    tool = {"type": "mcp", "server_label": "x", "headers": {"Authorization": key}}
    with pytest.raises(ServerError) as caught:
        lm("hi", tools=[tool])
    assert "`tools` does not fit" in str(caught.value.fallbacks[0])
    assert len(second.received) == 1


def test_each_uses_its_own_key(first: Loopback, second: Loopback) -> None:
    lm = lm_of(first, second, api_key="sk-first", fallbacks=[at(second, api_key="sk-second")])
    lm("hi")
    assert first.received[0].header("authorization") == "Bearer sk-first"
    assert second.received[0].header("authorization") == "Bearer sk-second"
    assert "sk-" not in str(lm.dump_state())


def test_all_have_the_one_deadline(first: Loopback, second: Loopback) -> None:
    second.answers(Reply(json=chat(), pause=5))
    lm = lm_of(first, second)
    with pytest.raises(ServerError) as caught:
        lm("hi", deadline=0.4)
    [refusal] = caught.value.fallbacks
    assert type(refusal).__name__ == "Timeout"
    assert refusal.setting == "deadline"  # type: ignore[attr-defined]


def test_nobody_is_asked_when_the_deadline_has_passed(first: Loopback, second: Loopback) -> None:
    first.answers(Reply(json=chat(), pause=2))
    with pytest.raises(Timeout) as caught:
        lm_of(first, second, deadline=0.15)("hi")
    assert caught.value.fallbacks == ()
    assert second.received == []


def test_the_last_of_the_list_is_asked_whatever_its_breaker_says(
    first: Loopback, second: Loopback
) -> None:
    quick = {"retry": {"breaker": {"after": 1, "rest": "1min"}}}
    lm = lm_of(first, second, fallbacks=[at(second, model="openai/other", **quick)])
    second.answers(DOWN)
    for _ in range(2):
        with pytest.raises(ServerError):
            lm("hi")
    second.answers(chat("Back."))
    assert lm("hi") == ["Back."]


def test_a_breaker_opens_for_lms_with_somewhere_to_go_and_lets_one_probe_through(
    first: Loopback, second: Loopback
) -> None:
    lm = lm_of(first, second, retry={"breaker": {"after": 2, "rest": "100ms"}})
    for _ in range(4):
        assert lm.ask("hi").lm == "openai/other"
    assert len(first.received) == 2
    alone = lmconf.LM(**at(first))
    with pytest.raises(ServerError):
        alone("hi")  # nothing but this server can answer it: it is asked
    assert len(first.received) == 3
    lm.ask("hi")
    first.answers(chat("From the first."))
    asyncio.run(asyncio.sleep(0.15))
    assert lm.ask("hi").text == "From the first."
    assert len(first.received) == 4


def test_an_open_breaker_is_told_where_the_others_fail_too(
    first: Loopback, second: Loopback
) -> None:
    second.answers(DOWN)
    lm = lm_of(first, second, retry={"breaker": {"after": 1, "rest": "1min"}})
    with pytest.raises(ServerError):
        lm("hi")
    with pytest.raises(CircuitOpen) as caught:
        lm("hi")
    assert caught.value.attempts == 0
    assert 50 < (caught.value.retry_after or 0) <= 60
    assert [type(error) for error in caught.value.fallbacks] == [ServerError]
    assert len(first.received) == 1


def test_fallbacks_written_in_place_close_with_their_lm_and_named_ones_stay(
    first: Loopback, second: Loopback
) -> None:
    lm = lm_of(first, second)
    lm("hi")
    copy = lm.copy(temperature=1)
    lm.close()
    assert copy.ask("hi").lm == "openai/other"
    copy.close()
    with pytest.raises(Closed):
        copy("hi")
    profile = profile_of(first, second)
    profile["gpt"]("hi")
    profile["gpt"].close()
    assert not profile["claude"].closed
    assert profile["claude"]("hi") == ["From the second."]
    profile.close()


def test_an_lm_whose_profile_is_gone_still_falls_back(first: Loopback, second: Loopback) -> None:
    profile = profile_of(first, second)
    lm = profile["gpt"]
    name = profile["claude"].name
    del profile
    gc.collect()
    assert lm.ask("hi").lm == name
    again = pickle.loads(pickle.dumps(lm))
    assert again.ask("hi").lm == "openai/other"


def test_a_server_of_ones_own_that_does_not_run_is_stood_in_for(second: Loopback) -> None:
    server = {"use": "llama_cpp", "auto": "manual"}
    lm = lmconf.LM(
        "openai/mine", launch_kwargs=server, num_retries=0, cache=False, fallbacks=[at(second)]
    )
    assert lm.ask("hi").text == "From the second."
