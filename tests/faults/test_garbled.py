"""However an answer is garbled, a call gives an answer or an exception of lmconf's own, in time.

The bytes of right answers are damaged, and their values replaced by others: what a program makes
of an answer must not break on what no provider documents.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmconf.errors import CallError
from lmconf.runtime import LM, Answer
from lmconf.transports.http.sse import EventReader
from tests.faults.dialects import DIALECTS, Dialect, body_of
from tests.faults.server import Act, Faulty, answer, faulty, streamed
from tests.watching import processor_seconds

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 7, 10**30, 1.5e300, float("nan"), "", "x", "stop", "\ud800", [], [None],
    [[]], [{}], ["x"], [7], {}, {"x": 1}, {"content": 7}, {"role": None},
)  # fmt: skip


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, tuple[Faulty, LM]]]:
    """A server for each dialect, and an LM that asks it."""
    with ExitStack() as open_:
        made = {}
        for name, dialect in DIALECTS.items():
            server = open_.enter_context(faulty(dialect, answer(200)))
            lm = dialect.lm(
                server.base, num_retries=0, timeout=5, cache=CACHE, pricing=PRICES, budget=BUDGET
            )
            made[name] = server, open_.enter_context(lm)
        yield made


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything inside `value`."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    made = copy.deepcopy(value)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = by
    return made


def events_of(pieces: list[bytes]) -> list[Any]:
    """The JSON of server-sent events."""
    lines = [line[6:] for piece in pieces for line in piece.split(b"\n") if line[:5] == b"data:"]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def written(events: list[Any]) -> list[bytes]:
    return [
        f"event: {event.get('type', '')}\ndata: {json.dumps(event)}\n\n".encode(
            "utf-8", "surrogatepass"
        )
        if isinstance(event, dict) and isinstance(event.get("type"), str)
        else f"data: {json.dumps(event)}\n\n".encode("utf-8", "surrogatepass")
        for event in events
    ]


@st.composite
def odd_answers(draw: st.DrawFn, dialect: Dialect) -> Any:
    value = dialect.whole("Hello.")
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.sampled_from(list(places(value)) or [()]))
        value = replaced(value, at, draw(st.sampled_from(ODD))) if at else value
    return value


@st.composite
def odd_streams(draw: st.DrawFn, dialect: Dialect) -> list[Any]:
    events = events_of(dialect.pieces("Hello."))
    at = draw(st.sampled_from(list(places(events))))
    return list(replaced(events, at, draw(st.sampled_from(ODD))))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with a few of its bytes replaced, left out or repeated."""
    made = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(made) - 1, 0)))
        width = draw(st.integers(0, 20))
        made[at : at + width] = draw(st.binary(max_size=8) | st.just(bytes(made[at : at + 40])))
    return bytes(made)


def check(lm: LM, server: Faulty, act: Act, *, stream: bool) -> None:
    """Call, and look at everything that is there afterwards."""
    server.acts(act)
    lm.history.clear()
    try:
        if stream:
            with lm.stream("hi") as pieces:
                text = "".join(pieces)
            made = pieces.answer
            assert made.text == text or not text
        else:
            made = lm.ask("hi")
    except CallError as error:
        assert str(error)
        json.dumps(error.to_dict())
        assert len(lm.history) == 0
        return
    assert isinstance(made, Answer)
    assert isinstance(made.text, str)
    assert all(isinstance(text, str) for text in made.texts)
    assert repr(made)
    json.dumps(lm.history[-1], default=str)
    _ = lm.usage, made.truncated, made.tool_calls, made.citations


CACHE = {"store": {"backend": "memory"}, "mode": "refresh"}
"""Everything is kept, and nothing is answered from what is."""

PRICES = {"input": 1.0, "cached_input": 0.5, "output": 2.0}
BUDGET = {"cost_usd": 1e15, "tokens": 10**18}
"""What a server says of tokens is added up, and never too much."""

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", DIALECTS)
@FEW
@given(data=st.data())
def test_odd_values_in_an_answer(
    name: str, servers: dict[str, tuple[Faulty, LM]], data: st.DataObject
) -> None:
    server, lm = servers[name]
    value = data.draw(odd_answers(DIALECTS[name]))
    check(lm, server, answer(200, json.dumps(value)), stream=False)


@pytest.mark.parametrize("name", DIALECTS)
@FEW
@given(data=st.data())
def test_odd_values_in_a_stream(
    name: str, servers: dict[str, tuple[Faulty, LM]], data: st.DataObject
) -> None:
    server, lm = servers[name]
    events = data.draw(odd_streams(DIALECTS[name]))
    check(lm, server, streamed(lambda _: written(events)), stream=True)


@pytest.mark.parametrize("name", DIALECTS)
@FEW
@given(data=st.data())
def test_damaged_bytes_of_an_answer(
    name: str, servers: dict[str, tuple[Faulty, LM]], data: st.DataObject
) -> None:
    server, lm = servers[name]
    body = data.draw(damaged(body_of(DIALECTS[name])))
    check(lm, server, answer(200, body), stream=False)


@pytest.mark.parametrize("name", DIALECTS)
@FEW
@given(data=st.data())
def test_damaged_bytes_of_a_stream(
    name: str, servers: dict[str, tuple[Faulty, LM]], data: st.DataObject
) -> None:
    server, lm = servers[name]
    body = data.draw(damaged(b"".join(DIALECTS[name].pieces("Hello."))))
    check(lm, server, streamed(lambda _: [body]), stream=True)


def test_a_line_without_an_end_costs_no_more_than_its_bytes() -> None:
    """64 MiB that come in small pieces are put together once, not once for each of them."""
    events, piece = EventReader(), b"x" * 4096

    def read() -> None:
        for _ in range(2**14):
            assert list(events.read(piece)) == []
        assert list(events.read(b'\ndata: {"type": "end"}\n\n')) == [{"type": "end"}]

    assert processor_seconds(read) < 5
