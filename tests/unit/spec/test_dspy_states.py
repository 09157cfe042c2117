"""States of `dspy.LM`, read and written.

`OLD` has the keys of releases whose `dspy.LM` took `cache_in_memory`; `NEW` is what DSPy 3.4.1 wrote.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import lmconf
from lmconf.spec.state import StateWarning
from lmconf.trainers.specs import TrainSpec

OLD: dict[str, Any] = {
    "model": "openai/gpt-4o-mini",
    "model_type": "chat",
    "cache": True,
    "cache_in_memory": True,
    "num_retries": 8,
    "finetuning_model": None,
    "launch_kwargs": {},
    "train_kwargs": {},
    "temperature": 0.0,
    "max_tokens": 1000,
    "top_k": 5,
}
NEW: dict[str, Any] = {
    "_dspy_lm_class": "dspy.clients.lm.LM",
    "model": "anthropic/claude-3-opus-20240229",
    "model_type": "chat",
    "cache": False,
    "num_retries": 3,
    "temperature": None,
    "max_tokens": None,
    "finetuning_model": None,
    "launch_kwargs": {},
    "train_kwargs": {"n_epochs": 3},
}


def loaded(state: dict[str, Any]) -> lmconf.LM:
    made = lmconf.load_state(state)
    assert isinstance(made, lmconf.LM)
    return made


def test_an_old_state_loads_and_its_unknown_keys_go_to_extra() -> None:
    lm = loaded(OLD)
    assert (lm.spec.model, lm.spec.temperature, lm.spec.max_tokens) == (
        "openai/gpt-4o-mini",
        0.0,
        1000,
    )
    assert lm.spec.num_retries == 8
    assert lm.spec.extra == {"top_k": 5}
    assert lm.spec.cache.mode == "read_write"


def test_a_new_state_loads_with_null_for_what_is_left_to_the_provider() -> None:
    lm = loaded(NEW)
    assert lm.spec.temperature is None
    assert lm.spec.max_tokens is None
    assert lm.spec.cache.mode == "disabled"
    assert lm.spec.train_kwargs == TrainSpec(n_epochs=3)


def test_a_state_with_an_address_loads_and_says_at_the_call_that_its_key_is_missing() -> None:
    lm = loaded({**NEW, "model": "openai/m", "api_base": "https://llm.acme.example/v1"})
    assert lm.dump_state("minimal")["api_key"] == {"$given": "api_key"}
    with pytest.raises(lmconf.AuthenticationFailed, match="api_key"):
        lm("hello")


def test_launch_arguments_without_a_kind_are_kept_and_named() -> None:
    state = {**OLD, "launch_kwargs": {"port": 7501}}
    with pytest.warns(StateWarning, match="launch_kwargs"):
        lm = loaded(state)
    assert lm.spec.launch_kwargs is None
    assert lm.spec.provenance == {"dspy_launch_kwargs": {"port": 7501}}


def test_what_dspy_can_be_told_is_its_keyword_arguments() -> None:
    lm = lmconf.LM(
        "openai/gpt-4o-mini",
        temperature=0.9,
        max_tokens=300,
        stop=["{{ end }}"],
        timeout="5s",
        cache=False,
        num_retries=2,
        extra={"top_k": 3},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = lm.dump_state(format="dspy")
    assert state == {
        "model": "openai/gpt-4o-mini",
        "model_type": "chat",
        "temperature": 0.9,
        "max_tokens": 300,
        "stop": ["{{ end }}"],
        "timeout": 5.0,
        "cache": False,
        "num_retries": 2,
        "top_k": 3,
    }


def test_what_dspy_cannot_be_told_is_named_and_no_reference_is_written() -> None:
    lm = lmconf.LM(
        "openai/m",
        api_base="https://llm.acme.example/v1",
        api_key={"$env": "ACME_KEY"},
        cache={"ttl": "7d"},
        headers={"X-Team": {"$env": "TEAM"}},
        extra={"auth_token": lmconf.Env("TOKEN"), "top_k": 3},
        limits={"rpm": 3},
        deadline="1min",
    )
    with pytest.warns(StateWarning) as said:
        state = lm.dump_state(format="dspy")
    named = str(said[0].message)
    for lost in ("cache", "api_key", "headers", "limits", "deadline", "extra.auth_token"):
        assert lost in named
    assert state["top_k"] == 3
    assert "ACME_KEY" not in str(state)
    assert {"api_key", "headers", "auth_token"}.isdisjoint(state)


def test_a_server_without_a_key_stays_one() -> None:
    lm = lmconf.LM("ollama_chat/llama3.2", api_base="http://localhost:11434", api_key="")
    assert lm.dump_state(format="dspy")["api_key"] == ""


EMPTY: dict[str, Any] = {name: {} for name in ("launch_kwargs", "train_kwargs", "extra", "headers")}


@pytest.mark.parametrize("state", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize("provider", [None, "sglang"])
def test_empty_blocks_of_a_state_say_nothing(state: dict[str, Any], provider: str | None) -> None:
    """`launch_kwargs: {}` is what every `dspy.LM` writes, whoever serves its model."""
    address = {"api_base": "https://llm.acme.example/v1"} if provider is None else {}
    said = {**state, "model": "openai/m", "train_kwargs": {}, "provider": provider, **address}
    lm = loaded({**said, **EMPTY})
    assert lm == loaded({key: None if value == {} else value for key, value in said.items()})
    assert (lm.spec.launch_kwargs is None) is (provider is None)
    for style in ("resolved", "minimal"):
        dumped = lm.dump_state(style)
        assert loaded(dumped) == lm
        assert loaded(dumped).dump_state(style) == dumped


def test_what_a_state_holds_makes_an_lm_in_code_without_a_server() -> None:
    said = {key: value for key, value in OLD.items() if key != "top_k"}
    lm = lmconf.LM(**said, api_base="http://127.0.0.1:9/v1", api_key="")
    assert lm.spec.launch_kwargs is None
    assert loaded(lm.dump_state()) == lm
