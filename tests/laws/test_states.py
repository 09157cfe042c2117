"""Law 1: loading what was dumped gives the same thing, and dumping it again the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

import lmconf
from lmconf import testing
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompiledProfile, compile_documents
from lmconf.document import Document, read_document, write
from lmconf.errors import ProfileError
from lmconf.providers.catalogue import provider_of
from lmconf.providers.routes import NOT_IN_RESPONSES, is_foreign
from lmconf.schema import Either, Json, MapOf, Record, Shape
from lmconf.schema.declaration import fields
from lmconf.spec.build import CALL_FIELDS, change_lm, make_from_stated, make_lm, spec_for_call
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LM, LMSpec
from lmconf.spec.profile import MANY_LMS
from lmconf.spec.state import Style, dump_lm, dump_profile
from lmconf.testing.blocks import with_empty_blocks as emptied

slow_to_draw = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
STYLES: tuple[Style, ...] = ("resolved", "minimal")


def compiled(text: str, path: str | None = None) -> CompiledProfile:
    """Return the profile that the document `text` is, when it is right."""
    document: Document = read_document(text, "state.yaml", path=path)
    outcome = compile_documents(
        [document],
        CompilerInputs(
            name="state",
            environment={"TEAM": "t", "AWS_REGION_NAME": "eu"},
            callback_names=testing.NAMES,
            transport_names=testing.NAMES,
            allow_imports=testing.IMPORTS,
        ),
    )
    if outcome.profile is None:
        raise ProfileError(outcome.diagnostics)
    return outcome.profile


def one(text: str, path: str | None = None) -> CompiledLM:
    return compiled(text, path).lms["main"]


def assert_lm_comes_back(lm: CompiledLM, folder: str = "/srv/elsewhere") -> None:
    for style in STYLES:
        text = write(dump_lm(lm, style))
        again = one(text, f"{folder}/state.yaml")
        assert again.spec == lm.spec
        assert write(dump_lm(again, style)) == text


@given(testing.settings())
@slow_to_draw
def test_an_lm_comes_back_from_its_state(said: dict[str, Any]) -> None:
    assert_lm_comes_back(make_from_stated(said))


@given(testing.profiles())
@slow_to_draw
def test_a_profile_and_its_lms_come_back_from_their_states(document: dict[str, Any]) -> None:
    profile = compiled(write(document), "/srv/profiles/support.yaml")
    for style in STYLES:
        text = write(dump_profile(profile.spec, profile.stated, style))
        again = compiled(text, "/srv/elsewhere/state.yaml")
        assert again.spec == profile.spec
        assert {name: lm.spec for name, lm in again.lms.items()} == {
            name: lm.spec for name, lm in profile.lms.items()
        }
        assert write(dump_profile(again.spec, again.stated, style)) == text
    for lm in profile.lms.values():
        assert_lm_comes_back(lm)


SECRETS: dict[str, st.SearchStrategy[Any]] = {
    "api_key": st.sampled_from(["sk-literal", ""]),
    "headers": st.just({"X-Api-Key": "literal", "plain": "{{ x }}"}),
    "extra": st.just({"nested": [{"password": "literal"}], "a b token": "literal"}),
    "train_kwargs": st.just({"use": "local", "env": {"HF_TOKEN": "literal"}}),
    "temperature": st.none() | st.just(0.7),
    "timeout": st.none() | st.just(5) | st.just("20s"),
    "stop": st.none() | st.just("a") | st.just(["{{", "b"]),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "cache": st.booleans() | st.just({"store": {"backend": "disk", "path": "here"}}),
}


@given(st.fixed_dictionaries({}, optional=SECRETS))
def test_an_lm_made_in_code_comes_back(settings: dict[str, Any]) -> None:
    lm = make_lm({"model": "openai/gpt-4o-mini", **settings})
    assert "literal" not in write(dump_lm(lm)) + repr(lm)
    assert_lm_comes_back(lm)


@given(testing.settings(), st.fixed_dictionaries({}, optional=SECRETS))
@slow_to_draw
def test_a_changed_lm_comes_back(said: dict[str, Any], settings: dict[str, Any]) -> None:
    for name in ("temperature", "train_kwargs"):
        settings.pop(name, None)  # what a family's rule or a dollar word may refuse
    if "azure_ad_token" in said:
        settings.pop("api_key", None)
    if "deadline" in said:
        settings.pop("timeout", None)  # it may be longer
    if "pool" in said:  # where and how requests are sent, its members say
        settings = {name: value for name, value in settings.items() if name in CALL_FIELDS}
        settings.pop("headers", None)
    lm = make_from_stated(said)
    if is_foreign(provider_of(lm.spec.model)[0], lm.spec.model_type):
        settings.pop("extra", None)  # which LiteLLM's own clients are not given
    if said.get("model_type") == "responses":
        settings = {name: value for name, value in settings.items() if name not in NOT_IN_RESPONSES}
    assert_lm_comes_back(change_lm(lm, settings))


@given(testing.settings(), st.sampled_from(["openai/gpt-4.1", "openai/o3", "anthropic/claude-x"]))
@slow_to_draw
def test_an_lm_with_another_model_comes_back_or_is_refused(
    said: dict[str, Any], model: str
) -> None:
    try:
        changed = change_lm(make_from_stated(said), {"model": model})
    except ProfileError as error:
        assert error.diagnostics
    else:
        assert changed.spec.model == model
        assert_lm_comes_back(changed)


@given(testing.settings().flatmap(lambda said: st.tuples(st.just(said), emptied(LM, said))))
@slow_to_draw
def test_an_empty_block_of_an_lm_is_the_block_left_out(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    said, with_empty = (make_from_stated(each) for each in both)
    assert with_empty.spec == said.spec
    for style in STYLES:
        assert write(dump_lm(with_empty, style)) == write(dump_lm(said, style))
    assert_lm_comes_back(with_empty)


@given(testing.profiles().flatmap(lambda said: st.tuples(st.just(said), emptied(MANY_LMS, said))))
@slow_to_draw
def test_an_empty_block_of_a_profile_is_the_block_left_out(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    said, with_empty = (compiled(write(each), "/srv/profiles/p.yaml") for each in both)
    assert with_empty.spec == said.spec
    for style in STYLES:
        states = [dump_profile(each.spec, each.stated, style) for each in (with_empty, said)]
        assert write(states[0]) == write(states[1])


def block_fields(type_: type[Struct], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each block that an LM's document may hold, blocks in blocks included."""
    for name, field in fields(type_).items():
        if not field.shape.takes_block() or field.required:
            continue
        yield (*path, name)
        for option in field.shape.options if isinstance(field.shape, Either) else (field.shape,):
            if isinstance(option, Record):
                yield from block_fields(option.type, (*path, name))


