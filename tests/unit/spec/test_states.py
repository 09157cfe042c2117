"""States in DSPy's form: old and new ones load, and what could not be carried is named."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from lmconf.secrets.references import Given
from lmconf.spec.build import make_from_stated, make_lm
from lmconf.spec.state import StateWarning, dump_lm, from_dspy, is_dspy_state

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
}
NEW: dict[str, Any] = {
    "_dspy_lm_class": "dspy.clients.lm.LM",
    "model": "openai/gpt-4o-mini",
    "model_type": "chat",
    "cache": True,
    "num_retries": 3,
    "temperature": None,
    "max_tokens": None,
    "finetuning_model": None,
    "launch_kwargs": {},
    "train_kwargs": {},
}


@pytest.mark.parametrize("state", [OLD, NEW, {**OLD, "api_base": "http://localhost:1"}])
def test_a_dspy_state_is_known_as_one(state: dict[str, Any]) -> None:
    assert is_dspy_state(state)
    assert not is_dspy_state({**state, "lmconf": 1})


def test_an_lmconf_document_is_no_dspy_state() -> None:
    assert not is_dspy_state({"model": "openai/x", "cache": True})


def test_an_old_state_loads_as_it_stands() -> None:
    spec = make_from_stated(from_dspy(OLD)).spec
    assert (spec.temperature, spec.max_tokens, spec.num_retries) == (0.0, 1000, 8)
    assert spec == make_lm({"model": "openai/gpt-4o-mini"}).spec


def test_a_new_state_keeps_its_nulls() -> None:
    spec = make_from_stated(from_dspy(NEW)).spec
    assert (spec.temperature, spec.max_tokens, spec.num_retries) == (None, None, 3)


def test_unknown_keys_go_to_extra_and_known_ones_to_their_fields() -> None:
    spec = make_from_stated(from_dspy({**OLD, "top_k": 5, "stop": ["x"], "min_p": None})).spec
    assert spec.extra == {"top_k": 5}
    assert spec.stop == ("x",)


def test_a_custom_address_asks_for_the_key_that_no_state_holds() -> None:
    spec = make_from_stated(from_dspy({**NEW, "api_base": "https://llm.acme.example/v1"})).spec
    assert spec.api_key == Given(name="api_key")


def test_a_reasoning_models_limit_comes_under_either_name() -> None:
    state = {**NEW, "model": "openai/o3", "max_completion_tokens": 9000, "temperature": 1.0}
    del state["max_tokens"]
    assert make_from_stated(from_dspy(state)).spec.max_tokens == 9000


def test_what_a_dspy_state_says_in_vain_is_named() -> None:
    with pytest.warns(StateWarning, match="engine, launch_kwargs"):
        document = from_dspy({**NEW, "engine": "litellm", "launch_kwargs": {"port": 1}})
    assert "launch_kwargs" not in document
    assert document["provenance"] == {"dspy_launch_kwargs": {"port": 1}}


# The parameters of `dspy.LM` in 3.3 and 3.4; others are sent to the provider.
PARAMETERS = frozenset(
    "model model_type temperature max_tokens cache callbacks num_retries provider"
    " finetuning_model launch_kwargs train_kwargs use_developer_role".split()
)


def test_a_dspy_dump_holds_parameters_of_dspy_and_of_the_request_alone() -> None:
    lm = make_lm(
        {
            "model": "openai/gpt-4o-mini",
            "stop": ["x"],
            "extra": {"top_k": 4},
            "cache": False,
            "finetuning_model": "openai/f",
            "train_kwargs": {"n_epochs": 3},
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = dump_lm(lm, "dspy")
    assert state["cache"] is False
    assert state.keys() - PARAMETERS == {"stop", "top_k"}
    assert (state["stop"], state["top_k"]) == (["x"], 4)
    assert make_from_stated(from_dspy({**state, "launch_kwargs": {}})).spec == lm.spec


def test_what_dspy_cannot_be_told_is_named() -> None:
    lm = make_lm(
        {
            "model": "openai/gpt-4o-mini",
            "api_key": {"$env": "ANOTHER"},
            "headers": {"X": {"$env": "TEAM"}},
            "retry": {"max": "3s"},
            "endpoint": "here",
            "cache": {"ttl": "1d"},
            "callbacks": [{"use": "meter"}],
        }
    )
    with pytest.warns(StateWarning) as caught:
        state = dump_lm(lm, "dspy")
    (only,) = caught
    for name in ("api_key", "headers", "retry", "endpoint", "cache", "callbacks"):
        assert name in str(only.message)
    assert "ANOTHER" not in str(state)


def test_callbacks_that_are_objects_are_named_when_they_are_left_out() -> None:
    with pytest.warns(StateWarning, match="register_callback"):
        state = dump_lm(make_lm({"model": "openai/x", "callbacks": [object()]}))
    assert "callbacks" not in state
