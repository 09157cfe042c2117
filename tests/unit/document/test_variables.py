from __future__ import annotations

import pytest

from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import to_text
from lmconf.document.command_line import parse_var
from lmconf.document.merge import settle
from lmconf.document.nodes import Plain
from lmconf.document.operators import recognise_operators
from lmconf.document.variables import BoundVariables, bind_variables
from lmconf.document.yaml.reader import read_document
from lmconf.secrets.references import Env


def bound(
    text: str,
    given: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
    var: tuple[str, ...] = (),
) -> tuple[BoundVariables, list[Diagnostic]]:
    found: list[Diagnostic] = []
    declared = settle(recognise_operators(read_document(text, "a.yaml").root, found), found)
    values: dict[str, object] = dict(given or {})
    for argument in var:
        parsed = parse_var(argument, found)
        if parsed is not None:
            values[parsed[0]] = parsed[1]
    return bind_variables(declared, values, environment or {}, found), found


def codes(found: list[Diagnostic]) -> list[str]:
    return [diagnostic.code for diagnostic in found]


def test_plain_values_are_taken_as_they_stand() -> None:
    text = "{a: text, b: 1, c: 0.5, d: true, e: null, f: [1, x], g: {h: 2}, i: {$value: '{{'}}"
    result, found = bound(text)
    assert found == []
    assert result.values == {
        "a": "text",
        "b": 1,
        "c": 0.5,
        "d": True,
        "e": None,
        "f": [1, "x"],
        "g": {"h": 2},
        "i": "{{",
    }
    assert result.sources == {}


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("{$env: X}", "a b", "a b"),
        ("{$env: X}", "", ""),
        ("{$env: X}", "017", "017"),
        ("{$env: X, type: int}", " 017 ", 17),
        ("{$env: X, type: int}", "-3", -3),
        ("{$env: X, type: float}", "1e-3", 0.001),
        ("{$env: X, type: float}", "2", 2.0),
        ("{$env: X, type: bool}", "TRUE", True),
        ("{$env: X, type: bool}", "0", False),
        ("{$env: X, type: bool}", "off", False),
        ('{$env: X, format: "eu-{}"}', "west", "eu-west"),
    ],
)
def test_an_environment_variable_is_converted_and_baked(
    declared: str, text: str, value: Plain
) -> None:
    result, found = bound(f"a: {declared}", environment={"X": text})
    assert found == []
    assert result.values == {"a": value}
    assert type(result.values["a"]) is type(value)
    assert result.sources == {"a": "X"}


def test_a_default_stands_in_for_an_unset_variable_and_is_not_baked() -> None:
    result, found = bound("a: {$env: X, type: int, default: 1}")
    assert (result.values, result.sources, found) == ({"a": 1}, {}, [])


def test_parts_of_a_variable_may_come_from_the_environment() -> None:
    result, found = bound("a: {b: [{$env: X}]}", environment={"X": "v"})
    assert (result.values, result.sources, found) == ({"a": {"b": ["v"]}}, {"a.b.0": "X"}, [])


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("{$env: X, type: int}", "four"),
        ("{$env: X, type: int}", "1.5"),
        ("{$env: X, type: int}", "9" * 5000),
        ("{$env: X, type: float}", "nan"),
        ("{$env: X, type: float}", "x"),
        ("{$env: X, type: bool}", "maybe"),
        ("{$env: X, type: bool}", ""),
        ("{$env: X}", "a\r\nb"),
    ],
)
def test_text_that_does_not_convert_is_told_without_being_shown(declared: str, text: str) -> None:
    result, found = bound(f"a: {declared}", environment={"X": text})
    (diagnostic,) = found
    assert diagnostic.code == "var-type"
    assert "`X`" in diagnostic.message
    assert "`vars.a`" in diagnostic.message
    assert not text or text not in diagnostic.message
    assert str(diagnostic.mark) == "a.yaml:1:4"
    assert result.broken == {"a"}
    assert result.values == {}


def test_an_unset_variable_without_a_default_names_both() -> None:
    result, found = bound("region: {$env: AWS_REGION_NAME}")
    (diagnostic,) = found
    assert diagnostic.code == "var-unset"
    assert "AWS_REGION_NAME" in diagnostic.message
    assert "vars.region" in diagnostic.message
    assert result.broken == {"region"}


@pytest.mark.parametrize(
    "text",
    [
        "a: {$env: OPENAI_API_KEY}",
        "a: [{$env: DB_PASSWORD, type: str}]",
        "api_key: hunter2",
        "a: {client_secret: hunter2}",
        "token: {$env: X}",
    ],
)
def test_secrets_have_no_place_in_vars(text: str) -> None:
    environment = {"OPENAI_API_KEY": "hunter2", "DB_PASSWORD": "hunter2", "X": "hunter2"}
    result, found = bound(text, environment=environment)
    assert codes(found) == ["var-secret"]
    assert "in the field itself" in found[0].help
    assert "hunter2" not in to_text(found)
    assert result.values == {}
    assert result.sources == {}


def test_a_public_value_may_be_named_like_a_secret() -> None:
    result, found = bound("token: {$public: <s>}")
    assert (result.values, found) == ({"token": "<s>"}, [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: '{{ vars.b }}'", "var-template"),
        ("a: [x, '{{ 1 }}']", "var-template"),
        ("a: {$file: /x}", "var-reference"),
        ("a: {$given: x}", "var-reference"),
        ("my-var: 1", "var-name"),
        ("3d: 1", "var-name"),
    ],
)
def test_what_cannot_be_a_variable_is_refused(text: str, code: str) -> None:
    result, found = bound(text)
    assert codes(found) == [code]
    assert result.values == {}
    assert len(result.broken) == 1


