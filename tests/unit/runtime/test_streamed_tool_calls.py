"""Tool calls that come in pieces, in the dialects of servers, are those of the whole answer."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf.runtime import LM
from lmconf.runtime.assembly import Assembly
from lmconf.transports.response_checks import check_chunk, check_response
from tests.loopback import Loopback, Reply, chat, serving, sse

Json = dict[str, Any]


def call(id_: str | None, name: str, arguments: Any = "{}") -> Json:
    told: Json = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return told if id_ is None else {"id": id_, **told}


def piece(index: int | None, id_: str | None = None, **function: Any) -> Json:
    made: Json = {} if index is None else {"index": index}
    if id_ is not None:
        made["id"] = id_
    return {**made, "function": function}


def deltas(*pieces: Json | list[Json]) -> list[Json]:
    """The chunks of a stream with one list of pieces each, and its end."""
    told = [{"tool_calls": each if isinstance(each, list) else [each]} for each in pieces]
    chunks: list[Json] = [{"choices": [{"index": 0, "delta": delta}]} for delta in told]
    end: Json = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    return [*chunks, {"choices": [end]}]


def joined(chunks: list[Json]) -> list[Json]:
    assembly = Assembly()
    for chunk in copy.deepcopy(chunks):
        assembly.add(check_chunk(chunk))
    calls: list[Json] = assembly.response()["choices"][0]["message"].get("tool_calls", [])
    return calls


X, Y = '{"x":1}', '{"y":1}'
A, B = call("a", "f", X), call("b", "g", Y)
DIALECTS: dict[str, tuple[list[Json | list[Json]], list[Json]]] = {
    "OpenAI": (
        [
            piece(0, "a", name="f", arguments=""),
            piece(0, arguments='{"x"'),
            piece(0, arguments=":1}"),
            piece(1, "b", name="g", arguments=""),
            piece(1, arguments=Y),
        ],
        [A, B],
    ),
    "two whole calls with one index": (
        [piece(0, "a", name="f", arguments=X), piece(0, "b", name="g", arguments=Y)],
        [A, B],
    ),
    "indices as texts": (
        [
            {"index": "0", "id": "a", "function": {"name": "f", "arguments": '{"x"'}},
            {"index": "0", "function": {"arguments": ":1}"}},
            {"index": "1", "id": "b", "function": {"name": "g", "arguments": Y}},
        ],
        [A, B],
    ),
    "indices as fractions": (
        [{**piece(0, "a", name="f", arguments=X), "index": 0.0}],
        [A],
    ),
    "an empty object before the arguments": (
        [
            piece(0, "a", name="f", arguments="{}"),
            piece(0, arguments='{"x"'),
            piece(0, arguments=":1}"),
        ],
        [A],
    ),
    "the whole call once more at its end": (
        [
            piece(0, "a", name="f", arguments='{"x"'),
            piece(0, "a", name="f", arguments=":1}"),
            piece(0, "a", name="f", arguments=X),
        ],
        [A],
    ),
    "the whole arguments once more at their end": (
        [piece(0, "a", name="f", arguments=X), piece(0, arguments=X)],
        [A],
    ),
    "two whole calls with one index and one id": (
        [piece(0, "a", name="f", arguments=X), piece(0, "a", name="f", arguments=Y)],
        [A, call("a", "f", Y)],
    ),
    "two calls of one tool with one index": (
        [piece(0, "a", name="f", arguments=X), piece(0, "b", name="f", arguments=X)],
        [A, call("b", "f", X)],
    ),
    "one index and pieces": (
        [
            piece(0, "a", name="f", arguments='{"x"'),
            piece(0, arguments=":1}"),
            piece(0, "b", name="g", arguments='{"y"'),
            piece(0, arguments=":1}"),
        ],
        [A, B],
    ),
    "one index and no ids": (
        [piece(0, name="f", arguments=X), piece(0, name="g", arguments=Y)],
        [call(None, "f", X), call(None, "g", Y)],
    ),
    "one index, no ids, and the same tool": (
        [piece(0, name="f", arguments=X), piece(0, name="f", arguments=Y)],
        [call(None, "f", X), call(None, "f", Y)],
    ),
    "both in one piece with one index": (
        [[piece(0, "a", name="f", arguments=X), piece(0, "b", name="g", arguments=Y)]],
        [A, B],
    ),
    "no index, empty id": (
        [piece(None, "a", name="f", arguments='{"x"'), piece(None, "", arguments=":1}")],
        [A],
    ),
    "no index, nothing else": (
        [
            piece(None, "a", name="f", arguments='{"x"'),
            piece(None, arguments=":1}"),
            piece(None, "b", name="g"),
            piece(None, arguments=Y),
        ],
        [A, B],
    ),
    "no index, the same id again": (
        [
            piece(None, "a", name="f", arguments='{"x"'),
            piece(None, "b", name="g", arguments='{"y"'),
            piece(None, "a", arguments=":1}"),
            piece(None, "b", arguments=":1}"),
        ],
        [A, B],
    ),
    "neither index nor id": (
        [piece(None, name="f", arguments=X), piece(None, name="g", arguments=Y)],
        [call(None, "f", X), call(None, "g", Y)],
    ),
    "neither, of one tool without arguments, in one piece": (
        [[piece(None, name="f"), piece(None, name="f")]],
        [call(None, "f", ""), call(None, "f", "")],
    ),
    "interleaved": (
        [
            [piece(0, "a", name="f"), piece(1, "b", name="g")],
            piece(1, arguments='{"y"'),
            piece(0, arguments='{"x"'),
            piece(1, arguments=":1}"),
            piece(0, arguments=":1}"),
        ],
        [A, B],
    ),
    "the second first": (
        [piece(1, "b", name="g", arguments=Y), piece(0, "a", name="f", arguments=X)],
        [A, B],
    ),
    "an index that jumps": (
        [piece(3, "a", name="f", arguments=X), piece(7, "b", name="g", arguments=Y)],
        [A, B],
    ),
    "one index, then another one": (
        [
            piece(0, "a", name="f", arguments=X),
            piece(0, "b", name="g", arguments=Y),
            piece(1, "c", name="h", arguments="{"),
            piece(1, arguments="}"),
        ],
        [A, B, call("c", "h")],
    ),
    "the id in each piece": (
        [piece(0, "a", name="f", arguments='{"x"'), piece(0, "a", arguments=":1}")],
        [A],
    ),
    "another id in each piece": (
        [piece(0, "a", name="f", arguments='{"x"'), piece(0, "r", arguments=":1}")],
        [A],
    ),
    "the name in each piece": (
        [
            piece(0, "a", name="get_weather", arguments='{"x"'),
            piece(0, name="get_weather", arguments=":1"),
            piece(0, name="get_weather", arguments="}"),
            piece(0, name="get_weather", arguments=""),
        ],
        [call("a", "get_weather", X)],
    ),
    "the name in pieces": (
        [piece(0, "a", name="get_"), piece(0, name="weather"), piece(0, arguments=X)],
        [call("a", "get_weather", X)],
    ),
    "the name as far as it goes": (
        [piece(0, "a", name="get_"), piece(0, name="get_weather"), piece(0, arguments=X)],
        [call("a", "get_weather", X)],
    ),
    "id, name and arguments apart": (
        [
            {"index": 0, "id": "a", "type": "function"},
            piece(0, name="f"),
            piece(0, arguments=X),
        ],
        [A],
    ),
    "no function": (
        [piece(0, "a", name="f", arguments=X), {"index": 0, "function": None}, {"index": 0}],
        [A],
    ),
    "nulls and empty values": (
        [
            {"index": 0, "id": "a", "type": None, "function": {"name": "f", "arguments": None}},
            {"index": 0, "id": None, "type": "", "function": {"name": None, "arguments": X}},
            {"index": 0, "id": "", "function": {"name": "", "arguments": ""}},
        ],
        [A],
    ),
    "arguments as an object": (
        [piece(0, "a", name="f", arguments={"x": 1}), piece(0, "b", name="g", arguments={})],
        [call("a", "f", '{"x": 1}'), call("b", "g", "{}")],
    ),
    "no arguments": (
        [piece(0, "a", name="f", arguments=""), piece(0, "b", name="f")],
        [call("a", "f", ""), call("b", "f", "")],
    ),
    "more beside them": (
        [
            {**piece(0, "a", name="f", arguments='{"x"'), "extra_content": {"google": {"t": "s"}}},
            piece(0, arguments=":1}"),
        ],
        [{**A, "extra_content": {"google": {"t": "s"}}}],
    ),
    "a tool that takes text": (
        [
            {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}},
            {"index": 0, "custom": {"input": "s"}},
        ],
        [{"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}],
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_calls_are_told_apart_in_every_dialect(name: str) -> None:
    pieces, calls = DIALECTS[name]
    assert joined(deltas(*pieces)) == calls


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path))
    with serving(chat()) as made:
        yield made


def streamed(lm: LM, asynchronous: bool) -> tuple[tuple[Any, ...], list[Json]]:
    """The tool calls of a streamed answer, and the pieces of them as its chunks have them."""
    if not asynchronous:
        with lm.stream("Hi") as stream:
            chunks = list(stream.chunks())
            return stream.answer.tool_calls, _pieces(chunks)

    async def read() -> tuple[tuple[Any, ...], list[Json]]:
        async with lm.astream("Hi") as stream:
            chunks = [chunk async for chunk in stream.chunks()]
            return stream.answer.tool_calls, _pieces(chunks)

    return asyncio.run(read())


def _pieces(chunks: list[Json]) -> list[Json]:
    return [
        each
        for chunk in chunks
        for choice in chunk["choices"]
        for each in choice["delta"].get("tool_calls") or ()
    ]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_stream_at_a_socket_is_the_whole_answer(
    server: Loopback, name: str, asynchronous: bool
) -> None:
    pieces, calls = DIALECTS[name]
    # The disk's store is this test's own; the process's is not, and ports come again.
    keep = {"cache": {"keep": ["tool_calls"]}, "cache_in_memory": False}
    settings: Json = {"api_base": server.v1, "api_key": "", "num_retries": 0, **keep}
    whole = chat(None, tool_calls=copy.deepcopy(calls), finish_reason="tool_calls")
    server.answers(Reply(json=whole))
    told = LM("openai/whole", **settings).ask("Hi").tool_calls
    server.answers(Reply(pieces=sse(*deltas(*pieces))))
    lm = LM("openai/pieces", **settings)
    found, chunks = streamed(lm, asynchronous)
    assert list(found) == list(told) == calls
    # Whoever reads the chunks by their indices alone finds the same calls.
    by_index = {each["index"]: each for each in chunks}
    assert len(by_index) == len(calls)
    server.received.clear()
    assert lm.ask("Hi").cache_hit
    assert lm.ask("Hi").tool_calls == found
    assert server.received == []


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_ollamas_calls_one_in_each_line_are_two(server: Loopback, asynchronous: bool) -> None:
    def line(done: bool, *calls: tuple[str, Json]) -> bytes:
        told = [{"function": {"name": name, "arguments": given}} for name, given in calls]
        message = {"role": "assistant", "content": "", **({"tool_calls": told} if told else {})}
        end = {"done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2} if done else {}
        body = {"model": "tiny", "created_at": "2024-01-01T00:00:00Z", "message": message}
        return json.dumps({**body, "done": done, **end}).encode() + b"\n"

    server.answers(
        Reply(pieces=[line(False, ("f", {"x": 1})), line(False, ("f", {"y": 1})), line(True)])
    )
    lm = LM("ollama_chat/tiny", api_base=server.url, cache=False, num_retries=0)
    found, _ = streamed(lm, asynchronous)
    assert [json.loads(each["function"]["arguments"]) for each in found] == [{"x": 1}, {"y": 1}]
    assert [each["function"]["name"] for each in found] == ["f", "f"]


names = st.text("abcdefgh_", min_size=1, max_size=12)
objects = st.dictionaries(names, st.one_of(st.integers(), st.text(max_size=8)), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Json], list[Json | list[Json]]]:
    """Whole calls, and a legal way to stream them."""
    calls = [
        call(f"call_{at}", draw(names), json.dumps(draw(objects)))
        for at in range(draw(st.integers(1, 4)))
    ]
    dialect = draw(st.sampled_from(["indices", "one index", "no index"]))
    again = draw(st.sampled_from(["id", "empty id", "name", "nothing"]))
    queues: list[list[Json]] = []
    for at, whole in enumerate(calls):
        index = {"indices": at, "one index": 0, "no index": None}[dialect]
        text, name = whole["function"]["arguments"], whole["function"]["name"]
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        first = piece(index, whole["id"], name=name, arguments=parts[0])
        more = {"id": whole["id"]} if again == "id" else {"id": ""} if again == "empty id" else {}
        told = {"name": name} if again == "name" and dialect != "no index" else {}
        queue = [{**first, "type": "function"}]
        queue += [{**piece(index, arguments=part, **told), **more} for part in parts[1:]]
        queues.append(queue)
    made: list[Json | list[Json]] = []
    apart = dialect == "indices" or (dialect == "no index" and again == "id")
    while any(queues):
        left = [queue for queue in queues if queue]
        made.append(left[draw(st.integers(0, len(left) - 1)) if apart else 0].pop(0))
    return calls, made


@given(answers())
def test_whatever_the_pieces_they_join_to_the_whole(
    drawn: tuple[list[Json], list[Json | list[Json]]],
) -> None:
    calls, pieces = drawn
    found = joined(deltas(*pieces))
    whole = check_response(chat(None, tool_calls=copy.deepcopy(calls)))
    by_id = {each["id"]: each for each in whole["choices"][0]["message"]["tool_calls"]}
    # Without an index, calls stand in the order in which they began.
    assert {each["id"]: each for each in found} == by_id
    assert len(found) == len(calls)
    if any("index" in each for each in pieces if isinstance(each, dict)):
        assert found == calls
