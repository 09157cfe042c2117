"""Budgets over a real socket: what is refused, what is counted, and what is given back."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf import LM, BudgetExceeded, CallError, ProfileError, RateLimited, Timeout
from lmconf.limits import Amount, SpendingLimit, period_of
from lmconf.runtime.layers import budget as budget_layer
from lmconf.runtime.layers.budget import BudgetWarning
from lmconf.system.background import background_worker
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse
from tests.redis_server import PASSWORD, RedisServer

PRICES = {"input": 1.0, "output": 10.0}
_NUMBERS = itertools.count()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


@pytest.fixture
def in_redis(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A store in Redis that no other test uses."""
    pytest.importorskip("redis")
    monkeypatch.setenv("TEAM_REDIS", redis.url)
    return {"backend": "redis", "url": {"$env": "TEAM_REDIS"}, "namespace": uuid.uuid4().hex}


@pytest.fixture(params=["process", "disk", "redis"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What a budget says of where it is kept, for each of the ways."""
    if request.param == "disk":
        return {"per": "month", "store": {"backend": "disk", "path": str(tmp_path / "s")}}
    if request.param == "redis":
        return {"per": "month", "store": request.getfixturevalue("in_redis")}
    return {"per": "month"}


def lm_at(server: Loopback, **settings: Any) -> LM:
    given: dict[str, Any] = {
        "api_base": server.v1,
        "api_key": "sk-budget-0123456789abcdef",
        "cache": False,
        "max_tokens": 100,
        "retry": {"initial": 0.01, "max": 0.01},
        # LMs of one name share what they spend.
        "name": f"lm-{next(_NUMBERS)}",
    }
    return LM("openai/tiny", **given | settings)


def used(tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens - 2, "completion_tokens": 2, "total_tokens": tokens}
    return {**chat(), "usage": usage}


def spent(lm: LM) -> int:
    """Return what the LM's budget of tokens has spent, by asking for more than there is."""
    with pytest.raises(BudgetExceeded) as caught:
        lm("x" * 1_000_000)
    return int(caught.value.spent)


def test_the_call_that_would_exceed_is_refused_and_never_sent(
    server: Loopback, kept: dict[str, Any]
) -> None:
    server.answers(used(150))
    lm = lm_at(server, budget={"tokens": 300, **kept})
    lm("hi")
    with pytest.raises(BudgetExceeded) as caught:
        lm("hi " * 300)
    error = caught.value
    assert (error.unit, error.spent, error.limit) == ("tokens", 150, 300)
    assert error.resets is not None and time.time() < error.resets <= time.time() + 31 * 86400
    assert error.estimate + error.spent > 300
    assert (error.attempts, error.retryable, error.setting) == (0, False, "budget")
    assert "the budget of this LM is 300 tokens per month: 150 is spent" in str(error)
    assert error.to_dict()["spent"] == 150
    assert pickle.loads(pickle.dumps(error)).limit == 300
    assert len(server.received) == 1
    lm("hi")  # a smaller one still fits


def test_dollars_are_counted_by_the_profiles_prices(server: Loopback, kept: dict[str, Any]) -> None:
    server.answers({**chat(), "usage": {"prompt_tokens": 100, "completion_tokens": 50}})
    lm = lm_at(server, pricing=PRICES, budget={"cost_usd": 0.0021, **kept})
    lm("hi")  # 0.0006 dollars; 0.001 and a little at the most
    lm("hi")
    with pytest.raises(BudgetExceeded, match=r"is \$0.0021 per month: \$0.0012 is spent") as caught:
        lm("hi")
    assert caught.value.spent == pytest.approx(0.0012)
    assert caught.value.resets is not None
    assert "the next month begins at" in caught.value.help


def test_a_model_of_the_price_table_needs_no_pricing(server: Loopback) -> None:
    priced = LM("openai/gpt-4o-mini", api_base=server.v1, api_key="", budget={"cost_usd": 1e-9})
    with pytest.raises(BudgetExceeded):
        priced("hi")


def test_copies_and_lms_of_one_name_share_a_budget(server: Loopback, kept: dict[str, Any]) -> None:
    lm = lm_at(server, budget={"tokens": 300, **kept})
    server.answers(used(250))
    lm("hi")
    for other in (lm.copy(temperature=0.5), copy.copy(lm), pickle.loads(pickle.dumps(lm))):
        with pytest.raises(BudgetExceeded):
            other("hi")


def test_calls_at_the_same_time_cannot_pass_together(
    server: Loopback, kept: dict[str, Any]
) -> None:
    server.answers(Reply(json=used(100), pause=0.05))
    lm = lm_at(server, budget={"tokens": 350, **kept})  # about 108 each at the most

    async def main() -> list[Any]:
        asked = (lm.acall("hi") for _ in range(10))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    outcomes = asyncio.run(main())
    assert sum(isinstance(found, BudgetExceeded) for found in outcomes) == 7
    assert spent(lm) == 300


def test_what_failed_costs_nothing_and_what_nobody_knows_costs_the_estimate(
    server: Loopback, kept: dict[str, Any]
) -> None:
    server.answers(Reply(status=429, json={"error": {"message": "slow down"}}))
    lm = lm_at(server, budget={"tokens": 1000, **kept}, num_retries=1)
    with pytest.raises(RateLimited):
        lm("hi")
    assert spent(lm) == 0
    server.answers(Reply(json=used(10), pause=0.5))
    with pytest.raises(Timeout):
        lm("hi", timeout=0.1, num_retries=0)
    assert 100 < spent(lm) < 120


def test_a_stream_counts_what_was_read(server: Loopback, kept: dict[str, Any]) -> None:
    server.answers(Reply(pieces=sse(*chat_chunks("word " * 40, "b ", "c "))))
    lm = lm_at(server, budget={"tokens": 1000, **kept})
    with lm.stream("hi") as stream:
        next(stream)
    assert 50 < spent(lm) < 80
    before = spent(lm)
    server.answers(Reply(pieces=sse(*chat_chunks("a ", "b "))))
    with lm.stream("hi") as stream:
        list(stream)
    assert spent(lm) == before + 7


def test_an_answer_of_the_cache_costs_nothing(server: Loopback, kept: dict[str, Any]) -> None:
    lm = lm_at(server, budget={"tokens": 115, **kept}, cache={"store": {"backend": "memory"}})
    for _ in range(5):
        lm("kept by budgets")
    assert spent(lm) == 7


def test_a_cancelled_call_that_was_not_sent_costs_nothing(
    server: Loopback, kept: dict[str, Any]
) -> None:
    lm = lm_at(
        server, budget={"tokens": 1000, **kept}, limits={"rpm": 1}, api_key="sk-own-0123456789ab"
    )

    async def main() -> None:
        await lm.acall("hi")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(lm.acall("hi"), 0.05)

    asyncio.run(main())
    assert spent(lm) == 7


@pytest.mark.parametrize("kept", ["disk", "redis"], indirect=True)
def test_a_store_keeps_what_was_spent_between_lms_and_hours(
    server: Loopback, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = {"tokens": 200, "per": "hour", "store": kept["store"]}
    server.answers(used(150))
    now = [time.time() // 3600 * 3600]
    monkeypatch.setattr(budget_layer, "time", type("Clock", (), {"time": lambda: now[0]}))
    name = f"lm-{next(_NUMBERS)}"
    lm_at(server, budget=budget, name=name)("hi")

    async def later() -> None:
        await lm_at(server, budget=budget, name=name).acall("hi")

    with pytest.raises(BudgetExceeded) as caught:
        asyncio.run(later())
    assert caught.value.resets == now[0] + 3600
    now[0] += 3600
    asyncio.run(later())
    assert len(server.received) == 2


SPEND = """
import asyncio, os, sys
import lmconf

lm = lmconf.load(sys.argv[1]).lm

async def main():
    asked = (lm.acall("hi") for _ in range(10))
    said = await asyncio.gather(*asked, return_exceptions=True)
    print(sum(isinstance(each, list) for each in said), {type(each).__name__ for each in said})

asyncio.run(main())
"""


@pytest.mark.parametrize("kept", ["disk", "redis"], indirect=True)
def test_processes_that_spend_at_once_never_pass_the_budget_together(
    server: Loopback, kept: dict[str, Any], tmp_path: Path
) -> None:
    """Four processes with ten calls each, of about 108 tokens at the most, and 100 in truth."""
    server.answers(Reply(json=used(100), pause=0.3))
    profile = {
        "model": "openai/tiny",
        "api_base": server.v1,
        "api_key": "",
        "cache": False,
        "max_tokens": 100,
        "budget": {"tokens": 1500, **kept},
    }
    (tmp_path / "p.yaml").write_text(json.dumps(profile))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SPEND, str(tmp_path / "p.yaml")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [child.communicate(timeout=60)[0].split(maxsplit=1) for child in children]
    answered = sum(int(number) for number, _ in said)
    assert {kinds.strip() for _, kinds in said} <= {
        "{'list'}", "{'BudgetExceeded'}", "{'list', 'BudgetExceeded'}", "{'BudgetExceeded', 'list'}"
    }  # fmt: skip
    assert len(server.received) == answered
    # Those that were refused came while estimates stood: between 1500 / 108 and 1500 / 100.
    assert 13 <= answered <= 15


def test_a_store_that_cannot_be_used_refuses_the_call_and_never_loses_an_answer(
    server: Loopback, tmp_path: Path
) -> None:
    store = {"backend": "disk", "path": str(tmp_path)}
    lm = lm_at(server, budget={"tokens": 1000, "per": "day", "store": store})
    file = tmp_path / "spending.v1.sqlite3"
    file.write_bytes(b"nonsense" * 1000)
    with pytest.raises(CallError, match="cannot be recorded") as caught:
        lm("hi")
    assert server.received == []
    assert str(file) in str(caught.value)
    file.unlink()
    stream = lm.stream("hi")
    server.answers(Reply(pieces=sse(*chat_chunks("a ", "b "))))
    next(stream)
    file.write_bytes(b"nonsense" * 1000)
    with pytest.warns(BudgetWarning):
        list(stream)
        background_worker().finish(10)
    assert stream.answer.text == "a b "


def test_a_redis_server_that_is_gone_refuses_the_call_soon(
    server: Loopback, redis: RedisServer, in_redis: dict[str, Any]
) -> None:
    """For a second a call may wait for it, those after it do not, and no event loop ever does."""
    lm = lm_at(server, budget={"tokens": 1000, "per": "month", "store": in_redis})
    lm("hi")
    os.kill(redis.pid, signal.SIGSTOP)
    try:

        async def main() -> float:
            asked = asyncio.ensure_future(lm.acall("hi"))
            longest, last = 0.0, time.perf_counter()
            while not asked.done():
                await asyncio.sleep(0.005)
                longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
            with pytest.raises(
                CallError, match="spending of this LM cannot be recorded: Redis"
            ) as said:
                await asked
            assert PASSWORD not in str(said.value)
            assert "a call that cannot be counted is not sent" in said.value.help
            return longest

        begun = time.perf_counter()
        assert asyncio.run(main()) < 0.9
        assert time.perf_counter() - begun < 4
        begun = time.perf_counter()
        with pytest.raises(CallError, match="cannot be recorded"):
            lm("hi")
        assert time.perf_counter() - begun < 0.9
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    assert len(server.received) == 1


@pytest.mark.parametrize("how", ["read", "left", "cancelled"])
def test_the_end_of_a_stream_waits_for_no_store(
    server: Loopback, redis: RedisServer, in_redis: dict[str, Any], how: str
) -> None:
    lm = lm_at(server, budget={"tokens": 1000, "per": "month", "store": in_redis})
    server.answers(Reply(pieces=sse(*chat_chunks("word ", "b ", "c "))))

    async def main() -> float:
        stream = lm.astream("hi")
        await anext(stream)
        os.kill(redis.pid, signal.SIGSTOP)
        begun = time.perf_counter()
        if how == "read":
            assert [piece async for piece in stream] == ["b ", "c "]
        elif how == "left":
            await stream.aclose()
        else:
            reading = asyncio.ensure_future(anext(stream))
            reading.cancel()
            await asyncio.wait([reading])
            await stream.aclose()
        return time.perf_counter() - begun

    try:
        assert asyncio.run(main()) < 0.9
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    assert 0 < spent(lm) < 50  # it was counted, and the estimate was given back


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_gives_nothing_back_that_its_parent_took(
    server: Loopback, in_redis: dict[str, Any]
) -> None:
    lm = lm_at(server, budget={"tokens": 1000, "per": "month", "store": in_redis})
    server.answers(Reply(pieces=sse(*chat_chunks("a ", "b "))))
    with lm.stream("hi") as stream:
        next(stream)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(20)
                stream.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert 100 < spent(lm) < 120
        list(stream)
    assert spent(lm) == 7


def test_a_profile_has_a_budget_that_all_of_its_lms_are_charged_to(server: Loopback) -> None:
    common = {"api_base": server.v1, "api_key": "", "cache": False, "max_tokens": 100}
    document = {
        "budget": {"tokens": 400},
        "lms": {
            "a": {"model": "openai/tiny", **common},
            "b": {"model": "openai/small", **common, "budget": {"tokens": 200}},
            "c": {"model": "openai/small", **common, "budget": {"tokens": 1000}},
        },
    }
    profile = lmconf.load(document)
    assert profile.spec.budget is not None
    server.answers(used(150))
    profile["a"]("hi")
    profile["b"]("hi")
    with pytest.raises(BudgetExceeded, match="of this LM"):
        profile["b"]("hi")
    with pytest.raises(BudgetExceeded, match="of the profile"):
        profile["a"].copy(temperature=0.7)("hi")
    with pytest.raises(BudgetExceeded, match="of the profile"):
        profile["c"]("hi")
    # What its own budget had room for was given back when the profile's had none.
    own = profile["c"]._parts().charges[0]
    run = period_of("run", 0.0)
    assert own.ledger.spend(own.account, run, Amount(0.0, 1), SpendingLimit(tokens=0)) == Amount()
    assert len(server.received) == 2
    assert lmconf.load_state(profile.dump_state()) == profile


def test_a_budget_in_dollars_needs_a_price_when_the_profile_loads() -> None:
    with pytest.raises(ProfileError, match=r"the price of .+ is not known"):
        LM("openai/own", api_key="", budget={"cost_usd": 1})
    lm = LM("openai/gpt-4o-mini", api_key="", budget={"cost_usd": 1})
    with pytest.raises(ProfileError, match=r"the price of .+ is not known"):
        lm.copy(model="openai/own")


def test_a_fallback_is_charged_to_its_profile_too(server: Loopback) -> None:
    common = {"api_base": server.v1, "api_key": "", "cache": False, "max_tokens": 100}
    document = {
        "budget": {"tokens": 900},
        "lms": {
            "a": {"model": "openai/a", **common, "num_retries": 0, "fallbacks": ["b"]},
            "b": {"model": "openai/b", **common},
        },
    }
    profile = lmconf.load({**document, "main": "a"})
    (charge,) = profile["a"]._parts().charges
    before = charge.ledger.spend(
        charge.account, period_of("run", 0.0), Amount(0.0, 1), SpendingLimit(tokens=0)
    )
    server.answers(Reply(status=503, json={"error": {"message": "no"}}), used(200))
    assert profile["a"]("hi") == ["Hello."]
    after = charge.ledger.spend(
        charge.account, period_of("run", 0.0), Amount(0.0, 1), SpendingLimit(tokens=0)
    )
    assert before is not None
    assert after == before + Amount(0.0, 200)


@pytest.mark.parametrize("odd", [10**30, -5, 1.5, "7", [1], True])
def test_what_a_server_says_of_tokens_and_is_no_count_is_left_out(
    server: Loopback, tmp_path: Path, odd: object
) -> None:
    details = {"prompt_tokens_details": odd, "completion_tokens_details": {"reasoning_tokens": odd}}
    said = chat("Hello.") | {"usage": {"prompt_tokens": odd, "completion_tokens": 3, **details}}
    server.answers(said, said)
    kept = {"tokens": 10**6, "per": "day", "store": {"backend": "disk", "path": str(tmp_path)}}
    lm = lm_at(server, budget=kept, pricing={"input": 1, "cached_input": 1, "output": 1})
    assert lm("one") == ["Hello."]
    assert lm.ask("two").usage == {"completion_tokens": 3, "completion_tokens_details": {}}
    assert lm.usage.total_tokens == 6
