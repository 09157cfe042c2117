"""What an LM keeps of its secrets and blocks when it is changed, or asked for one call."""

from __future__ import annotations

from typing import Any

import pytest

from lmconf.caches.specs import DiskStore
from lmconf.document import read_document, write
from lmconf.errors import ProfileError, UsageError
from lmconf.loader.api import load
from lmconf.secrets.references import Env, Given
from lmconf.spec.build import change_lm, make_from_stated, make_lm, spec_for_call
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.state import dump_lm

GPT = "openai/gpt-4o-mini"


def refused(lm: CompiledLM, **settings: object) -> set[str]:
    with pytest.raises(ProfileError) as caught:
        change_lm(lm, settings)
    return {".".join(map(str, each.path)) for each in caught.value.diagnostics}


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a token": "one"}, {"a_token": "two"}),
        ({"a.token": "one"}, {"a": {"token": "two"}}),
        ({"a": {"token": "one"}}, {"a.token": "two"}),
        ({"ä-token": "one"}, {"ö-token": "two"}),
    ],
)
def test_a_secret_of_a_copy_never_takes_the_place_of_another(first: Any, second: Any) -> None:
    lm = change_lm(make_lm({"model": GPT, "extra": first}), {"extra": second})
    assert sorted(lm.given.values()) == ["one", "two"]


@pytest.mark.parametrize("name", ["token", "a token", "a.token"])
def test_a_secret_that_a_copy_states_anew_replaces_the_old_one(name: str) -> None:
    lm = make_lm({"model": GPT, "api_key": "old", "extra": {name: "old"}})
    new = change_lm(lm, {"api_key": "new", "extra": {name: "new"}})
    assert [*new.given.values()] == ["new", "new"]
    assert new.spec == lm.spec


def test_a_secret_that_a_copy_drops_is_forgotten() -> None:
    lm = make_lm({"model": GPT, "api_key": "sk", "headers": {"X-Api-Key": "h"}})
    assert change_lm(lm, {"api_key": Env(name="K")}).given == {"headers.X-Api-Key": "h"}
    assert change_lm(lm, {"api_key": ""}).given == {"headers.X-Api-Key": "h"}
    assert change_lm(lm, {"api_key": None}).spec.api_key == Env(name="OPENAI_API_KEY")


def test_a_secrets_place_in_the_state_loads_again_whatever_it_is_called() -> None:
    lm = make_lm(
        {"model": GPT, "extra": {"ein Paß-token": "s", "list": [{"x": {"password": "t"}}]}}
    )
    state = dump_lm(lm)
    assert state["extra"]["list"] == [{"x": {"password": {"$given": "extra.list.0.x.password"}}}]
    assert load(state).lm.spec == lm.spec
    assert read_document(write(state), "state").root.get("extra") is not None


# --- another provider ---------------------------------------------------------------------------


def test_a_key_may_go_to_another_model_of_its_provider() -> None:
    lm = make_lm({"model": GPT, "api_key": "sk", "headers": {"X-Team": "t"}})
    other = change_lm(lm, {"model": "openai/gpt-4.1"})
    assert other.spec.api_key == Given(name="api_key")
    assert other.given == {"api_key": "sk"}


def test_what_is_restated_beside_the_new_model_is_no_crossing() -> None:
    lm = make_lm({"model": GPT, "api_key": "sk", "headers": {"X-Team": "t"}})
    assert refused(lm, model="groq/m") == {"api_key", "headers.X-Team"}
    assert refused(lm, model="groq/m", api_key="gk") == {"headers.X-Team"}
    other = change_lm(lm, {"model": "groq/m", "api_key": "gk", "headers": {"X-Team": "g"}})
    assert (other.given, other.spec.headers) == ({"api_key": "gk"}, {"X-Team": "g"})


def test_a_usual_key_that_nobody_stated_becomes_that_of_the_new_provider() -> None:
    other = change_lm(make_lm({"model": GPT}), {"model": "groq/m"})
    assert other.spec.api_key == Env(name="GROQ_API_KEY")


def test_what_a_family_decided_is_decided_anew_and_what_was_stated_is_judged() -> None:
    other = change_lm(make_lm({"model": GPT}), {"model": "openai/o3-mini"}).spec
    assert (other.temperature, other.max_tokens) == (1.0, 16_000)
    back = change_lm(make_lm({"model": "openai/o3-mini"}), {"model": GPT}).spec
    assert (back.temperature, back.max_tokens) == (0.0, 1000)
    assert refused(make_lm({"model": GPT, "temperature": 0.2}), model="openai/o3") == {
        "temperature"
    }


# --- blocks -------------------------------------------------------------------------------------

BLOCKS = {
    "model": GPT,
    "cache": {"namespace": "team", "ttl": "7d", "store": {"backend": "disk", "path": "/srv/c"}},
    "retry": {"initial": "1s", "max": "9s"},
    "timeout": {"connect": "3s"},
    "headers": {"X-Team": "t", "X-Api-Key": "secret"},
    "extra": {"top_k": 40},
    "metadata": {"run": "1"},
}


