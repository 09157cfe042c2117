"""A call through DSPy is the LM's own call: its request, its cache, its retries, its history."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import threading
from typing import Any

import dspy
import pytest

import lmconf
from tests.dspy.formats import answers, marked
from tests.loopback import USAGE, Loopback, Received, Reply, chat

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def test_a_program_answers(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(answers(reasoning="It is known.", answer="Tokyo"))
    with dspy.context(lm=lm.as_dspy()):
        got = dspy.ChainOfThought("question -> answer")(question="The capital of Japan?")
    assert (got.reasoning, got.answer) == ("It is known.", "Tokyo")
    sent = server.received[0].json
    assert sent["temperature"] == 0.0
    assert sent["max_tokens"] == 1000
    assert sent.keys() == {"model", "messages", "temperature", "max_tokens"}


def test_what_was_asked_directly_is_a_cache_hit_in_dspy(lm: lmconf.LM, server: Loopback) -> None:
    lm("Hello")
    adapted = lm.as_dspy()
    assert adapted("Hello") == ["Hello."]
    assert asyncio.run(adapted.acall("Hello")) == ["Hello."]
    assert adapted(messages=[{"role": "user", "content": "Hello"}]) == ["Hello."]
    assert len(server.received) == 1
    assert [entry["cache_hit"] for entry in lm.history] == [False, True, True, True]


def test_dspy_keeps_no_answer_and_repeats_no_request(
    lm: lmconf.LM, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []
    monkeypatch.setattr(dspy.cache, "put", lambda *said, **more: kept.append(said))
    lm.as_dspy()("Hello")
    assert kept == []
    server.received.clear()
    server.answers(Reply(status=500, json={"error": {"message": "no"}}))
    adapted = lm.as_dspy(cache=False, num_retries=1, retry={"initial": 0.001, "jitter": "none"})
    with pytest.raises(lmconf.ServerError):
        adapted("Hello")
    assert len(server.received) == 2
    server.answers(chat())
    adapted("Hello")
    adapted("Hello")
    assert len(server.received) == 4


def test_data_with_dollar_words_arrives_as_it_was_given(
    lm: lmconf.LM, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKED", "marker-4711")
    words = {"$env": "MARKED", "{{ x }}": [{"$file": "/etc/hostname"}, {"$unset": True}]}
    tool = {"type": "function", "function": {"name": "f", "description": {"$env": "MARKED"}}}
    said: dict[str, Any] = {"tools": [tool], "metadata": words, "extra": {"x": words}}
    adapted = lm.as_dspy(cache=False)
    for ask in (adapted, adapted.copy(**said), lm.as_dspy(cache=False, **said)):
        ask("Hello", **(said if ask is adapted else {}))
        asyncio.run(ask.acall("Hello", **(said if ask is adapted else {})))
    for received in server.received:
        assert "marker-4711" not in received.text
        body = received.json
        assert (body["tools"], body["metadata"], body["x"]) == ([tool], words, words)
    assert len(server.received) == 6
    with pytest.raises(lmconf.ProfileError, match=r"lmconf\.Env\(…\)"):
        adapted("Hello", headers={"X-A": {"$env": "MARKED"}})


def test_settings_of_a_call_reach_the_server(lm: lmconf.LM, server: Loopback) -> None:
    said: dict[str, Any] = {
        "temperature": 0.5,
        "max_tokens": 7,
        "stop": ["x"],
        "top_p": 0.9,
        "seed": 3,
        "logit_bias": {"5": 1.0},
        "tools": [TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "top_logprobs": 2,
        "user": "me",
    }
    lm.as_dspy()("Hello", **said)
    sent = server.received[0].json
    assert {name: sent[name] for name in said} == said


def test_a_setting_taken_away_is_left_to_the_provider(lm: lmconf.LM, server: Loopback) -> None:
    lm.as_dspy(temperature=None)("Hello")
    assert "temperature" not in server.received[0].json


def test_the_body_of_the_profile_stays_and_one_key_can_change(server: Loopback) -> None:
    lm = lmconf.LM("openai/tiny", api_base=server.v1, api_key="", extra={"top_k": 4, "min_p": 0.1})
    adapted = lm.as_dspy(cache=False)
    assert adapted.kwargs["top_k"] == 4
    adapted("Hello")
    adapted.copy(top_k=9)("Hello")
    adapted("Hello", prediction={"type": "content", "content": "Hi"})
    bodies = [received.json for received in server.received]
    assert [(body["top_k"], body["min_p"]) for body in bodies] == [(4, 0.1), (9, 0.1), (4, 0.1)]
    assert bodies[2]["prediction"] == {"type": "content", "content": "Hi"}


def test_unknown_settings_are_refused_wherever_they_are_said(lm: lmconf.LM) -> None:
    adapted = lm.as_dspy()
    for refusing in (adapted, adapted.copy, lm.as_dspy):
        with pytest.raises(lmconf.ProfileError, match="did you mean `temperature`"):
            refusing(**({"prompt": "Hello"} if refusing is adapted else {}), temperatur=0.5)
    with pytest.raises(lmconf.ProfileError):
        lm.as_dspy(temperature=9)
    with (
        dspy.context(lm=adapted),
        pytest.raises(lmconf.ProfileError, match="did you mean `temperature`"),
    ):
        dspy.Predict("question -> answer", temperatur=0.5)(question="?")


def test_several_answers_come_from_one_request(lm: lmconf.LM, server: Loopback) -> None:
    response = chat(marked(answer="one"))
    response["choices"].append(
        {**response["choices"][0], "index": 1, "message": {"content": marked(answer="two")}}
    )
    server.answers(response)
    with dspy.context(lm=lm.as_dspy()), dspy.track_usage() as tracker:
        got = dspy.Predict("question -> answer", n=2)(question="?")
    assert got.completions.answer == ["one", "two"]
    assert len(server.received) == 1
    assert server.received[0].json["n"] == 2
    assert server.received[0].json["temperature"] == 0.7, "DSPy's own choice for several answers"
    assert tracker.get_total_tokens()["openai/tiny"]["total_tokens"] == USAGE["total_tokens"]


def test_log_probabilities_and_reasoning_come_along(lm: lmconf.LM, server: Loopback) -> None:
    told = {"content": [{"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
    response = chat("Hi", reasoning_content="A greeting.")
    response["choices"][0]["logprobs"] = told
    server.answers(response)
    (output,) = lm.as_dspy()("Hello", logprobs=True)
    assert output["text"] == "Hi"
    assert output["reasoning_content"] == "A greeting."
    assert output["logprobs"]["content"][0]["logprob"] == -0.5


# What DSPy keeps of calls


def test_history_has_dspys_form(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(answers(answer="Tokyo"))
    adapted = lm.as_dspy(pricing={"input": 1.0, "output": 2.0})
    predict = dspy.Predict("question -> answer")
    with dspy.context(lm=adapted):
        predict(question="The capital of Japan?")
        predict(question="The capital of Japan?")
    first, second = adapted.history
    assert first["outputs"] == [marked(answer="Tokyo")]
    assert (first["model"], first["response_model"]) == ("openai/tiny", "tiny")
    assert first["usage"] == USAGE
    assert first["cost"] == pytest.approx((5 * 1.0 + 2 * 2.0) / 1e6)
    assert (second["usage"], second["cost"]) == ({}, None)
    assert [first, second] == predict.history
    assert first["response"].choices[0].message.content == marked(answer="Tokyo")
    shown = io.StringIO()
    adapted.inspect_history(file=shown)
    assert "Tokyo" in shown.getvalue()
    assert "The capital of Japan?" in shown.getvalue()
    assert len(lm.history) == 0, "the price made another LM beneath"
    assert len(adapted.source.history) == 2


def test_dspys_switches_of_history_hold(lm: lmconf.LM) -> None:
    adapted = lm.as_dspy()
    with dspy.context(disable_history=True):
        adapted("Hello")
    assert adapted.history == []
    with dspy.context(max_history_size=1):
        adapted("one")
        adapted("two")
    assert [entry["prompt"] for entry in adapted.history] == ["two"]


def test_usage_is_counted_once_and_a_hit_costs_nothing(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(answers(answer="Tokyo"))
    with dspy.context(lm=lm.as_dspy(), track_usage=True):
        first = dspy.Predict("question -> answer")(question="?")
        again = dspy.Predict("question -> answer")(question="?")
    usage = first.get_lm_usage()["openai/tiny"]
    assert {name: usage[name] for name in USAGE} == USAGE
    assert not again.get_lm_usage()


def test_dspys_callbacks_hear_of_every_call_once(lm: lmconf.LM) -> None:
    heard: list[tuple[str, Any]] = []

    class Listener(dspy.utils.callback.BaseCallback):  # type: ignore[misc]
        def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            heard.append(("start", inputs["prompt"]))

        def on_lm_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
            heard.append(("end", outputs))

    adapted = lm.as_dspy(callbacks=[Listener()])
    adapted("Hello")
    asyncio.run(adapted.acall("Hello"))
    assert [what for what, _ in heard] == ["start", "end"] * 2
    assert heard[1] == ("end", ["Hello."])


# Rollouts


def test_a_rollout_asks_anew_and_is_kept_by_itself(lm: lmconf.LM, server: Loopback) -> None:
    adapted = lm.as_dspy()
    for rollout in (None, 1, 2, 1, None):
        adapted.copy(rollout_id=rollout, temperature=1.0)("Hello")
    assert len(server.received) == 3
    assert all("rollout_id" not in received.text for received in server.received)
    adapted("Hello", rollout_id=1, temperature=1.0)
    assert len(server.received) == 3


def test_a_rollout_changed_in_kwargs_counts(lm: lmconf.LM, server: Loopback) -> None:
    """Some of DSPy's optimisers set it there."""
    adapted = lm.as_dspy()
    adapted("Hello")
    adapted.kwargs["rollout_id"] = 1
    adapted("Hello")
    assert len(server.received) == 2
    adapted.cache = False
    adapted("Hello")
    assert len(server.received) == 3


