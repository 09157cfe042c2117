"""Law 3: what is accepted is built and frozen; what is refused names file, line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lmconf import testing
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompileResult, compile_documents
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import to_text
from lmconf.document import read_document, write
from lmconf.errors import ProfileError
from lmconf.schema.check import check
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Env, File, Given, Public
from lmconf.spec.lm import LM
from lmconf.spec.profile import PROFILE
from lmconf.testing.many_lms import profile_data

slow_to_draw = settings(
    max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def mutable_parts(value: object) -> Iterator[object]:
    """Yield what in `value` could be changed in place."""
    if isinstance(value, msgspec.Struct):
        if not type(value).__struct_config__.frozen:
            yield value
        for name in value.__struct_fields__:
            yield from mutable_parts(getattr(value, name))
    elif isinstance(value, FrozenMap):
        for key, item in value.items():
            yield from mutable_parts(key)
            yield from mutable_parts(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from mutable_parts(item)
    elif value is not None and not isinstance(value, str | int | float | bool):
        yield value


@given(testing.lm_data())
@slow_to_draw
def test_what_fits_an_lm_is_accepted_and_built_frozen(data: dict[str, Any]) -> None:
    normal = {key: item for key, item in data.items() if key not in SHORT}
    assert LM.quick_check(normal)
    assert check(LM, normal) == []
    spec = LM.build(normal)
    assert list(mutable_parts(spec)) == []
    assert hash(spec) == hash(LM.build(normal))


# Fields with shorthands, which are written out before anything is checked.
SHORT = {"cache", "callbacks", "fallbacks", "stop", "timeout", "transport", "retry", "limits"}


@given(testing.json_values(), st.sampled_from(["extra", "response_format", "headers", "seed"]))
def test_the_quick_check_accepts_nothing_that_the_schema_refuses(value: Any, name: str) -> None:
    data = {"model": "openai/x", name: value}
    if LM.quick_check(data):
        LM.build(data)
    faults = check(LM, data)
    if not faults:
        LM.build(data)


@given(profile_data())
@slow_to_draw
def test_a_built_profile_is_frozen(data: dict[str, Any]) -> None:
    outcome = compiled(write(testing.to_document_data(data)))
    assert outcome.profile is not None, to_text(outcome.diagnostics)
    assert list(mutable_parts(outcome.profile.spec)) == []
    for lm in outcome.profile.lms.values():
        assert list(mutable_parts(lm.spec)) == []
        assert list(mutable_parts(lm.stated)) == []
    assert check(PROFILE, {"lms": {}}) == []


def compiled(text: str) -> CompileResult:
    inputs = CompilerInputs(
        name="drawn",
        environment={},
        callback_names=testing.NAMES,
        transport_names=testing.NAMES,
        allow_imports=testing.IMPORTS,
    )
    return compile_documents([read_document(text, "drawn.yaml", path="/srv/drawn.yaml")], inputs)


# What may stand anywhere by mistake.
WRONG = st.one_of(
    st.sampled_from([None, True, -1, 10**15, 1.5, "", "nonsense", "http://[", [], {}, [[]]]),
    st.sampled_from([{"$env": "X"}, {"$env": ""}, {"$file": 1}, {"$append": ["x"]}, {"$unset": 1}]),
    st.sampled_from(["{{ vars.x }}", "{{", "{{ 1 / 0 }}", {"$value": {}}, {"unknown": 1}]),
    testing.json_values().map(testing.to_document_data),
)


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, Mapping):
        for key in value:
            yield from paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*path, index))


@st.composite
def mistaken(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a right document in which one value or key was changed at random."""
    document: dict[str, Any] = draw(testing.documents())
    path = draw(st.sampled_from(sorted(paths(document), key=repr)))
    parent: Any = document
    for step in path[:-1]:
        parent = parent[step]
    how = draw(st.sampled_from(["value", "key", "drop", "unknown"]))
    if how == "value" or not isinstance(parent, dict):
        parent[path[-1]] = draw(WRONG)
    elif how == "key":
        parent[draw(st.sampled_from(["temprature", "use", "lms", "$env", "x"]))] = parent.pop(
            path[-1]
        )
    elif how == "unknown":
        parent[draw(st.sampled_from(["modle", "api-key", "extends", "store", "$val"]))] = draw(
            WRONG
        )
    else:
        del parent[path[-1]]
    return document


@given(mistaken())
@settings(slow_to_draw, max_examples=200)
def test_a_refused_document_is_told_file_line_and_column(document: dict[str, Any]) -> None:
    text = write(document)
    lines = text.splitlines()
    try:
        outcome = compiled(text)
    except ProfileError as error:
        assert_told(error.diagnostics, lines)
        return
    errors = [each for each in outcome.diagnostics if each.severity == "error"]
    assert (outcome.profile is None) == bool(errors)
    assert_told(outcome.diagnostics, lines)


def assert_told(diagnostics: tuple[Diagnostic, ...], lines: list[str]) -> None:
    for diagnostic in diagnostics:
        mark = diagnostic.mark
        assert mark is not None, diagnostic
        assert mark.source.name == "drawn.yaml"
        assert 1 <= mark.line <= max(1, len(lines)), diagnostic
        assert mark.column >= 1
        assert diagnostic.message
    assert to_text(diagnostics) or not diagnostics


@given(testing.profiles(), st.integers(0, 100))
@slow_to_draw
def test_an_override_is_the_same_as_editing_the_file(document: dict[str, Any], tries: int) -> None:
    from lmconf.document.overrides import from_mapping

    name = next(iter(document["lms"]))
    assume("." not in name)
    edited = {**document, "lms": dict(document["lms"])}
    edited["lms"][name] = {**document["lms"][name], "num_retries": tries}
    found: list[Diagnostic] = []
    layer = tuple(from_mapping({"lms": {name: {"num_retries": tries}}}, found))
    inputs = CompilerInputs(
        name="drawn",
        assignments=layer,
        callback_names=testing.NAMES,
        transport_names=testing.NAMES,
        allow_imports=testing.IMPORTS,
    )
    one = compile_documents([read_document(write(document), "a.yaml", path="/srv/a.yaml")], inputs)
    other = compiled(write(edited))
    assert found == []
    assert one.profile is not None, to_text(one.diagnostics)
    assert other.profile is not None
    assert one.profile.spec == other.profile.spec


def test_references_are_values_of_their_own() -> None:
    kinds = (Env(name="X"), File(path="x"), Given(name="x"), Public("x"))
    assert all(type(kind).__struct_config__.frozen for kind in kinds)