def test_a_copy_keeps_what_its_blocks_do_not_say() -> None:
    new = change_lm(
        make_lm(BLOCKS),
        {"cache": {"mode": "refresh"}, "retry": {"max": 5}, "headers": {"X-A": "b"}},
    ).spec
    assert (new.cache.mode, new.cache.namespace, new.cache.ttl) == ("refresh", "team", 604800.0)
    assert (new.retry.initial, new.retry.max) == (1.0, 5.0)
    assert new.headers == {
        "X-Team": "t",
        "X-Api-Key": Given(name="headers.X-Api-Key"),
        "X-A": "b",
    }


def test_a_store_of_another_kind_takes_nothing_over() -> None:
    memory = {"store": {"backend": "memory", "max_entries": 5}}
    new = change_lm(make_lm(BLOCKS), {"cache": memory}).spec
    assert getattr(new.cache.store, "max_entries", None) == 5
    assert new.cache.namespace == "team"


def test_a_call_keeps_where_its_answers_belong() -> None:
    """Otherwise accounts that a namespace keeps apart would meet in one call's cache."""
    spec = spec_for_call(make_lm(BLOCKS), {"cache": {"mode": "refresh"}})
    assert spec.cache.mode == "refresh"
    assert (spec.cache.namespace, spec.cache.ttl) == ("team", 604800.0)
    assert spec.cache.store == DiskStore(path="/srv/c")
    assert spec_for_call(make_lm(BLOCKS), {"cache": True}).cache == make_lm(BLOCKS).spec.cache
    assert spec_for_call(make_lm(BLOCKS), {"cache": False}).cache.namespace == "team"


def test_a_call_adds_headers_and_times_to_those_of_its_lm() -> None:
    spec = spec_for_call(
        make_lm(BLOCKS), {"headers": {"X-Run": "7"}, "timeout": "5s", "retry": {"max": 2}}
    )
    assert {*spec.headers} == {"X-Team", "X-Api-Key", "X-Run"}
    assert (spec.timeout.total, spec.timeout.connect) == (5.0, 3.0)
    assert (spec.retry.initial, spec.retry.max) == (1.0, 2.0)


def test_what_goes_into_the_body_is_the_calls_own() -> None:
    """Two schemas of an answer, merged, would be neither."""
    lm = make_lm({**BLOCKS, "response_format": {"type": "json_schema", "json_schema": {"a": 1}}})
    spec = spec_for_call(lm, {"extra": {"min_p": 1}, "response_format": {"type": "json_object"}})
    assert spec.extra == {"min_p": 1}
    assert spec.response_format == {"type": "json_object"}


def test_a_call_takes_no_secret() -> None:
    lm = make_lm(BLOCKS)
    with pytest.raises(UsageError, match=r"headers\.Authorization.*lm\.copy"):
        spec_for_call(lm, {"headers": {"Authorization": "Bearer x"}})
    with pytest.raises(UsageError, match=r"extra\.token"):
        spec_for_call(lm, {"extra": {"token": "x"}})
    with pytest.raises(ProfileError, match=r"lmconf\.Env\(…\)"):
        spec_for_call(lm, {"headers": {"Authorization": {"$env": "K"}}})
    spec = spec_for_call(lm, {"headers": {"Authorization": Env(name="K")}})
    assert spec.headers["Authorization"] == Env(name="K")


def test_a_call_leaves_its_lm_as_it_was() -> None:
    lm = make_lm(BLOCKS)
    before = dump_lm(lm)
    for settings in ({"headers": {"A": "b"}}, {"cache": False}, {"stop": ["x"]}):
        assert spec_for_call(lm, settings) == spec_for_call(lm, settings)
    assert dump_lm(lm) == before


def test_a_call_may_leave_a_value_to_the_provider() -> None:
    spec = spec_for_call(
        make_from_stated({"model": GPT}), {"temperature": None, "max_tokens": None}
    )
    assert (spec.temperature, spec.max_tokens) == (None, None)


# --- callbacks ----------------------------------------------------------------------------------


class Heard:
    """A callback that is no document's to say."""


def test_callbacks_of_a_copy_replace_those_of_the_lm() -> None:
    first, second = Heard(), Heard()
    lm = make_lm({"model": GPT, "callbacks": [first, {"use": "log"}]})
    assert change_lm(lm, {"temperature": 0.5}).live == (first,)
    other = change_lm(lm, {"callbacks": [second]})
    assert (other.live, other.spec.callbacks) == ((second,), ())
    none = change_lm(lm, {"callbacks": None})
    assert (none.live, none.spec.callbacks) == ((), ())


def test_a_copy_may_import_what_its_lm_may() -> None:
    named = {"model": GPT, "callbacks": [{"use": "acme.hooks:Meter"}]}
    loaded = load(named, allow_imports=["acme.hooks"]).lm
    assert change_lm(loaded._compiled, {"seed": 1}).allow_imports == {"acme.hooks"}
    assert change_lm(make_lm(named), {"seed": 1}).allow_imports == frozenset()
