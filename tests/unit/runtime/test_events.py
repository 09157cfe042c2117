"""Which events the callbacks of an LM hear, in which order, and what they say."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from lmconf.callbacks import (
    Attempt,
    CacheHit,
    CacheMiss,
    End,
    Event,
    Failure,
    Fallback,
    FirstToken,
    LimitWait,
    Retry,
    Start,
)
from lmconf.errors import BadRequest, ServerError
from lmconf.runtime import LM
from lmconf.testing import fake
from tests.artefacts import WAYS, ask
from tests.loopback import Reply, chat, chat_chunks, serving, sse


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.events]


def heard_of(event: Event) -> dict[str, object]:
    """What an event says beside what all events say."""
    common = ("call_id", "lm", "model", "time", "request", "response")
    return {name: getattr(event, name) for name in event.__struct_fields__ if name not in common}


def test_a_call_is_told_from_its_start_to_its_end() -> None:
    heard = Heard()
    with fake("Hello.") as server:
        server.lm(callbacks=[heard])("Hi", temperature=0.5)
    start, attempt, end = heard.events
    assert isinstance(start, Start)
    assert start.request["messages"] == [{"role": "user", "content": "Hi"}]
    assert (start.model_type, start.stream) == ("chat", False)
    assert start.provider == start.model.partition("/")[0]
    assert isinstance(attempt, Attempt)
    assert (attempt.number, attempt.of, attempt.origin) == (1, 9, "https://fake.invalid")
    assert isinstance(end, End)
    assert (end.attempts, end.waited, end.first_token) == (1, 0.0, None)
    assert len({(event.call_id, event.lm, event.model) for event in heard.events}) == 1
    assert start.time <= attempt.time <= end.time


def test_what_is_tried_again_is_told_with_the_reason() -> None:
    heard = Heard()
    with fake([ServerError("down", status=503), "Hello."]) as server:
        server.lm(callbacks=[heard], retry={"initial": "1ms", "jitter": "none"})("Hi")
    assert heard.kinds == [Start, Attempt, Retry, Attempt, End]
    assert heard_of(heard.events[2]) == {
        "after": 1,
        "wait": 0.001,
        "reason": "server_error",
        "error": "ServerError",
        "status": 503,
    }
    end = heard.events[-1]
    assert isinstance(end, End)
    assert (end.attempts, end.waited) == (2, 0.001)


def test_a_failure_is_told_once() -> None:
    heard = Heard()
    with fake(BadRequest("no", status=400)) as server, pytest.raises(BadRequest):
        server.lm(callbacks=[heard])("Hi")
    assert heard.kinds == [Start, Attempt, Failure]


def test_what_a_store_had_and_had_not_is_told_with_its_name() -> None:
    heard = Heard()
    with fake("Hello.") as server:
        lm = server.lm(callbacks=[heard], cache=True)
        lm("Hi")
        lm("Hi")
    assert heard.kinds == [Start, CacheMiss, Attempt, End, Start, CacheHit, End]
    miss, hit = heard.events[1], heard.events[5]
    assert isinstance(miss, CacheMiss)
    assert isinstance(hit, CacheHit)
    assert (miss.store, hit.store) == ("memory,disk", "memory")
    assert miss.key == hit.key
    assert len(hit.key) == 12


@pytest.mark.parametrize("cache", [True, False])
def test_the_first_token_of_a_stream_is_told_and_a_stored_answer_has_none(cache: bool) -> None:
    heard = Heard()
    with fake("Hello there.", latency=0.02) as server:
        lm = server.lm(callbacks=[heard], cache=cache)
        assert "".join(lm.stream("Hi")) == "Hello there."
        assert heard.kinds[-3:] == [Attempt, FirstToken, End]
        token, end = heard.events[-2:]
        assert isinstance(token, FirstToken)
        assert isinstance(end, End)
        assert 0.02 <= token.seconds <= end.duration
        assert end.first_token == token.seconds
        if cache:
            heard.events.clear()
            assert "".join(lm.stream("Hi")) == "Hello there."
            assert heard.kinds == [Start, CacheHit, End]


def test_async_calls_tell_the_same() -> None:
    heard = Heard()

    async def ask() -> None:
        with fake([ServerError("down", status=500), "Hello there.", "Bye."]) as server:
            lm = server.lm(callbacks=[heard])
            await lm.acall("Hi")
            async with lm.astream("Hi") as stream:
                assert [piece async for piece in stream]

    asyncio.run(ask())
    assert heard.kinds == [Start, Attempt, Retry, Attempt, End, Start, Attempt, FirstToken, End]


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_event_is_told_in_every_way_of_calling(way: str) -> None:
    """A call that is tried again, stands in line for its fallback, finds it kept, and fails."""
    heard = Heard()
    with serving() as down, serving() as busy:
        down.script = lambda _: Reply(status=503, json={})
        busy.script = lambda received: (
            Reply(pieces=sse(*chat_chunks("Hel", "lo.")))
            if received.json.get("stream")
            else Reply(json=chat())
        )
        given: dict[str, Any] = {
            "api_key": "",
            "num_retries": 1,
            "retry": {"initial": 0.001, "max": 0.001},
            "cache": {"store": {"backend": "memory"}, "namespace": f"events by {way}"},
        }
        other = {"model": "openai/other", "api_base": busy.v1, **given}
        other["limits"] = {"max_concurrency": 1}
        first = LM(model="openai/tiny", api_base=down.v1, callbacks=[heard], **given)
        lm = first.copy(fallbacks=[other])
        with LM(**other).stream("a moment") as stream:
            next(stream)
            leaves = threading.Timer(0.1, stream.close)
            leaves.start()
            assert ask(lm, way) == "Hello."
        leaves.join()
        assert ask(lm, way) == "Hello."
        with pytest.raises(ServerError):
            ask(first, way)
        first.close()
        lm.close()
    tried = [Start, CacheMiss, Attempt, Retry, Attempt]
    begun = [FirstToken] if "stream" in way else []
    assert heard.kinds == [
        *(*tried, Fallback, CacheMiss, LimitWait, Attempt, *begun, End),
        *(*tried, Fallback, CacheHit, End),
        *(*tried, Failure),
    ]


def test_an_origin_has_neither_credentials_nor_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    monkeypatch.setenv("BASE", "https://user:sk-live-0123456789@llm.example:8443/v1/sk-live-98765")
    with fake("Hello.") as server:
        server.lm(callbacks=[heard], api_base={"$env": "BASE"})("Hi")
    attempt = heard.events[1]
    assert isinstance(attempt, Attempt)
    assert attempt.origin == "https://llm.example:8443"
    assert "sk-live" not in repr(heard.events)
