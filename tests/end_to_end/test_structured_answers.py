"""`response_format`: what is sent for a class or a schema, and what `Answer.parsed` makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import BadResponse, UsageError
from lmconf.runtime import LM
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Line(pydantic.BaseModel):
    item: str
    cents: int = 0


class Invoice(pydantic.BaseModel):
    number: str
    lines: list[Line]
    note: str | None = None


class Place(msgspec.Struct):
    city: str
    colour: Colour = Colour.RED


class Tree(msgspec.Struct):
    name: str
    below: list[Tree] = []


@dataclass
class Point:
    x: int
    y: int


class Card(TypedDict):
    name: str
    age: int


class Open(msgspec.Struct):
    counts: dict[str, int]


class Unknowable:
    def __init__(self, value: int) -> None:
        self.value = value


class Callback(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    what: Unknowable


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


def lm_at(server: Loopback, **settings: Any) -> LM:
    return LM("openai/tiny", **{"api_base": server.v1, "api_key": "", "num_retries": 0, **settings})


@pytest.mark.parametrize(
    ("kind", "text", "parsed"),
    [
        (
            Invoice,
            '{"number": "7", "lines": [{"item": "pen", "cents": 120}], "note": null}',
            Invoice(number="7", lines=[Line(item="pen", cents=120)]),
        ),
        (Place, '{"city": "Rome", "colour": "blue"}', Place("Rome", Colour.BLUE)),
        (Tree, '{"name": "a", "below": [{"name": "b", "below": []}]}', Tree("a", [Tree("b")])),
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Card, '{"name": "Ada", "age": 36}', {"name": "Ada", "age": 36}),
        (Open, '{"counts": {"a": 1}}', Open({"a": 1})),
    ],
)
def test_a_class_is_sent_as_its_schema_and_the_answer_is_an_object_of_it(
    server: Loopback, kind: Any, text: str, parsed: object
) -> None:
    server.answers(chat(text))
    answer = lm_at(server).ask("?", response_format=kind)
    assert answer.parsed == parsed
    assert type(answer.parsed) is type(parsed)
    assert answer.text == text
    sent = server.received[0].json["response_format"]
    assert sent["type"] == "json_schema"
    form = sent["json_schema"]
    assert form["name"] == kind.__name__
    assert form["schema"]["type"] == "object"
    assert form.get("strict", False) is (kind is not Open)
    if form.get("strict"):
        for place in _objects(form["schema"]):
            assert place["additionalProperties"] is False
            assert place["required"] == list(place["properties"])
            assert all("default" not in field for field in place["properties"].values())


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from _objects(value)


def test_every_form_of_call_reads_the_same_object(server: Loopback) -> None:
    text = '{"city": "Rome", "colour": "blue"}'
    lm = lm_at(server, cache=False)
    server.answers(chat(text))
    assert asyncio.run(lm.aask("?", response_format=Place)).parsed == Place("Rome", Colour.BLUE)
    assert lm("?", response_format=Place) == [text]
    server.answers(Reply(pieces=sse(*chat_chunks(text[:9], text[9:]))))
    with lm.stream("?", response_format=Place) as stream:
        assert "".join(stream) == text
    assert stream.answer.parsed == Place("Rome", Colour.BLUE)

    async def streamed() -> Any:
        async with lm.astream("?", response_format=Place) as pieces:
            async for _ in pieces:
                pass
        return pieces.answer.parsed

    assert asyncio.run(streamed()) == Place("Rome", Colour.BLUE)


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
        },
    },
}


def test_a_schema_of_the_profile_is_sent_as_it_stands_and_checks_the_answer(
    server: Loopback,
) -> None:
    server.answers(chat('{"name": "Ada", "age": 36}'), chat('{"name": "Ada"}'))
    lm = lm_at(server, response_format=SCHEMA, cache=False)
    assert lm.ask("?").parsed == {"name": "Ada", "age": 36}
    assert server.received[0].json["response_format"] == SCHEMA
    with pytest.raises(BadResponse, match="'age' is a required property - at `\\$`") as caught:
        lm.ask("?")
    assert caught.value.partial == '{"name": "Ada"}'
    assert lm("?") == ['{"name": "Ada"}']  # a text is a text


def test_any_json_will_do_where_no_schema_is_given(server: Loopback) -> None:
    server.answers(chat('[1, {"a": null}]'), chat("Here you are: {}"))
    lm = lm_at(server, response_format={"type": "json_object"}, cache=False)
    assert lm.ask("?").parsed == [1, {"a": None}]
    with pytest.raises(BadResponse, match="it is no JSON"):
        lm.ask("?")


@pytest.mark.parametrize("kind", [Invoice, Place, Card])
def test_what_does_not_fit_says_where_and_is_not_kept(server: Loopback, kind: Any) -> None:
    server.answers(chat('{"name": 7, "city": 7, "number": 7}'))
    lm = lm_at(server)
    for _ in range(2):
        with pytest.raises(BadResponse, match="does not have the form") as caught:
            lm.ask("?", response_format=kind)
        assert "$" in str(caught.value)
        assert not caught.value.retryable
    assert len(server.received) == 2
    assert lm.usage.calls == 2  # it was paid for
    assert len(lm.history) == 2


def test_an_answer_that_fits_replaces_a_kept_one_that_does_not(server: Loopback) -> None:
    server.answers(chat("Rome, I think."), chat('{"city": "Rome", "colour": "red"}'))
    lm = lm_at(server)
    lm("?", response_format=Place)
    assert lm.ask("?", response_format=Place).parsed == Place("Rome")
    hit = lm.ask("?", response_format=Place)
    assert (hit.cache_hit, hit.parsed) == (True, Place("Rome"))
    assert len(server.received) == 2


def test_a_cut_answer_says_that_it_was_cut(server: Loopback) -> None:
    server.answers(chat('{"city": "Ro', finish_reason="length"))
    with pytest.raises(BadResponse, match="truncated by `max_tokens`") as caught:
        lm_at(server).ask("?", response_format=Place, max_tokens=5)
    assert "which is 5" in str(caught.value)


def test_a_refusal_and_a_tool_call_are_no_misfits(server: Loopback) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    server.answers(chat(None, refusal="I would rather not."), chat(None, tool_calls=[call]))
    lm = lm_at(server, cache=False)
    refused = lm.ask("?", response_format=Place)
    assert (refused.parsed, refused.refusal) == (None, "I would rather not.")
    assert lm.ask("?", response_format=Place).tool_calls[0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Unknowable, "has no JSON Schema"),
        (Callback, "has no JSON Schema"),
        (int, "has no JSON Schema"),
        (list[int], "must be an object"),
        (Colour, "must be an object"),
    ],
)
def test_a_class_without_a_schema_is_refused_before_anything_is_sent(
    server: Loopback, kind: Any, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        lm_at(server).ask("?", response_format=kind)
    assert not server.received


def test_a_schema_that_is_none_is_refused_before_anything_is_sent(server: Loopback) -> None:
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}}
    with pytest.raises(UsageError, match="its JSON Schema is none"):
        lm_at(server).ask("?", response_format=wrong)
    assert not server.received


def test_a_class_in_code_becomes_the_schema_in_the_state(server: Loopback) -> None:
    lm = lm_at(server, response_format=Place)
    state = lm.dump_state()
    assert json.loads(json.dumps(state))["response_format"]["json_schema"]["name"] == "Place"
    assert lmconf.load_state(state) == lm
    assert lm.copy(response_format=Point).spec.response_format != lm.spec.response_format


def test_one_class_given_twice_finds_the_kept_answer(server: Loopback) -> None:
    server.answers(chat('{"city": "Rome", "colour": "red"}'))
    assert not lm_at(server).ask("?", response_format=Place).cache_hit
    assert lm_at(server).ask("?", response_format=Place).cache_hit
    assert lm_at(server, response_format=Place).ask("?").cache_hit


def test_an_answer_is_read_once_whether_it_was_sent_or_kept(server: Loopback) -> None:
    read = []

    class Noted(pydantic.BaseModel):
        city: str

        @pydantic.field_validator("city")
        @classmethod
        def note(cls, city: str) -> str:
            read.append(city)
            return city

    server.answers(chat('{"city": "Rome"}'))
    lm = lm_at(server)
    assert not lm.ask("?", response_format=Noted).cache_hit
    assert read == ["Rome"]
    assert lm.ask("?", response_format=Noted).cache_hit
    assert read == ["Rome"] * 2