# Threads and tasks


def test_many_threads_and_tasks_share_one_lm(lm: lmconf.LM, server: Loopback) -> None:

    def echo(received: Received) -> Reply:
        asked = re.search(r"[nta]\d{4}", received.json["messages"][-1]["content"])
        return answers(answer=asked[0] if asked else "")

    server.script = echo
    predict = dspy.Predict("question -> answer")
    data = [dspy.Example(question=f"n{n:04}").with_inputs("question") for n in range(24)]
    with dspy.context(lm=lm.as_dspy()):
        run = dspy.Parallel(num_threads=6, disable_progress_bar=True)
        got = run([(predict, example) for example in data])
        assert [one.answer for one in got] == [example.question for example in data]

        evaluate = dspy.Evaluate(
            devset=data,
            metric=lambda example, prediction, trace=None: example.question == prediction.answer,
            num_threads=6,
            display_progress=False,
        )
        assert evaluate(predict).score == 100.0

        async def all_at_once() -> list[Any]:
            asked = (predict.acall(question=f"t{n:04}") for n in range(12))
            return list(await asyncio.gather(*asked))

        assert [one.answer for one in asyncio.run(all_at_once())] == [f"t{n:04}" for n in range(12)]
        waited = asyncio.run(dspy.asyncify(predict)(question="a0001"))
        assert waited.answer == "a0001"
    assert len(server.received) == 24 + 12 + 1


