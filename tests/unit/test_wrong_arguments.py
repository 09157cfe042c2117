"""Mistakes made in Python are told when they are made, with what was meant."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import lmconf


@pytest.fixture
def lm() -> lmconf.LM:
    return lmconf.LM("openai/gpt-4o-mini", temperature=0.7)


def test_a_misspelt_setting_is_told_what_was_meant(lm: lmconf.LM) -> None:
    with pytest.raises(lmconf.ProfileError, match="= help: did you mean `temperature`"):
        lm("Say this is a test!", temprature=0.3)  # type: ignore[call-arg]
    with pytest.raises(lmconf.ProfileError, match="= help: did you mean `temperature`"):
        lmconf.LM("openai/gpt-4o-mini", temprature=0.3)  # type: ignore[call-arg]


def test_a_setting_is_not_assigned_and_lost(lm: lmconf.LM) -> None:
    with pytest.raises(AttributeError, match=r"use lm\.copy\(temperature=…\)"):
        lm.temperature = 0.3
    assert lm.temperature == 0.7
    lm.note = "what is no setting may be kept with it"


def test_there_is_no_style_but_those_that_are_written_down(lm: lmconf.LM) -> None:
    style: Any = "minimla"
    with pytest.raises(lmconf.UsageError, match="resolved or minimal or dspy, not 'minimla'"):
        lm.dump_state(style)
    with pytest.raises(lmconf.UsageError, match="resolved or minimal, not 'minimla'"):
        lmconf.load({"model": "openai/gpt-4o-mini"}).dump_state(style)


def test_what_is_no_source_state_or_name_is_refused() -> None:
    wrong: Any = 3
    with pytest.raises(lmconf.UsageError, match=r"lmconf\.load takes a name, .* not int"):
        lmconf.load(wrong)
    with pytest.raises(lmconf.UsageError, match=r"a file is read by lmconf\.load"):
        lmconf.load_state(wrong)
    with pytest.raises(lmconf.UsageError, match="the name of an LM, not int"):
        lmconf.load("openai")[wrong]


def test_arguments_of_load_are_what_they_must_be() -> None:
    one: Any = "temperature=1"
    for wrong, told in {
        "overrides": 'overrides is a mapping such as {"temperature": 0.7}, not str',
        "vars": "vars is a mapping",
        "allow_imports": "allow_imports is a list such as",
    }.items():
        with pytest.raises(lmconf.UsageError, match=re.escape(told)):
            lmconf.load("openai", **{wrong: one})
    with pytest.raises(lmconf.UsageError, match="allow_env is a list"):
        lmconf.load("openai", untrusted=True, allow_env=one)


def test_what_has_no_state_is_not_dumped(tmp_path: Path) -> None:
    wrong: Any = {"model": "openai/gpt-4o-mini"}
    with pytest.raises(lmconf.UsageError, match=r"lmconf.dump takes an LM or a profile, not dict"):
        lmconf.dump(wrong, tmp_path / "state.yaml")
    assert not (tmp_path / "state.yaml").exists()


@pytest.mark.parametrize("what", ["callback", "trainer", "transport"])
def test_an_object_is_not_registered_in_place_of_its_class(what: str) -> None:
    with pytest.raises(lmconf.UsageError, match="must be given as a class or a function"):
        getattr(lmconf, f"register_{what}")("thing", object())


def test_the_name_of_one_lm_is_not_loaded_as_a_profile() -> None:
    with pytest.raises(lmconf.ProfileError, match=r"lmconf\.lm\('openai:large'\)"):
        lmconf.load("openai:large")


def test_a_variable_is_named_without_a_keyword() -> None:
    lm = lmconf.LM("openai/gpt-4o-mini", api_key=lmconf.Env("HOUSE_KEY"))
    assert lm.dump_state("minimal")["api_key"] == {"$env": "HOUSE_KEY"}


USER = {"role": "user", "content": "What is the weather?"}
CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    ],
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def choice(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def result(**beside: Any) -> dict[str, Any]:
    return {"role": "tool", "content": "sunny", **beside}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "prompt of another type": ({"prompt": 5}, "the prompt must be text, not int"),
    "empty prompt": ({"prompt": ""}, "the prompt is empty"),
    "both": ({"prompt": "x", "messages": [USER]}, "a prompt or messages, not both"),
    "neither": ({}, r"give a prompt, or messages=\[…\]"),
    "messages that are text": ({"messages": "x"}, "must be a list of messages, not str"),
    "no messages": ({"messages": []}, "at least one message"),
    "message that is text": ({"messages": ["x"]}, r"messages\[0\] must be a mapping, not str"),
    "role": ({"messages": [{"role": "usr", "content": "x"}]}, "did you mean 'user'"),
    "no content": ({"messages": [{"role": "user"}]}, "needs content"),
    "content": ({"messages": [{"role": "user", "content": 5}]}, "text or a list of parts, not int"),
    "part": ({"messages": [{"role": "user", "content": ["x"]}]}, r"content\[0\] must be a mapping"),
    "part without text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        r"content\[0\] of the type 'text' needs a text",
    ),
    "result of nothing": (
        {"messages": [USER, result(tool_call_id="c2")]},
        r"messages\[1\]: no message before it calls a tool with the id 'c2'$",
    ),
    "result of another call": (
        {"messages": [USER, CALLING, result(tool_call_id="c2")]},
        r"messages\[2\]: .* 'c2'; the calls before it are 'c1'",
    ),
    "result before its call": (
        {"messages": [USER, result(tool_call_id="c1"), CALLING]}, r"messages\[1\]: no message"
    ),
    "result without an id": ({"messages": [USER, CALLING, result()]}, "needs a tool_call_id"),
    "call without an id": (
        {"messages": [{**CALLING, "tool_calls": [{"function": {"name": "f"}}]}]},
        r"tool_calls\[0\] must be a mapping with an id",
    ),
    "call of nothing": (
        {"messages": [{**CALLING, "tool_calls": [{"id": "c1"}]}]}, "must name its function"
    ),
    "arguments that are no text": (
        {"messages": [{**CALLING, "tool_calls": [
            {"id": "c1", "function": {"name": "f", "arguments": {}}}]}]},
        "must be text that holds JSON",
    ),
    "calls by a user": (
        {"messages": [{**USER, "tool_calls": CALLING["tool_calls"]}]}, "message of the assistant"
    ),
    "tool that is text": ({"prompt": "x", "tools": "f"}, "`tools` must be a list of mappings"),
    "tool without a type": ({"prompt": "x", "tools": [{"name": "f"}]}, "a tool without a type"),
    "tool without its type": (
        {"prompt": "x", "tools": [{"function": {"name": "f"}}]}, "add `type: function`"
    ),
    "function without a name": (
        {"prompt": "x", "tools": [{"type": "function", "function": {}}]},
        "a function without a name",
    ),
    "parameters": (
        {"prompt": "x", "tools": [
            {"type": "function", "function": {"name": "f", "parameters": "city"}}]},
        "the parameters of a function are a JSON Schema",
    ),
    "two of a name": (
        {"prompt": "x", "tools": [WEATHER, WEATHER]}, "two functions have the name `weather`"
    ),
    "choice of no tool": (
        {"prompt": "x", "tools": [WEATHER], "tool_choice": choice("wether")},
        "did you mean `weather`",
    ),
    "choice by name alone": (
        {"prompt": "x", "tools": [WEATHER], "tool_choice": "weather"},
        "write {type: function, function: {name: weather}}",
    ),
    "choice misspelt": ({"prompt": "x", "tool_choice": "atuo"}, "did you mean `auto`"),
    "temperature": ({"prompt": "x", "temperature": "hot"}, "must be a number from 0 to 2"),
    "n": ({"prompt": "x", "n": 0}, "must be a whole number from 1 to 128"),
    "stop": ({"prompt": "x", "stop": 5}, "`stop` must be text"),
    "of the LM": ({"prompt": "x", "api_base": "https://x"}, r"use lm\.copy\(api_base=…\)"),
    "secret": ({"prompt": "x", "headers": {"X-Api-Key": "abc"}}, r"is a secret: pass it with"),
    "header": ({"prompt": "x", "headers": {"x-team": "b"}}, "`X-Team` and `x-team` are the same"),
    "unset": ({"prompt": "x", "temperature": {"$unset": True}}, "cannot be unset in one call"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_a_call_that_could_not_be_sent_is_refused_in_words(
    given: dict[str, Any], said: str
) -> None:
    lm = lmconf.LM("openai/gpt-4o-mini", api_key="", headers={"X-Team": "a"})
    for ask in (lm, lm.ask, lm.stream, lm.astream):
        with pytest.raises((lmconf.UsageError, lmconf.ProfileError), match=said):
            ask(**given)
    with pytest.raises((lmconf.UsageError, lmconf.ProfileError), match=said):
        asyncio.run(lm.acall(**given))


def test_what_fits_is_let_through() -> None:
    from lmconf.runtime.messages import as_messages

    talk: list[dict[str, Any]] = [
        USER,
        CALLING,
        result(tool_call_id="c1"),
        {"role": "assistant", "content": "Sunny."},
    ]
    assert as_messages(None, talk) == talk
    lm = lmconf.LM("openai/gpt-4o-mini", api_key="")
    parts = lm._parts()
    search = {"type": "web_search_20250305", "name": "web_search"}
    spec = parts.spec_of({"tools": [WEATHER, search], "tool_choice": choice("weather")})
    assert spec.tools is not None
    assert len(spec.tools) == 2
    assert parts.spec_of({"tool_choice": choice("told in a later call")}).tool_choice is not None