def test_a_broken_declaration_stays_silent() -> None:
    result, found = bound("a: {$env: 3X}")
    assert codes(found) == ["dollar-argument"]
    assert result.broken == {"a"}


@pytest.mark.parametrize(
    ("declared", "given", "value"),
    [
        ("a: x", "y", "y"),
        ("a: 1", 2, 2),
        ("a: 1", 0.5, 0.5),
        ("a: x", None, None),
        ("a: null", [1], [1]),
        ("a: [1]", [2, 3], [2, 3]),
        ("a: {b: 1}", {"c": 1}, {"c": 1}),
        ("a: x", "{{ text }}", "{{ text }}"),
        ("a: {$env: X, type: int}", 4, 4),
        ("a: {$env: X, type: float}", 4, 4.0),
        ("a: {$env: OTHER}", "y", "y"),
    ],
)
def test_a_value_given_in_code_overrules_the_declared_one(
    declared: str, given: object, value: Plain
) -> None:
    result, found = bound(declared, {"a": given}, {"X": "9"})
    assert (result.values, result.sources, found) == ({"a": value}, {}, [])


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ("a: x", 1),
        ("a: 1", "1"),
        ("a: 1", True),
        ("a: true", 1),
        ("a: [1]", "x"),
        ("a: {b: 1}", [1]),
        ("a: {$env: X, type: int}", 1.5),
        ("a: {$env: X, type: int}", None),
        ("a: {$env: X, type: bool}", "true"),
    ],
)
def test_a_given_value_keeps_the_declared_type(declared: str, given: object) -> None:
    result, found = bound(declared, {"a": given})
    (diagnostic,) = found
    assert diagnostic.code == "var-type"
    assert [str(note.mark) for note in diagnostic.notes] == ["a.yaml:1:4"]
    assert result.broken == {"a"}


@pytest.mark.parametrize("given", [object(), float("nan"), Env(name="X"), [Env(name="X")], {1: 2}])
def test_only_plain_data_can_be_given(given: object) -> None:
    _, found = bound("a: null", {"a": given})
    assert codes(found) == ["var-value"]


@pytest.mark.parametrize(
    ("declared", "argument", "value"),
    [
        ("a: mini", "a=full", "full"),
        ("a: mini", "a=1.10", "1.10"),
        ("a: mini", "a=x=y", "x=y"),
        ("a: mini", "a=", ""),
        ("a: 1", "a=2", 2),
        ("a: 1", "a=1e-3", 0.001),
        ("a: true", "a=false", False),
        ("a: [1]", "a=[2, x]", [2, "x"]),
        ("a: null", "a=12", 12),
        ("a: null", "a='12'", "12"),
        ("a: {$env: X}", "a=12", "12"),
        ("a: {$env: X, type: int}", "a=12", 12),
        ("a: {$env: X, type: float}", "a=12", 12.0),
    ],
)
def test_a_value_given_as_text_is_read_in_the_declared_type(
    declared: str, argument: str, value: Plain
) -> None:
    result, found = bound(declared, var=(argument,))
    assert (result.values, found) == ({"a": value}, [])
    assert type(result.values["a"]) is type(value)


@pytest.mark.parametrize(
    ("declared", "argument", "column"),
    [
        ("a: 1", "a=four", 3),
        ("a: true", "a=1.5", 3),
        ("a: [1]", "a=x", 3),
        ("a: {$env: X, type: int}", "a=four", 3),
        ("a: [1]", "a=[1", 3),
    ],
)
def test_text_that_does_not_fit_is_shown_in_its_argument(
    declared: str, argument: str, column: int
) -> None:
    result, found = bound(declared, var=(argument,))
    (diagnostic,) = found
    assert diagnostic.mark is not None
    assert diagnostic.mark.source.text == argument
    assert diagnostic.mark.source.name == "--var"
    assert (diagnostic.mark.line, diagnostic.mark.column) == (1, column)
    assert result.broken == {"a"}


def test_an_unknown_variable_is_told_with_the_one_that_was_meant() -> None:
    _, found = bound("tier: mini", var=("teir=full",))
    (diagnostic,) = found
    assert diagnostic.code == "var-unknown"
    assert diagnostic.help == "did you mean `tier`?"
    assert [str(note.mark) for note in diagnostic.notes] == ["a.yaml:1:7"]
    _, found = bound("{}", {"x": 1})
    assert codes(found) == ["var-unknown"]


@pytest.mark.parametrize("argument", ["tier", "=x", "my-var=x", ""])
def test_an_argument_needs_a_name_and_a_value(argument: str) -> None:
    _, found = bound("tier: mini", var=(argument,))
    assert codes(found) == ["var-syntax"]


def test_the_value_of_a_secret_argument_is_never_printed() -> None:
    for argument in ("api_key=hunter2", "x api_key=hunter2"):
        _, found = bound("tier: mini", var=(argument,))
        assert len(found) == 1
        assert "hunter2" not in to_text(found)


def test_no_declared_variables_is_an_empty_set() -> None:
    assert bind_variables(None, {}, {}, []) == BoundVariables({}, {}, frozenset())
