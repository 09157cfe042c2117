"""Answers are shown while they come, through DSPy's own listeners."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import dspy
import pytest

import lmconf
from tests.dspy.formats import tool_call
from tests.loopback import Loopback, Reply, chat_chunks, sse

PIECES = (
    "[[ ##",
    " answer",
    " ## ]]\n",
    "To",
    "kyo",
    " is",
    " it",
    ".",
    "\n\n",
    "[[ ## comp",
    "leted",
)


def streaming(*texts: str) -> Reply:
    return Reply(pieces=sse(*chat_chunks(*texts, " ## ]]\n")))


def listened() -> Any:
    listener = dspy.streaming.StreamListener(signature_field_name="answer")
    return dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])


async def everything(program: Any, **inputs: Any) -> list[Any]:
    return [value async for value in program(**inputs)]


def test_a_listener_hears_the_pieces_of_its_field(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(streaming(*PIECES))
    with dspy.context(lm=lm.as_dspy()), dspy.track_usage() as tracker:
        *pieces, prediction = asyncio.run(everything(listened(), question="?"))
    assert "".join(piece.chunk for piece in pieces).strip() == "Tokyo is it."
    assert len(pieces) > 2
    assert prediction.answer == "Tokyo is it."
    assert tracker.get_total_tokens()["openai/tiny"]["total_tokens"] == 7
    assert server.received[0].json["stream"] is True


def test_a_stored_answer_is_not_shown_in_pieces(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(streaming(*PIECES))
    adapted = lm.as_dspy()
    with dspy.context(lm=adapted):
        asyncio.run(everything(listened(), question="?"))
        for program in (listened(), dspy.streamify(dspy.Predict("question -> answer"))):
            (prediction,) = asyncio.run(everything(program, question="?"))
            assert prediction.answer == "Tokyo is it."
        assert dspy.Predict("question -> answer")(question="?").answer == "Tokyo is it."
    assert len(server.received) == 1
    assert [entry["cache_hit"] for entry in lm.history] == [False, True, True, True]


def test_pieces_come_before_the_answer_is_whole(lm: lmconf.LM, server: Loopback) -> None:
    shown = threading.Event()

    def pieces() -> Iterator[bytes]:
        events = sse(*chat_chunks(*PIECES, " ## ]]\n"))
        yield from events[:7]
        assert shown.wait(10), "no piece was shown while the answer was coming"
        yield from events[7:]

    server.answers(Reply(pieces=pieces()))

    async def read() -> list[Any]:
        got = []
        async for value in listened()(question="?"):
            got.append(value)
            shown.set()
        return got

    with dspy.context(lm=lm.as_dspy()):
        assert asyncio.run(read())[-1].answer == "Tokyo is it."


def test_an_async_program_and_ordinary_code_stream_alike(lm: lmconf.LM, server: Loopback) -> None:
    server.script = lambda _: streaming(*PIECES)
    adapted = lm.as_dspy()
    listener = dspy.streaming.StreamListener(signature_field_name="answer", allow_reuse=True)
    options = {"stream_listeners": [listener]}
    predict = dspy.Predict("question -> answer")
    with dspy.context(lm=adapted):
        awaited = dspy.streamify(predict, is_async_program=True, **options)
        ordinary = dspy.streamify(predict, async_streaming=False, **options)
        told = asyncio.run(everything(awaited, question="one"))
        read = list(ordinary(question="two"))
    for *pieces, prediction in (told, read):
        assert "".join(piece.chunk for piece in pieces).strip() == "Tokyo is it."
        assert prediction.answer == "Tokyo is it."
    assert len(server.received) == 2


def test_without_listeners_the_chunks_themselves_are_shown(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(streaming(*PIECES))
    program = dspy.streamify(dspy.Predict("question -> answer"))
    with dspy.context(lm=lm.as_dspy()):
        *chunks, prediction = asyncio.run(everything(program, question="?"))
    shown = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert shown == "".join(PIECES) + " ## ]]\n"
    assert prediction.answer == "Tokyo is it."


def test_reasoning_and_tool_calls_are_streamed(lm: lmconf.LM, server: Loopback) -> None:
    chunks = chat_chunks("", finish="tool_calls")
    head = chunks[0]

    def delta(**fields: Any) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}

    call = {"index": 0, **tool_call("look", place="Tokyo")}
    between = [delta(reasoning_content="Let me "), delta(reasoning_content="look.")]
    server.answers(Reply(pieces=sse(*between, delta(tool_calls=[call]), *chunks[1:])))

    class Look(dspy.Signature):  # type: ignore[misc]
        question: str = dspy.InputField()
        tools: list[dspy.Tool] = dspy.InputField()
        calls: dspy.ToolCalls = dspy.OutputField()

    def look(place: str) -> str:
        return place

    program = dspy.streamify(dspy.Predict(Look))
    adapter = dspy.ChatAdapter(use_native_function_calling=True)
    with dspy.context(lm=lm.as_dspy(supports_function_calling=True), adapter=adapter):
        *pieces, prediction = asyncio.run(
            everything(program, question="?", tools=[dspy.Tool(look)])
        )
    thought = [getattr(piece.choices[0].delta, "reasoning_content", None) for piece in pieces]
    assert "".join(filter(None, thought)) == "Let me look."
    assert prediction.calls.tool_calls[0].args == {"place": "Tokyo"}


def test_a_stream_that_breaks_raises_and_nothing_asks_again(
    lm: lmconf.LM, server: Loopback
) -> None:
    server.answers(
        Reply(pieces=sse(*chat_chunks(*PIECES[:5], finish=None, usage=False), done=False))
    )
    with (
        dspy.context(lm=lm.as_dspy()),
        pytest.raises(lmconf.CallError) as caught,
    ):
        asyncio.run(everything(listened(), question="?"))
    assert isinstance(caught.value, dspy.LMError)
    assert caught.value.partial == "".join(PIECES[:5])
    assert len(server.received) == 1
