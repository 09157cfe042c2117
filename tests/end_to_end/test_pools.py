"""A pool is several deployments of one model behind one name: each attempt asks one of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import BadRequest, ProfileError, ServerError
from lmconf.retries import origins
from tests.loopback import Loopback, Received, Reply, chat, chat_chunks, serving, sse

DOWN = Reply(status=503, json={"error": {"message": "down"}})


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()
    origins().forget()


@pytest.fixture
def east() -> Iterator[Loopback]:
    with serving(chat("East.")) as made:
        yield made


@pytest.fixture
def west() -> Iterator[Loopback]:
    with serving(chat("West.")) as made:
        yield made


def member(server: Loopback, name: str, **more: Any) -> dict[str, Any]:
    return {"model": f"openai/{name}", "api_base": server.v1, "api_key": f"sk-{name}", **more}


def pool_of(east: Loopback, west: Loopback, **settings: Any) -> lmconf.LM:
    def lm(server: Loopback, name: str) -> dict[str, Any]:
        key = {"$public": f"sk-{name}"}
        return {"model": f"openai/{name}", "api_base": server.v1, "api_key": key, "max_tokens": 77}

    said = {"pool": ["east", "west"], "cache": False, **settings}
    lms = {"gpt": said, "east": lm(east, "east"), "west": lm(west, "west")}
    return lmconf.load({"main": "gpt", "lms": lms}).lm


def test_members_take_turns_with_their_own_keys_under_one_name(
    east: Loopback, west: Loopback
) -> None:
    lm = pool_of(east, west, pick="round_robin", temperature=0.5)
    answers = [lm.ask("hi") for _ in range(6)]
    assert Counter(answer.text for answer in answers) == {"East.": 3, "West.": 3}
    assert {answer.lm for answer in answers} == {lm.name}
    for server, name in ((east, "east"), (west, "west")):
        for received in server.received:
            assert received.header("authorization") == f"Bearer sk-{name}"
            assert (received.json["model"], received.json["temperature"]) == (name, 0.5)
            assert received.json["max_tokens"] == 77  # the members say so, and the pool nothing
    assert lm.usage.calls == 6


def test_weights_are_kept(east: Loopback, west: Loopback) -> None:
    lm = pool_of(east, west, pick="weighted", weights=[3, 1])
    for _ in range(8):
        lm("hi")
    assert (len(east.received), len(west.received)) == (6, 2)


def test_the_least_busy_member_is_asked(west: Loopback) -> None:
    going_on = threading.Event()

    def slow(_: Received) -> Reply:
        going_on.wait(10)
        return Reply(json=chat("East."))

    with serving() as east:
        east.script = slow
        lm = pool_of(east, west)
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(lm.ask, "hi")
            while not (east.received or west.received):
                time.sleep(0.001)
            assert [lm.ask("hi").text for _ in range(4)] == ["West."] * 4
            going_on.set()
            assert first.result().text == "East."


@pytest.mark.parametrize("way", ["ask", "aask", "stream"])
def test_another_member_is_asked_at_once_and_a_failing_one_rests(
    way: str, east: Loopback, west: Loopback
) -> None:
    west.answers(DOWN)
    retry = {"initial": "1min", "max": "1min", "jitter": "none", "breaker": {"after": 2}}
    lm = pool_of(east, west, pick="round_robin", num_retries=1, retry=retry)
    if way == "stream":
        east.answers(Reply(pieces=sse(*chat_chunks("East."))))
    for _ in range(8):
        if way == "ask":
            answer = lm.ask("hi")
        elif way == "aask":
            answer = asyncio.run(lm.aask("hi"))
        else:
            with lm.stream("hi") as stream:
                assert "".join(stream) == "East."
            answer = stream.answer
        assert answer.text == "East."
    assert len(west.received) == 2
    causes = [cause for entry in lm.history for cause in entry["causes"]]
    assert [(cause.lm.rpartition(":")[2], cause.waited) for cause in causes] == [("west", 0.0)] * 2


def test_a_pool_whose_members_all_rest_is_asked_all_the_same_and_waits_between_rounds(
    east: Loopback, west: Loopback
) -> None:
    for server in (east, west):
        server.answers(DOWN)
    retry = {"initial": "2ms", "jitter": "none", "breaker": {"after": 1, "rest": "1min"}}
    lm = pool_of(east, west, num_retries=3, retry=retry)
    with pytest.raises(ServerError) as caught:
        lm("hi")
    assert caught.value.attempts == 4
    assert caught.value.waited > 0
    for server in (east, west):
        server.answers(chat("Back."))
    assert lm("hi") == ["Back."]


def test_each_member_is_asked_once_in_a_round_and_rounds_are_apart(
    east: Loopback, west: Loopback
) -> None:
    for server in (east, west):
        server.answers(DOWN)
    retry = {"initial": "10ms", "jitter": "none", "breaker": False}
    # By its weight alone, east would come first every time.
    lm = pool_of(east, west, pick="weighted", weights=[9, 1], num_retries=3, retry=retry)
    with pytest.raises(ServerError) as caught:
        lm("hi")
    told = [(cause.lm.rpartition(":")[2], cause.waited) for cause in caught.value.causes]
    assert told == [("east", 0.0), ("west", 0.02), ("east", 0.0), ("west", 0.0)]


def test_weights_hold_for_the_weighted_alone(east: Loopback, west: Loopback) -> None:
    with pytest.warns(lmconf.ProfileWarning, match="`weights` have no effect"):
        lm = pool_of(east, west, pick="round_robin", weights=[0, 1], num_retries=1)
    west.answers(DOWN)
    assert [lm("hi") for _ in range(4)] == [["East."]] * 4


def test_a_refused_request_is_not_taken_to_another_member(east: Loopback, west: Loopback) -> None:
    for server in (east, west):
        server.answers(Reply(status=400, json={"error": {"message": "no"}}))
    with pytest.raises(BadRequest):
        pool_of(east, west)("hi")
    assert len(east.received) + len(west.received) == 1


def test_a_pool_is_one_place_in_the_cache(east: Loopback, west: Loopback) -> None:
    kept: dict[str, Any] = {"cache": {"store": {"backend": "memory"}}, "pick": "round_robin"}
    lm = pool_of(east, west, **kept)
    first = lm.ask("hi")
    assert [lm.ask("hi").cache_hit for _ in range(3)] == [True] * 3
    assert pool_of(east, west, **kept, pool=["west", "east"]).ask("hi").text == first.text
    assert not pool_of(east, west, **kept, pool=["west"]).ask("hi").cache_hit
    named = pool_of(east, west, **kept, endpoint="house")
    assert not named.ask("hi").cache_hit
    assert pool_of(east, west, **kept, endpoint="house", pool=["west"]).ask("hi").cache_hit


@pytest.mark.parametrize("style", ["resolved", "minimal"])
def test_what_a_pool_says_to_be_nothing_stays_so_in_its_state(style: Any) -> None:
    """Its first member says otherwise, and a pool has from that what it does not say."""
    lms = {
        "gpt": {"model": "openai/gpt-4o", "verbosity": "low", "extra": {"top_k": 4}, "seed": 7},
        "pool": {"pool": ["gpt"], "verbosity": None, "extra": {"top_k": {"$unset": True}}},
    }
    profile = lmconf.load({"lms": lms})
    spec = profile["pool"].spec
    assert (spec.verbosity, spec.extra, spec.seed) == (None, {"top_k": 4}, 7)
    assert lmconf.load_state(profile.dump_state(style)) == profile
    alone = lmconf.load_state(profile["pool"].dump_state(style))
    assert isinstance(alone, lmconf.LM)
    assert alone.spec == spec


def test_a_pool_stands_by_itself_in_its_state_and_in_code(east: Loopback, west: Loopback) -> None:
    lm = pool_of(east, west, fallbacks=["east"])
    for style in ("resolved", "minimal"):
        again = lmconf.load_state(lm.dump_state(style))
        assert isinstance(again, lmconf.LM)
        assert again.spec == lm.spec
        assert again("hi")[0] in ("East.", "West.")
    copy = lm.copy(temperature=1.0)
    assert copy("hi")
    made = lmconf.LM("openai/house", pool=[member(east, "east"), member(west, "west")], cache=False)
    assert {made("hi")[0] for _ in range(6)} == {"East.", "West."}
    assert "sk-" not in str(made.dump_state())
    assert [server.received[-1].header("authorization") for server in (east, west)] == [
        "Bearer sk-east",
        "Bearer sk-west",
    ]


def test_a_pool_falls_back_as_a_whole(east: Loopback, west: Loopback) -> None:
    for server in (east, west):
        server.answers(DOWN)
    with serving(chat("Third.")) as third:
        lm = pool_of(
            east, west, num_retries=1, fallbacks=[{**member(third, "third"), "api_key": ""}]
        )
        lm = lm.copy(retry={"initial": 0})
        assert lm.ask("hi").text == "Third."


@pytest.mark.parametrize("value", ["", "soon", "-1", {"total": "5 parsecs"}, {"$value": "q"}])
@pytest.mark.parametrize("name", ["timeout", "deadline"])
def test_a_members_time_that_is_none_is_told_where_it_stands(name: str, value: Any) -> None:
    members = [{"model": "openai/x", name: value}, {"model": "openai/y"}]
    with pytest.raises(lmconf.ProfileError) as caught:
        lmconf.load({"pool": members})
    assert f"pool[0].{name}" in str(caught.value)


def test_what_makes_no_sense_in_a_pool_is_told() -> None:
    lms = {
        "a": {"model": "openai/a"},
        "b": {"model": "openai/b"},
        "one": {"pool": ["a", "b"], "api_base": "https://x.example", "weights": [1]},
        "two": {"pool": ["one", "c"], "fallbacks": ["one"]},
        "three": {"pool": ["a", "b"], "pick": "weighted"},
    }
    with pytest.raises(ProfileError) as caught:
        lmconf.load({"lms": lms})
    told = {(found.code, found.path) for found in caught.value.diagnostics}
    assert told == {
        ("contradiction", ("lms", "one", "api_base")),
        ("contradiction", ("lms", "one", "weights")),
        ("contradiction", ("lms", "two", "pool", 0)),
        ("contradiction", ("lms", "two", "fallbacks", 0)),
        ("unknown-name", ("lms", "two", "pool", 1)),
        ("missing-key", ("lms", "three", "pick")),
    }
