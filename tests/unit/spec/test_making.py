"""LMs made in code, changed, and asked for one call."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lmconf.caches.specs import DiskStore
from lmconf.errors import ProfileError, UsageError
from lmconf.retries.specs import RetryPolicy
from lmconf.secrets.references import Env, Given, Public
from lmconf.spec.build import change_lm, make_from_stated, make_lm, spec_for_call
from lmconf.spec.policies import TimeoutSpec

GPT = "openai/gpt-4o-mini"


def test_secrets_in_code_go_beside_the_spec() -> None:
    lm = make_lm({"model": GPT, "api_key": "sk", "headers": {"X-Api-Key": "h", "X-Team": "t"}})
    assert lm.given == {"api_key": "sk", "headers.X-Api-Key": "h"}
    assert lm.spec.api_key == Given(name="api_key")
    assert lm.spec.headers == {"X-Api-Key": Given(name="headers.X-Api-Key"), "X-Team": "t"}


def test_two_secrets_never_share_a_name() -> None:
    lm = make_lm({"model": GPT, "extra": {"a token": "one", "a_token": "two"}})
    assert sorted(lm.given.values()) == ["one", "two"]
    assert len(lm.given) == 2


@pytest.mark.parametrize("key", [Env(name="K"), {"$env": "K"}])
def test_a_reference_in_code_stays_one(key: Any) -> None:
    lm = make_lm({"model": GPT, "api_key": key})
    assert lm.spec.api_key == Env(name="K")
    assert lm.given == {}


def test_a_public_value_and_an_empty_key_are_no_secrets() -> None:
    lm = make_lm({"model": GPT, "api_key": "", "extra": {"pin_token": Public("x")}})
    assert (lm.spec.api_key, lm.given) == ("", {})
    assert lm.spec.extra == {"pin_token": Public("x")}


def test_a_reference_made_wrongly_in_code_is_refused() -> None:
    with pytest.raises(ProfileError):
        make_lm({"model": GPT, "api_key": Env(name="not a name")})


def test_none_means_left_out_unless_null_has_a_meaning() -> None:
    spec = make_lm({"model": GPT, "timeout": None, "retry": None, "temperature": None}).spec
    assert spec.timeout == TimeoutSpec()
    assert spec.retry == RetryPolicy()
    assert spec.temperature is None


def test_shorthands_and_specs_may_stand_for_blocks() -> None:
    spec = make_lm({"model": GPT, "cache": False, "timeout": "5s", "stop": "x"}).spec
    assert (spec.cache.mode, spec.timeout.total, spec.stop) == ("disabled", 5.0, ("x",))
    given = make_lm({"model": GPT, "retry": RetryPolicy(max=3.0)}).spec
    assert given.retry == RetryPolicy(max=3.0)
    wrapped = make_lm({"model": GPT, "cache": {"$value": False}, "stop": {"$value": ["{{"]}}).spec
    assert (wrapped.cache.mode, wrapped.stop) == ("disabled", ("{{",))


def test_objects_as_callbacks_live_beside_the_spec() -> None:
    def hook() -> None: ...

    lm = make_lm({"model": GPT, "callbacks": [hook, {"use": "meter"}]})
    assert lm.live == (hook,)
    assert len(lm.spec.callbacks) == 1
    assert change_lm(lm, {"n": 2}).live == (hook,)
    assert change_lm(lm, {"callbacks": []}).live == ()


def test_a_relative_path_in_code_starts_at_the_working_folder() -> None:
    lm = make_lm({"model": GPT, "cache": {"store": {"backend": "disk", "path": "a/../b"}}})
    assert lm.spec.cache.store == DiskStore(path=os.path.join(os.getcwd(), "b"))  # noqa: PTH109, PTH118


@pytest.mark.parametrize(
    "settings", [{"extra": {1: 2}}, {"extra": {"a": {1}}}, {"extra": {"a": b"x"}}]
)
def test_what_no_document_can_hold_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_lm({"model": GPT, **settings})


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(UsageError, match="nested"):
        make_lm({"model": GPT, "extra": {"a": deep}})


# --- change -------------------------------------------------------------------------------------


def test_another_model_resets_what_belongs_to_the_model() -> None:
    lm = make_lm(
        {
            "model": "openai/a",
            "base_model": "openai/gpt-4o",
            "pricing": {"input": 1, "output": 2},
            "finetuning_model": "openai/f",
            "train_kwargs": {"n_epochs": 3},
            "seed": 4,
        }
    )
    other = change_lm(lm, {"model": "openai/b"}).spec
    assert (other.base_model, other.pricing, other.finetuning_model) == (None, None, None)
    assert (other.train_kwargs, other.seed) == (None, 4)
    same = change_lm(lm, {"model": "openai/a"}).spec
    assert same == lm.spec


def test_a_launched_server_does_not_follow_to_another_model() -> None:
    lm = make_lm({"model": "openai/a", "launch_kwargs": {"use": "sglang", "port": 7}})
    assert change_lm(lm, {"model": "openai/b"}).spec.launch_kwargs is None


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "sk"},
        {"api_key": {"$env": "K"}},
        {"api_key": "", "api_base": "https://x.example"},
        {"headers": {"X-Team": "t"}},
    ],
)
def test_what_belongs_to_a_provider_must_be_restated_for_another(settings: Any) -> None:
    lm = make_lm({"model": "openai/a", **settings})
    with pytest.raises(ProfileError) as caught:
        change_lm(lm, {"model": "groq/a"})
    assert {each.code for each in caught.value.diagnostics} == {"credential-crosses"}


def test_a_copy_for_elsewhere_leaves_behind_what_is_not_for_it() -> None:
    said = {
        "api_key": {"$env": "K"},
        "api_base": "https://x.example",
        "headers": {"X-Team": {"$env": "T"}},
        "extra": {"top_k": 4, "login": {"token": Env("T"), "as": "me"}, "tokens": [Env("T")]},
        "metadata": {"tenant": Env("T"), "run": "one"},
    }
    lm = make_lm({"model": "openai/a", **said})
    there = {"api_base": "https://y.example", "api_key": ""}
    with pytest.raises(ProfileError, match="credential-crosses"):
        change_lm(lm, there)
    spec = change_lm(lm, there, elsewhere=True).spec
    assert (spec.extra, spec.metadata) == ({"top_k": 4, "login": {"as": "me"}}, {"run": "one"})
    assert (spec.api_base, spec.api_key, spec.headers) == (*there.values(), {})


def test_maps_merge_lists_replace_and_operators_apply() -> None:
    lm = make_lm({"model": GPT, "stop": ["a"], "extra": {"x": {"y": 1}}, "seed": 1})
    changed = change_lm(
        lm, {"stop": {"$append": ["b"]}, "extra": {"x": {"z": 2}}, "seed": {"$unset": True}}
    ).spec
    assert changed.stop == ("a", "b")
    assert changed.extra == {"x": {"y": 1, "z": 2}}
    assert changed.seed is None
    assert change_lm(lm, {"stop": ["c"]}).spec.stop == ("c",)


# --- one call -----------------------------------------------------------------------------------


def test_a_call_changes_its_own_settings_and_nothing_else() -> None:
    lm = make_lm({"model": GPT, "stop": ["a"], "seed": 1})
    assert spec_for_call(lm, {"temperature": 0.5}).temperature == 0.5
    assert spec_for_call(lm, {"stop": ["b"]}).stop == ("b",)
    assert spec_for_call(lm, {"cache": False}).cache.mode == "disabled"
    assert spec_for_call(lm, {}) == lm.spec
    assert lm.spec.temperature == 0.0


@pytest.mark.parametrize("name", ["model", "api_base", "api_key", "callbacks", "launch_kwargs"])
def test_a_call_cannot_change_what_belongs_to_the_lm(name: str) -> None:
    with pytest.raises(UsageError, match=f"lm.copy\\({name}=…\\)"):
        spec_for_call(make_lm({"model": GPT}), {name: "x"})


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"temprature": 1}, "unknown-key"),
        ({"temperature": "x"}, "wrong-type"),
        ({"temperature": 3}, "out-of-range"),
        ({"top_logprobs": 2}, "contradiction"),
    ],
)
def test_a_call_is_checked_like_a_file(settings: dict[str, Any], code: str) -> None:
    with pytest.raises(ProfileError) as caught:
        spec_for_call(make_lm({"model": GPT}), settings)
    assert [each.code for each in caught.value.diagnostics] == [code]


def test_a_call_keeps_to_its_models_family() -> None:
    with pytest.raises(ProfileError, match="family-rule"):
        spec_for_call(make_lm({"model": "openai/o3"}), {"temperature": 0.2})


def test_a_state_is_not_a_place_for_literal_secrets() -> None:
    with pytest.raises(ProfileError, match="literal-secret"):
        make_from_stated({"model": GPT, "api_key": "sk"})
