"""Typed requests, which DSPy has from 3.4 on, cross the same LM by way of an engine."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import pytest

import lmconf
from tests.dspy.formats import tool_call
from tests.loopback import USAGE, Loopback, Reply, chat, chat_chunks, sse

lm15: Any = dspy.lm15


def asking(text: str = "Hello", **config: Any) -> Any:
    return lm15.Request(
        model="openai/tiny",
        messages=(lm15.Message.user(text),),
        config=lm15.Config(**config),
    )


def test_a_request_is_answered_by_a_response(lm: lmconf.LM, server: Loopback) -> None:
    adapted = lm.as_dspy(pricing={"input": 1.0, "output": 2.0})
    with dspy.track_usage() as tracker:
        response = adapted(asking(temperature=0.5, max_tokens=9, stop=("x",)))
        again = asyncio.run(adapted.acall(asking(temperature=0.5, max_tokens=9, stop=("x",))))
    assert response.text == again.text == "Hello."
    (sent,) = server.received
    assert (sent.json["temperature"], sent.json["max_tokens"]) == (0.5, 9)
    assert sent.json["stop"] == ["x"]
    assert tracker.get_total_tokens()["openai/tiny"]["total_tokens"] == USAGE["total_tokens"]
    first, second = adapted.history
    assert first["cost"] == pytest.approx((5 * 1.0 + 2 * 2.0) / 1e6)
    assert (first["cache_hit"], second["cache_hit"], second["cost"]) == (False, True, None)


def test_settings_that_a_request_leaves_out_are_the_profiles(server: Loopback) -> None:
    lm = lmconf.LM("openai/tiny", api_base=server.v1, api_key="", temperature=0.7, seed=4)
    lm.as_dspy(cache=False)(asking())
    assert (server.received[0].json["temperature"], server.received[0].json["seed"]) == (0.7, 4)


def test_rollouts_and_the_cache_switch_hold_for_requests(lm: lmconf.LM, server: Loopback) -> None:
    adapted = lm.as_dspy()
    for rollout in (None, 1, 2, 1):
        adapted(asking(), **({} if rollout is None else {"rollout_id": rollout}))
    assert len(server.received) == 3
    adapted.copy(rollout_id=2)(asking())
    assert len(server.received) == 3
    adapted(asking(), cache=False)
    assert len(server.received) == 4


def test_tools_reasoning_and_formats_travel(lm: lmconf.LM, server: Loopback) -> None:
    call = tool_call("look", place="Oslo")
    server.answers(
        chat(None, tool_calls=[call], finish_reason="tool_calls", reasoning_content="Hm.")
    )
    tool = lm15.FunctionTool(name="look", parameters={"type": "object", "properties": {}})
    request = lm15.Request(
        model="openai/tiny", messages=(lm15.Message.user("?"),), tools=(tool,), system="Be brief."
    )
    response = lm.as_dspy()(request)
    assert response.tool_calls[0].name == "look"
    assert response.tool_calls[0].input == {"place": "Oslo"}
    assert response.finish_reason == "tool_call"
    sent = server.received[0].json
    assert sent["tools"][0]["function"]["name"] == "look"
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_failure_is_of_both_kinds_here_too(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(Reply(status=500, json={"error": {"message": "no"}}))
    adapted = lm.as_dspy(num_retries=0)
    with pytest.raises(lmconf.ServerError) as caught:
        adapted(asking())
    assert isinstance(caught.value, dspy.LMServerError)
    assert len(server.received) == 1, "DSPy retries nothing"
    with pytest.raises(lmconf.UsageError, match=r"lm\.copy"):
        adapted("Hello", model="openai/other")


def test_a_program_that_asks_with_requests_streams(lm: lmconf.LM, server: Loopback) -> None:
    server.script = lambda _: Reply(pieces=sse(*chat_chunks("To", "kyo", " it", " is")))

    class Asking(dspy.Module):  # type: ignore[misc]
        def forward(self, question: str) -> Any:
            return dspy.Prediction(answer=dspy.settings.lm(asking(question)).text)

        async def aforward(self, question: str) -> Any:
            return dspy.Prediction(answer=(await dspy.settings.lm.acall(asking(question))).text)

    async def everything(program: Any, question: str) -> list[Any]:
        return [value async for value in program(question=question)]

    for is_async in (False, True):
        program = dspy.streamify(Asking(), is_async_program=is_async)
        with dspy.context(lm=lm.as_dspy()):
            *chunks, prediction = asyncio.run(everything(program, f"where, {is_async}?"))
        texts = [chunk.choices[0].delta.content for chunk in chunks]
        assert [text for text in texts if text] == ["To", "kyo", " it", " is"]
        assert prediction.answer == "Tokyo it is"
    with dspy.context(lm=lm.as_dspy()):
        assert lm.as_dspy()(asking("where, True?")).text == "Tokyo it is"
    assert len(server.received) == 2


def test_what_belongs_to_no_request_is_refused_by_dspy(lm: lmconf.LM) -> None:
    with pytest.raises(TypeError):
        lm.as_dspy()(asking(), temperature=0.5)
    with pytest.raises(ValueError, match="model"):
        lm.as_dspy()(lm15.Request(model="openai/x", messages=(lm15.Message.user("?"),)))
