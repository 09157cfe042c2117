"""Mistakes made in Python are told when they are made, with what was meant."""

from __future__ import annotations

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
    with pytest.raises(lmconf.UsageError, match="an LM's name, not by int"):
        lmconf.load("openai")[wrong]


def test_the_name_of_one_lm_is_not_loaded_as_a_profile() -> None:
    with pytest.raises(lmconf.ProfileError, match=r"lmconf\.lm\('openai:large'\)"):
        lmconf.load("openai:large")


def test_a_variable_is_named_without_a_keyword() -> None:
    lm = lmconf.LM("openai/gpt-4o-mini", api_key=lmconf.Env("HOUSE_KEY"))
    assert lm.dump_state("minimal")["api_key"] == {"$env": "HOUSE_KEY"}
