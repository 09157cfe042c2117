"""What was checked once is remembered by its content, and comes to what a new check comes to."""

from __future__ import annotations

import copy
import enum
import json
import threading
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmconf
from lmconf.callbacks import Start
from lmconf.errors import Error
from lmconf.runtime.identity import identity_settings
from lmconf.runtime.spec_memo import MOST_REMEMBERED, content_key
from lmconf.schema.frozen import FrozenMap
from lmconf.spec.build import spec_for_call
from tests.loopback import Loopback, chat, serving


class Whole(int):
    pass


class Word(str):
    __slots__ = ()


class Real(float):
    pass


class Items(list[Any]):
    pass


class Block(dict[str, Any]):
    pass


class Level(enum.IntEnum):
    ONE = 1


LOOKALIKES: list[Any] = [
    *[1, 1.0, True, "1", Whole(1), Real(1), Level.ONE, Decimal(1), b"1", 2**64],
    *[0, 0.0, -0.0, False, None, "", "null", float("nan"), float("inf"), Word("a"), "a", {1}],
    *[[], (), {}, Items(), Block(), FrozenMap(), date(2024, 1, 1), "2024-01-01", object, "\ud800"],
]
KEYS = st.sampled_from(["a", "b", "type", Word("a"), 1, True, None, "1"])
VALUES = st.recursive(
    st.sampled_from(LOOKALIKES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["tools", "stop", "response_format", "extra", "metadata", "logit_bias"])
SETTINGS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=2)


def typed(value: object) -> object:
    """Return `value` with every type and every order spelled out."""
    if isinstance(value, dict):
        return (type(value).__name__, [(typed(key), typed(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return (type(value).__name__, [typed(item) for item in value])
    return (type(value).__name__, repr(value))


@given(VALUES, VALUES)
@settings(max_examples=500)
def test_equal_keys_are_those_of_equal_contents(one: object, other: object) -> None:
    first, second = content_key({"extra": one}), content_key({"extra": other})
    if first is not None and first == second:
        assert typed(one) == typed(other)


@pytest.mark.parametrize("one", range(len(LOOKALIKES)))
def test_what_python_takes_for_equal_is_told_apart(one: int) -> None:
    mine = content_key({"extra": {"a": [LOOKALIKES[one]]}})
    for other, value in enumerate(LOOKALIKES):
        theirs = content_key({"extra": {"a": [value]}})
        if mine is not None and other != one:
            assert theirs != mine, (LOOKALIKES[one], value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), PLAIN, max_size=3))
def test_the_same_content_has_one_key_whoever_made_it(said: dict[str, Any]) -> None:
    again = json.loads(json.dumps(said))
    assert content_key(said) == content_key(copy.deepcopy(said)) is not None
    assert content_key(again) == content_key(said)


def test_the_order_of_keys_counts() -> None:
    assert content_key({"extra": {"a": 1, "b": 2}}) != content_key({"extra": {"b": 2, "a": 1}})


def outcome(make: Callable[[], object]) -> object:
    """Return what a check comes to: the settings that are sent and keyed, or what is said."""
    try:
        spec = make()
    except Error as error:
        return type(error).__name__, str(error)
    assert isinstance(spec, lmconf.LMSpec)
    return json.dumps([identity_settings(spec), dict(spec.metadata or {})]), repr(spec)


TOOL = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "web_search", 1])},
    optional={
        "function": st.fixed_dictionaries(
            {"name": st.sampled_from("fg")}, optional={"parameters": PLAIN, "description": PLAIN}
        )
    },
)
CALLS = st.one_of(
    SETTINGS,
    st.fixed_dictionaries(
        {},
        optional={
            "tools": st.lists(TOOL, max_size=3),
            "tool_choice": st.sampled_from(["auto", "nope", {"type": "function"}, {}]),
            "stop": st.one_of(st.text(max_size=3), st.lists(st.text(max_size=3), max_size=2)),
            "extra": st.dictionaries(st.text(max_size=3), PLAIN, max_size=2),
            "metadata": st.dictionaries(st.text(max_size=3), PLAIN, max_size=2),
            "temperature": st.sampled_from([0, 0.0, 1, 1.0, True, 3, "x", None]),
            "seed": st.sampled_from([1, 1.0, True, 2**70]),
            "logprobs": st.sampled_from([1, True, 0, False, 1.0]),
            "headers": st.sampled_from([{}, {"X-A": "1"}, {"X-A": 1}, {"X-Api-Key": "sk"}]),
            "cache": st.sampled_from([True, False, 1, {"mode": "refresh"}, {}]),
            "retry": st.sampled_from([{"max": 1}, {"max": 1.0}, {"max": True}, {}]),
            "response_format": st.sampled_from([{}, {"type": "json_object"}, dict, int]),
        },
    ),
)


@pytest.fixture(scope="module")
def lm() -> Iterator[lmconf.LM]:
    with lmconf.LM(
        "openai/m", api_base="http://127.0.0.1:9/v1", api_key="", extra={"z": 1}, stop=["s"]
    ) as made:
        yield made


@given(CALLS)
@settings(max_examples=300)
def test_a_remembered_check_comes_to_what_a_new_one_comes_to(
    lm: lmconf.LM, said: dict[str, Any]
) -> None:
    parts = lm._parts()
    new = outcome(lambda: spec_for_call(lm._compiled, said))
    for _ in range(2):
        assert outcome(lambda: parts.spec_of(said)) == new
        assert outcome(lambda: parts.spec_of(copy.deepcopy(said))) == new


FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"const": 1}}}}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat("Hello.")) as made:
        yield made


def changes() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield changes of a tool, each of which Python takes for none or hides in the depths."""

    def constant(value: object) -> Callable[[dict[str, Any]], None]:
        def change(tool: dict[str, Any]) -> None:
            tool["function"]["parameters"]["properties"]["a"]["const"] = value

        return change

    def reorder(tool: dict[str, Any]) -> None:
        parameters = tool["function"]["parameters"]
        parameters["type"] = parameters.pop("type")

    yield from (constant(value) for value in (1, 1.0, True, "1", None, [1], [1.0], -0.0, 0))
    yield reorder


def test_a_list_that_its_caller_changes_is_sent_as_it_is_now(server: Loopback) -> None:
    tool: dict[str, Any] = copy.deepcopy({"type": "function", "function": FUNCTION})
    tools = [tool]
    with lmconf.LM("openai/m", api_base=server.v1, api_key="", cache=False) as lm:
        for change in changes():
            change(tool)
            lm("x", tools=tools)
            assert json.dumps(server.received[-1].json["tools"]) == json.dumps(tools)
        tool["function"]["parameters"]["x"] = float("nan")
        with pytest.raises(Error, match="NaN"):
            lm("x", tools=tools)
        tool["function"]["parameters"]["x"] = {1}
        with pytest.raises(Error, match="set"):
            lm("x", tools=tools)
        del tool["function"]["parameters"]["x"]
        lm("x", tools=tools)
        assert json.dumps(server.received[-1].json["tools"]) == json.dumps(tools)


def test_a_kept_answer_belongs_to_the_tools_as_they_were(server: Loopback) -> None:
    tool: dict[str, Any] = copy.deepcopy({"type": "function", "function": FUNCTION})
    with lmconf.LM(
        "openai/m", api_base=server.v1, api_key="", cache={"store": {"backend": "memory"}}
    ) as lm:
        for requests, name in enumerate(("f", "g"), start=1):
            tool["function"]["name"] = name
            for _ in range(3):
                lm("x", tools=[tool])
                lm("x", tools=[copy.deepcopy(tool)])
            assert len(server.received) == requests
        tool["function"]["name"] = "f"
        lm("x", tools=[tool])
        assert len(server.received) == 2


def test_what_was_checked_is_checked_once_and_anew_when_it_is_another(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[object] = []

    def check(compiled: Any, said: Any) -> Any:
        checked.append(said)
        return spec_for_call(compiled, said)

    monkeypatch.setattr("lmconf.runtime.spec_memo.spec_for_call", check)
    tools = [{"type": "function", "function": {"name": f"f{number}"}} for number in range(20)]
    with lmconf.LM("openai/m", api_base=server.v1, api_key="", cache=False) as lm:
        for count in (1, 2):
            for _ in range(4):
                lm("x", tools=copy.deepcopy(tools))
            assert len(checked) == count
            tools.reverse()
            tools = [*tools]
            if count == 2:
                lm("x", tools=tools)
                assert len(checked) == 2
    refused: list[dict[str, Any]] = [{"n": 500}, {"tools": [{}]}]
    for said in refused:  # what was refused is looked at each time
        for _ in range(2):
            with pytest.raises(Error):
                lmconf.LM("openai/m", api_key="")("x", **said)


def test_no_caller_reaches_what_another_is_given(server: Loopback) -> None:
    """What callbacks are told is theirs: a change of it is in no other call."""
    seen: list[Any] = []

    class Meddler:
        def on_start(self, event: Start) -> None:
            seen.append(copy.deepcopy(event.request["settings"]))
            settings: Any = event.request["settings"]
            settings["tools"][0]["function"]["name"] = "other"
            settings["tools"].clear()

    tools = [{"type": "function", "function": FUNCTION}]
    with lmconf.LM(
        "openai/m", api_base=server.v1, api_key="", cache=False, callbacks=[Meddler()]
    ) as lm:
        for _ in range(3):
            lm("x", tools=tools)
            assert server.received[-1].json["tools"] == tools
    assert [one["tools"] for one in seen] == [tools] * 3


def test_what_is_remembered_has_a_bound_and_holds_no_setting_in_its_keys(lm: lmconf.LM) -> None:
    parts = lm._parts()
    for number in range(MOST_REMEMBERED * 2):
        parts.spec_of({"stop": [f"word-{number}"]})
        assert len(parts._specs._specs) <= MOST_REMEMBERED
    assert "word" not in repr(list(parts._specs._specs))
    large = {"extra": {"a": "x" * 2**20}}
    assert content_key(large) is None
    assert parts.spec_of(large).extra == large["extra"]


def test_many_threads_are_given_the_settings_that_each_asked_for(lm: lmconf.LM) -> None:
    parts = lm._parts()
    wrong: list[object] = []

    def work(start: int) -> None:
        for number in range(400):
            value = (start + number) % 300
            spec = parts.spec_of({"stop": [str(value)], "extra": {"a": value}})
            if spec.stop != (str(value),) or spec.extra != {"a": value}:
                wrong.append(spec)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 7, 150, 299)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
