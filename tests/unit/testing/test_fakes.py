"""A fake answers from its script, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf import testing
from lmconf.testing import Asked, answer, fake
from lmconf.transports import REGISTRY
from tests.watching import seconds

ROOT = Path(__file__).parents[3]


def test_a_list_answers_in_turn_and_its_exceptions_are_raised() -> None:
    with fake(["Paris", lmconf.RateLimited("slow down"), "Rome"]) as server:
        lm = server.lm()
        assert lm("What is the capital of France?") == ["Paris"]
        told = lm.ask("And of Italy?")
        assert (told.text, told.attempts) == ("Rome", 2)
        assert [asked.text for asked in server.requests] == [
            "What is the capital of France?",
            "And of Italy?",
            "And of Italy?",
        ]
        assert server.left == 0
        with pytest.raises(lmconf.UsageError, match=r"no answer left: request 4 asks 'x'; give"):
            lm("x")


def test_an_exception_is_raised_as_new_each_time() -> None:
    with fake([lmconf.ServerError("down", status=503)], cycle=True) as server:
        lm = server.lm(num_retries=1)
        for _ in range(2):
            with pytest.raises(lmconf.ServerError) as raised:
                lm("x")
            assert (raised.value.status, raised.value.attempts) == (503, 2)
        with pytest.raises(ZeroDivisionError), fake(ZeroDivisionError()) as broken:
            broken.lm()("x")


def test_one_entry_answers_everything_and_a_list_may_begin_anew() -> None:
    with fake("Yes.") as server:
        assert [server.lm()("x") for _ in range(3)] == [["Yes."]] * 3
        assert server.left is None
    with fake(["a", "b"], cycle=True) as server:
        assert [server.lm()("x")[0] for _ in range(3)] == ["a", "b", "a"]
    with fake(iter(["a", "b"])) as server:
        assert [server.lm()("x")[0] for _ in range(2)] == ["a", "b"]
        with pytest.raises(lmconf.UsageError, match="no answer left"):
            server.lm()("x")


def test_a_mapping_answers_by_what_was_asked() -> None:
    cases = {
        "What is the capital of France?": "Paris",
        re.compile(r"capital of (\w+)"): lambda asked: f"I forgot {asked.text.split()[-1]}",
    }
    with fake(cases) as server:
        lm = server.lm()
        assert lm("What is the capital of France?") == ["Paris"]
        assert lm("The capital of Italy") == ["I forgot Italy"]
        with pytest.raises(lmconf.UsageError, match="no answer to 'What'; did you mean 'What is"):
            lm("What")
        told = {"role": "user", "content": [{"type": "text", "text": "capital of Peru"}]}
        assert lm(messages=[{"role": "system", "content": "x"}, told]) == ["I forgot Peru"]


def test_an_entry_may_be_anything_that_an_lm_can_answer() -> None:
    response = {
        "choices": [{"message": {"content": "Whole"}, "finish_reason": "stop"}],
        "usage": {"total_tokens": 9},
    }
    thought = answer("Yes", reasoning="hm", logprobs={"content": []}, usage={"total_tokens": 1})
    with fake([["a", "b"], {"content": "Message"}, response, thought]) as server:
        lm = server.lm()
        assert lm("x", n=2) == ["a", "b"]
        assert lm("x") == ["Message"]
        kept = lm.ask("x")
        assert (kept.text, kept.usage) == ("Whole", {"total_tokens": 9})
        told = lm.ask("x")
        assert (told.reasoning, told.logprobs) == ("hm", {"content": []})
        assert told.usage == {"total_tokens": 1}
    with fake([kept, answer("", finish_reason="content_filter")]) as server:
        assert server.lm().ask("x").response == kept.response
        assert server.lm().ask("x").finish_reason == "content_filter"


def test_tools_are_called_with_pairs_of_a_name_and_arguments() -> None:
    with fake(answer(tool_calls=[("weather", {"city": "Paris"})])) as server:
        told = server.lm().ask("x")
        (call,) = told.tool_calls
        assert (call["id"], call["type"], call["function"]["name"]) == (
            "call_1",
            "function",
            "weather",
        )
        assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
        assert told.finish_reason == "tool_calls"
        stream = server.lm().stream("x")
        assert list(stream) == []
        assert stream.answer.tool_calls == (call,)


def test_a_function_is_given_what_was_asked() -> None:
    seen: list[Asked] = []

    def echo(asked: Asked) -> str:
        seen.append(asked)
        return asked.text.upper()

    with fake(echo) as server:
        assert server.lm("acme/m", temperature=0.3, extra={"top_k": 4})("hi") == ["HI"]
        assert server.lm("acme/m", model_type="text")("hi") == ["HI"]
    first, second = seen
    assert (first.lm, first.model, first.route) == ("acme/m", "acme/m", "chat")
    assert first.messages == [{"role": "user", "content": "hi"}]
    assert first.settings == {"temperature": 0.3, "max_tokens": 1000}
    assert first.extra == {"top_k": 4}
    assert (second.route, second.prompt, second.messages) == ("text", "hi", [])


def test_what_was_asked_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "acme-private-1")
    with fake("x") as server:
        lm = server.lm(
            api_key=lmconf.Env("ACME_KEY"),
            headers={"X-Team": lmconf.Env("ACME_KEY")},
            extra={"inner": [{"token": lmconf.Env("ACME_KEY")}]},
        )
        lm("hi")
        assert "acme-private-1" not in repr(server.requests)
        assert server.requests[0].extra == {"inner": [{"token": "***"}]}


def test_tokens_are_words() -> None:
    with fake([["one two", "three"], "x"]) as server:
        lm = server.lm(pricing={"input": 1e6, "output": 2e6})
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a b c"}]},
        ]
        told = lm.ask(messages=messages)
        assert told.usage == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        assert told.cost == 11.0
    with fake("x", usage=False) as server:
        assert server.lm().ask("x").usage == {}


def test_a_stream_comes_in_words_or_in_pieces_of_a_size() -> None:
    with fake("  One two\nthree") as server, server.lm().stream("x") as stream:
        assert list(stream) == ["  ", "One ", "two\n", "three"]
        assert stream.answer.usage["completion_tokens"] == 3
        assert server.requests[0].stream
    with fake("abcde", chunk=2) as server:

        async def read() -> list[str]:
            async with server.lm().astream("x") as pieces:
                return [piece async for piece in pieces]

        assert asyncio.run(read()) == ["ab", "cd", "e"]


def test_a_stream_may_break_and_the_same_call_without_one_fails() -> None:
    broken = answer("Half of it", then=lmconf.BadResponse("the line went dead"))
    with fake(broken) as server:
        lm = server.lm(num_retries=0)
        got: list[str] = []
        with pytest.raises(lmconf.BadResponse) as raised, lm.stream("x") as stream:
            got.extend(stream)
        assert ("".join(got), raised.value.partial) == ("Half of it", "Half of it")
        with pytest.raises(lmconf.BadResponse, match="the line went dead"):
            lm("x")


def test_latencies_are_waited_for_and_timeouts_hold() -> None:
    with fake("x y z", latency=[0.0, 1.0]) as server:
        lm = server.lm(num_retries=0)
        assert seconds(lambda: lm("x")) < 0.75
        assert seconds(lambda: lm("x")) >= 1.0
        lm("x")
        for again in (lambda: lm("x", timeout=0.01), lambda: list(lm.stream("x", timeout=0.01))):
            with pytest.raises(lmconf.Timeout, match=r"within 0\.01s"):
                again()
            lm("x")
        with pytest.raises(lmconf.Timeout):
            asyncio.run(lm.acall("x", timeout=0.01))
    with fake("x y z", gap=0.05) as server:
        pieces: list[str] = []
        assert seconds(lambda: pieces.extend(server.lm().stream("x"))) >= 0.15
        assert pieces == ["x ", "y ", "z"]
        with pytest.raises(lmconf.Timeout, match="no further piece"):
            list(server.lm(timeout={"idle": 0.01}).stream("x"))


def test_it_answers_many_threads_each_once() -> None:
    with fake([str(number) for number in range(64)]) as server:
        lm = server.lm()
        got: list[str] = []

        def ask() -> None:
            for _ in range(8):
                got.extend(lm("x"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(got, key=int) == [str(number) for number in range(64)]
        assert (server.left, len(server.requests)) == (0, 64)


def test_answers_are_not_kept_unless_that_is_asked_for() -> None:
    with fake(["a", "b", "c"]) as server:
        assert (server.lm()("x"), server.lm()("x")) == (["a"], ["b"])
        kept = server.lm(cache=True)
        assert (kept("x"), kept("x"), kept.ask("x").cache_hit) == (["c"], ["c"], True)
    with fake("another") as server:
        assert server.lm(cache=True)("x") == ["another"]


def test_every_shipped_profile_answers_from_it_without_a_key_or_a_server() -> None:
    with fake("Hello there.") as server:
        for path in sorted((ROOT / "profiles").glob("*.yaml")):
            with lmconf.load(path.stem, overrides=server.overrides) as profile:
                for name in profile:
                    assert profile[name]("x") == ["Hello there."]
                    assert profile[name].server is None


def test_a_profile_keeps_what_steers_its_answers() -> None:
    house: dict[str, Any] = {
        "defaults": {"headers": {"X-Team": {"$env": "UNSET_TOKEN"}}, "num_retries": 5},
        "main": "a",
        "lms": {
            "_b": {"api_base": {"$env": "UNSET_BASE"}, "api_key": {"$env": "UNSET_KEY"}},
            "a": {"extends": "_b", "model": "openai/gpt-4o", "temperature": 0.9, "extra": {"k": 1}},
            "s": {"model": "sagemaker/x", "aws_region_name": {"$env": "UNSET_REGION"}},
            "o": {
                "extends": "a",
                "model": "ollama_chat/x",
                "api_base": "http://localhost:1",
                "api_key": "",
                "headers": {},
            },
        },
    }
    with fake("x") as server:
        profile = lmconf.load(house, overrides=server.overrides)
        for name in profile:
            assert profile[name]("hi") == ["x"]
        asked = server.requests[0]
        assert (asked.model, asked.settings["temperature"]) == ("openai/gpt-4o", 0.9)
        assert (asked.extra, profile.lm.spec.num_retries) == ({"k": 1}, 5)
        one = lmconf.load({"model": "openai/gpt-4o"}, overrides=server.overrides)
        assert one.lm("hi") == ["x"]


@pytest.mark.parametrize("several", [False, True])
def test_no_limit_holds_a_test_up_and_no_budget_is_charged(several: bool) -> None:
    lm = {"model": "openai/own", "limits": {"rpm": 1}, "budget": {"tokens": 1}}
    document = {"budget": {"tokens": 1}, "lms": {"a": lm}} if several else lm
    with fake("Yes.") as made:
        loaded = lmconf.load(document, overrides=made.overrides)
        assert [loaded.lm("Well?") for _ in range(3)] == [["Yes."]] * 3
    with fake("Yes.") as made, pytest.raises(lmconf.BudgetExceeded):
        made.lm(budget={"tokens": 1})("Well?")


def test_it_is_there_while_its_block_lasts() -> None:
    before = dict(REGISTRY._registered)
    with fake("x") as server:
        lm = server.lm()
        assert lm("x") == ["x"]
    assert before == REGISTRY._registered
    with pytest.raises(lmconf.UsageError, match="after its `with` block had ended"):
        lm("x")
    with pytest.raises(lmconf.ProfileError), fake("x"):
        lmconf.load({"model": "a/b", "transport": server.name})


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([], "at least one answer"),
        (None, "cannot answer with NoneType"),
        ([3], "cannot answer with int"),
        ([lmconf.Timeout], r"not a class: write Timeout\(…\)"),
        ({3: "x"}, "a text or a compiled pattern, not by int"),
        ({"x": None}, "cannot answer with NoneType"),
    ],
)
def test_what_is_no_script_is_told_when_the_fake_is_made(answers: Any, told: str) -> None:
    with pytest.raises(lmconf.UsageError, match=told):
        fake(answers)


def test_arguments_that_do_not_fit_are_told() -> None:
    wrong: list[dict[str, Any]] = [
        {"latency": -1},
        {"latency": []},
        {"gap": -1},
        {"chunk": 0},
        {"cycle": True},
    ]
    for arguments in wrong:
        with pytest.raises(lmconf.UsageError):
            fake("x", **arguments)


def test_an_answer_that_a_function_makes_is_judged_too() -> None:
    with fake(lambda asked: None) as server, pytest.raises(lmconf.UsageError, match="NoneType"):
        server.lm()("x")


def test_fakes_need_neither_hypothesis_nor_litellm_nor_pytest() -> None:
    code = """
import sys
sys.modules["hypothesis"] = sys.modules["pytest"] = None
import lmconf.testing
with lmconf.testing.fake(["Hello."]) as fake:
    assert fake.lm()("x") == ["Hello."]
lmconf.testing.TransportContract
assert "litellm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=testing.__path__[0] + "/../..")