BLOCKS = sorted(block_fields(LMSpec))
SHAPES: dict[tuple[str, ...], Shape] = {
    (name,): field.shape.choose({}) for name, field in fields(LMSpec).items()
}


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    for step in reversed(path):
        value = {step: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("path", BLOCKS, ids=".".join)
def test_an_empty_block_says_nothing_in_a_file_in_code_in_a_copy_and_in_an_override(
    path: tuple[str, ...],
) -> None:
    plain = make_lm({"model": "openai/x"})
    empties: list[dict[str, Any]] = [{}, {"$value": {}}]
    for empty in empties:
        said = nested(path, empty)
        # In code, what a request holds as data knows no dollar words.
        if not (empty and isinstance(SHAPES.get(path), Json | MapOf)):
            assert make_lm({"model": "openai/x", **said}).stated == plain.stated
            assert change_lm(plain, said).stated == plain.stated
        assert one(write({"model": "openai/x", **said})).stated == plain.stated
    assert spec_for_call(plain, {}) is plain.spec
    if path[0] in CALL_FIELDS:
        assert spec_for_call(plain, nested(path, {})) is plain.spec
    found = lmconf.load({"model": "openai/x"}, overrides={".".join(path): {}})
    assert found.dump_state("minimal") == lmconf.load({"model": "openai/x"}).dump_state("minimal")


@pytest.mark.parametrize("path", BLOCKS, ids=".".join)
def test_an_empty_block_changes_nothing_of_what_is_inherited(path: tuple[str, ...]) -> None:
    whole: dict[str, Any] = {
        "model": "openai/x",
        "provider": "sglang",
        "cache": False,
        "history": False,
        "retry": {"breaker": False, "max": 3},
        "timeout": 5,
        "transport": "acme",
        "limits": {"rpm": 3},
        "budget": {"tokens": 5},
        "pricing": {"input": 1, "output": 2},
        "headers": {"X-Team": "a"},
        "tool_choice": "auto",
        "logit_bias": None,
        "extra": {"top_k": 3},
        "train_kwargs": {"use": "local", "lora": 8},
        "fallbacks": [{"model": "openai/y"}],
        "callbacks": [{"use": "log"}],
    }
    document: dict[str, Any] = {"defaults": whole, "lms": {"a": {}, "b": nested(path, {})}}
    profile = compiled(write(document))
    assert profile.lms["a"].spec == profile.lms["b"].spec
    assert profile.lms["a"].stated == profile.lms["b"].stated
    lm = make_from_stated(whole)
    assert change_lm(lm, nested(path, {})).spec == lm.spec


def test_a_shorthand_that_says_the_usual_is_no_empty_block() -> None:
    """`true` overrules an inherited `false`; an empty block would not."""
    off: dict[str, Any] = {"cache": False, "history": False, "retry": {"breaker": False}}
    on: dict[str, Any] = {"cache": True, "history": True, "retry": {"breaker": True}}
    for lower, upper in ((off, on), (on, off)):
        lm = compiled(write({"defaults": lower, "lms": {"a": {"model": "openai/x", **upper}}}))
        assert lm.lms["a"].spec == make_from_stated({"model": "openai/x", **upper}).spec


def test_a_block_that_became_empty_by_what_was_unset_in_it_is_left_out() -> None:
    lower: dict[str, Any] = {"limits": {"rpm": 3}, "launch_kwargs": {"use": "sglang", "port": 7501}}
    unset: dict[str, Any] = {"$unset": True}
    upper: dict[str, Any] = {
        "limits": {"rpm": unset},
        "launch_kwargs": {"use": unset, "port": unset},
    }
    profile = compiled(
        write(
            {
                "defaults": {"model": "openai/x", **lower},
                "lms": {"a": upper},
                "budget": {"tokens": unset},
            }
        )
    )
    lm = profile.lms["a"]
    assert (lm.spec.limits, lm.spec.launch_kwargs, profile.spec.budget) == (None, None, None)
    assert_lm_comes_back(lm)
    assert change_lm(make_lm({"model": "openai/x", **lower}), upper).spec.limits is None


@pytest.mark.parametrize("name", ["stop", "tools", "fallbacks", "callbacks", "fallback_on"])
def test_an_empty_list_is_none_over_an_inherited_one_and_comes_back(name: str) -> None:
    """Lists replace: unlike an empty block, an empty list says something."""
    tool = {"type": "function", "function": {"name": "f"}}
    inherited: dict[str, Any] = {
        "stop": ["a"],
        "tools": [tool],
        "fallbacks": [{"model": "openai/y"}],
        "callbacks": [{"use": "log"}],
        "fallback_on": ["timeout"],
    }
    document: dict[str, Any] = {
        "defaults": inherited,
        "lms": {"a": {"model": "openai/x", name: []}},
    }
    lm = compiled(write(document)).lms["a"]
    assert getattr(lm.spec, name) == ()
    assert_lm_comes_back(lm)


def test_names_and_free_data_keep_their_empty_mappings() -> None:
    """A name is no field: an LM that states nothing is there, with what it inherits."""
    profile = compiled(
        write({"defaults": {"model": "openai/x", "extra": {"a": {}, "b": [{}]}}, "lms": {"a": {}}})
    )
    assert profile.lms["a"].spec.extra == {"a": {}, "b": ({},)}
    assert_lm_comes_back(profile.lms["a"])


def test_a_relative_path_stays_what_it_meant(tmp_path: Path) -> None:
    """A path belongs to the file that states it; one made in code to the working folder."""
    text = "model: openai/x\ncache: {store: {backend: disk, path: ../cache}}\n"
    lm = one(text, str(tmp_path / "profiles" / "p.yaml"))
    store = lm.spec.cache.store
    assert store is not None
    assert not isinstance(store, str)
    assert getattr(store, "path", None) == str(tmp_path / "cache")
    assert_lm_comes_back(lm)