def test_a_context_holds_for_its_own_thread(lm: lmconf.LM, server: Loopback) -> None:
    one, other = lm.as_dspy(temperature=0.1), lm.as_dspy(temperature=0.2)
    server.answers(answers(answer="x"))
    seen: list[float] = []

    def ask(adapted: Any) -> None:
        with dspy.context(lm=adapted):
            dspy.Predict("question -> answer")(question="?")
            seen.append(dspy.settings.lm.kwargs["temperature"])

    threads = [threading.Thread(target=ask, args=(adapted,)) for adapted in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [0.1, 0.2]
    assert sorted(received.json["temperature"] for received in server.received) == [0.1, 0.2]


# Without DSPy


def test_dspy_is_imported_when_it_is_asked_for_and_its_absence_is_told() -> None:
    program = """
import json, sys
import lmconf, lmconf.dspy
lm = lmconf.LM("openai/tiny", api_base="http://127.0.0.1:9/v1", api_key="")
early = "dspy" in sys.modules
sys.modules["dspy"] = None
import importlib.util
try:
    lm.as_dspy()
except lmconf.UsageError as error:
    print(json.dumps([early, str(error)]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ran.stdout) == [
        False,
        "this needs the package dspy: pip install 'lmconf-runtime[dspy]'",
    ]
