"""Law 1: loading what was dumped gives the same thing, and dumping it again the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmconf import testing
from lmconf.compiling.inputs import Inputs
from lmconf.compiling.pipeline import CompiledProfile, compile_documents
from lmconf.document import Document, read, write
from lmconf.errors import ProfileError
from lmconf.profile.compiled import Compiled
from lmconf.profile.making import CALL_FIELDS, change, make, make_stated
from lmconf.profile.state import Style, dump_lm, dump_profile
from lmconf.transports.routes import NOT_IN_RESPONSES

slow_to_draw = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
STYLES: tuple[Style, ...] = ("resolved", "minimal")


def compiled(text: str, path: str | None = None) -> CompiledProfile:
    """Return the profile that the document `text` is, when it is right."""
    document: Document = read(text, "state.yaml", path=path)
    outcome = compile_documents(
        [document],
        Inputs(
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


def one(text: str, path: str | None = None) -> Compiled:
    return compiled(text, path).lms["main"]


def assert_lm_comes_back(lm: Compiled, folder: str = "/srv/elsewhere") -> None:
    for style in STYLES:
        text = write(dump_lm(lm, style))
        again = one(text, f"{folder}/state.yaml")
        assert again.spec == lm.spec
        assert write(dump_lm(again, style)) == text


@given(testing.settings())
@slow_to_draw
def test_an_lm_comes_back_from_its_state(said: dict[str, Any]) -> None:
    assert_lm_comes_back(make_stated(said))


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
    lm = make({"model": "openai/gpt-4o-mini", **settings})
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
    if said.get("model_type") == "responses":
        settings = {name: value for name, value in settings.items() if name not in NOT_IN_RESPONSES}
    assert_lm_comes_back(change(make_stated(said), settings))


@given(testing.settings(), st.sampled_from(["openai/gpt-4.1", "openai/o3", "anthropic/claude-x"]))
@slow_to_draw
def test_an_lm_with_another_model_comes_back_or_is_refused(
    said: dict[str, Any], model: str
) -> None:
    try:
        changed = change(make_stated(said), {"model": model})
    except ProfileError as error:
        assert error.diagnostics
    else:
        assert changed.spec.model == model
        assert_lm_comes_back(changed)


def test_a_relative_path_stays_what_it_meant(tmp_path: Path) -> None:
    """A path belongs to the file that states it; one made in code to the working folder."""
    text = "model: openai/x\ncache: {store: {backend: disk, path: ../cache}}\n"
    lm = one(text, str(tmp_path / "profiles" / "p.yaml"))
    store = lm.spec.cache.store
    assert store is not None
    assert not isinstance(store, str)
    assert getattr(store, "path", None) == str(tmp_path / "cache")
    assert_lm_comes_back(lm)
