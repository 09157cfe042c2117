from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.diagnostics.render import to_text
from lmconf.document.nodes import Broken, Map, Plain, Scalar, at, from_plain, to_plain
from lmconf.document.operators import recognise_operators
from lmconf.document.templates.filters import FILTERS, TESTS
from lmconf.document.templates.renderer import Renderer, has_template, render
from lmconf.document.yaml.reader import read_document
from tests.watching import processor_seconds

VARS: dict[str, Plain] = {
    "tier": "mini",
    "gpus": 2,
    "rate": 0.5,
    "on": True,
    "off": False,
    "none": None,
    "names": ["a", "b"],
    "sizes": {"small": 1, "big-one": 2},
    "looks": "1e-3",
    "braces": "{{ vars.tier }}",
    "long": "x" * 60_000,
    "many": ["x" * 1000] * 60,
}


def rendered(text: str) -> tuple[Map, list[Diagnostic]]:
    found: list[Diagnostic] = []
    root = recognise_operators(read_document(text, "a.yaml").root, found)
    assert found == []
    node = render(root, VARS, found)
    assert isinstance(node, Map)
    return node, found


def value_of(expression: str) -> Plain:
    quoted = expression.replace("'", "''")
    root, found = rendered(f"field: '{quoted}'")
    assert found == []
    return to_plain(root.entries["field"])


def mistake_in(expression: str) -> Diagnostic:
    quoted = expression.replace("'", "''")
    root, found = rendered(f"field: '{quoted}'")
    assert isinstance(root.entries["field"], Broken)
    (diagnostic,) = found
    assert diagnostic.path == ("field",)
    return diagnostic


VALUES: list[tuple[str, Plain]] = [
    ("{{ vars.tier }}", "mini"),
    ("{{ vars.gpus }}", 2),
    ("{{vars.rate}}", 0.5),
    ("{{ vars.on }}", True),
    ("{{ vars.none }}", None),
    ("{{ vars.looks }}", "1e-3"),
    ("{{ vars['tier'] }}", "mini"),
    ("{{ vars.sizes['big-one'] }}", 2),
    ("{{ vars.names[0] }}", "a"),
    ("{{ vars.names[-1] }}", "b"),
    ("{{ vars.tier[1:3] }}", "in"),
    ("{{ vars.names[1:] | join }}", "b"),
    ("{{ (vars.names + ['c']) | join }}", "abc"),
    ("{{ 3.10 }}", 3.1),
    ("{{ '3.10' }}", "3.10"),
    ("{{ {'mini': 1, 'full': 2}[vars.tier] }}", 1),
    ("{{ 'a}}b' }}", "a}}b"),
    ("{{ vars.gpus + 1 }}", 3),
    ("{{ vars.gpus - 3 * 2 }}", -4),
    ("{{ 7 // 2 }}", 3),
    ("{{ 7 / 2 }}", 3.5),
    ("{{ 7 % 2 }}", 1),
    ("{{ 2 ** 10 }}", 1024),
    ("{{ -vars.gpus }}", -2),
    ("{{ 'a' + 'b' }}", "ab"),
    ("{{ vars.gpus == 2 and vars.on }}", True),
    ("{{ vars.off or 'other' }}", "other"),
    ("{{ not vars.off }}", True),
    ("{{ 1 < vars.gpus <= 2 }}", True),
    ("{{ 'a' < 'b' }}", True),
    ("{{ vars.tier != 'full' }}", True),
    ("{{ 'in' in vars.tier }}", True),
    ("{{ 'c' not in vars.names }}", True),
    ("{{ 'small' in vars.sizes }}", True),
    ("{{ 'x' if vars.tier == 'full' else 'y' }}", "y"),
    ("{{ vars.tier ~ '-' ~ vars.gpus ~ vars.on }}", "mini-2true"),
    ("{{ vars.missing | default('d') }}", "d"),
    ("{{ vars.tier | default('d') }}", "mini"),
    ("{{ vars.off | default('d', true) }}", "d"),
    ("{{ vars.missing is defined }}", False),
    ("{{ vars.missing is not defined }}", True),
    ("{{ vars.tier is undefined }}", False),
    ("{{ vars.none is none }}", True),
    ("{{ vars.tier is not none }}", True),
    ("{{ vars.tier | upper }}", "MINI"),
    ("{{ 'A b' | lower }}", "a b"),
    ("{{ 'a-b-c' | replace('-', '+') }}", "a+b+c"),
    ("{{ 'a-b-c' | replace('-', '+', 1) }}", "a+b-c"),
    ("{{ '42' | int }}", 42),
    ("{{ 4.9 | int }}", 4),
    ("{{ 'x' | int(default=7) }}", 7),
    ("{{ '4.5' | float }}", 4.5),
    ("{{ 2 | float }}", 2.0),
    ("{{ 'x' | float(0.5) }}", 0.5),
    ("{{ vars.names | join(', ') }}", "a, b"),
    ("{{ [1, true, none] | join('/') }}", "1/true/null"),
    ("{{ 2.567 | round(2) }}", 2.57),
    ("{{ 2.1 | round }}", 2.0),
    ("a {{ vars.gpus }} b {{ vars.rate }}", "a 2 b 0.5"),
    ("{{ vars.on }}{{ vars.none }}", "truenull"),
    ("x{{ 1e-5 }}", "x1e-05"),
    ("a {{- vars.tier -}} b", "aminib"),
    ("{% if x %}{# note #} {{ vars.tier }}", "{% if x %}{# note #} mini"),
    ("{{ vars.braces }}", "{{ vars.tier }}"),
    ("no }} template {%", "no }} template {%"),
    ("{{ '{{' }}", "{{"),
]


@pytest.mark.parametrize(("expression", "value"), VALUES)
def test_an_expression_has_its_value_and_its_type(expression: str, value: Plain) -> None:
    result = value_of(expression)
    assert result == value
    assert type(result) is type(value)


def test_expressions_mean_what_they_mean_in_jinja() -> None:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    compared = 0
    for expression, value in VALUES:
        inner = expression.removeprefix("{{").removesuffix("}}")
        spells_yaml = "~" in inner or "none" in inner
        if len(inner) != len(expression) - 4 or "{{" in inner or spells_yaml:
            continue
        compared += 1
        compiled = environment.compile_expression(inner, undefined_to_none=False)
        assert compiled(vars=VARS) == value, expression
    assert compared > 45


@pytest.mark.parametrize(
    ("expression", "code", "said"),
    [
        ("{{ vars.teir }}", "template-undefined", "did you mean `vars.tier`?"),
        ("{{ vars.whatever }}", "template-undefined", "templates can read `vars` only"),
        ("{{ vars.sizes.smal }}", "template-undefined", "did you mean `vars.sizes.small`?"),
        ("{{ vars.missing.part }}", "template-undefined", "`vars.missing` is not defined"),
        ("{{ vars.missing.part | default(1) }}", "template-undefined", "`vars.missing`"),
        ("{{ vars.missing == 1 }}", "template-undefined", "`vars.missing`"),
        ("{{ vars.names[5] }}", "template-undefined", "no item 5"),
        ("{{ tier }}", "template-name", "write `vars.tier`"),
        ("{{ teir }}", "template-name", "did you mean `vars.tier`?"),
        ("{{ other }}", "template-name", "declare `other` under `vars`"),
        ("{{ env.HOME }}", "template-name", "{$env: AWS_REGION_NAME}"),
        ("{{ os.environ['HOME'] }}", "template-name", "{$env: AWS_REGION_NAME}"),
        ("{{ null }}", "template-name", "write `none`"),
        ("{{ self }}", "template-name", "templates can read `vars` only"),
        ("{{ env('HOME') }}", "template-call", "{$env: AWS_REGION_NAME}"),
        ("{{ range(5) }}", "template-call", "cannot call"),
        ("{{ vars.tier.upper() }}", "template-call", "write it as a filter: `| upper`"),
        ("{{ vars.tier.upper }}", "template-type", "`vars.tier` is text"),
        ("{{ vars.tier.__class__ }}", "template-type", "templates have no methods"),
        ("{{ vars.__class__ }}", "template-undefined", "`vars.__class__` is not defined"),
        ("{{ vars.names }}", "template-shape", "a list"),
        ("{{ vars.sizes }}", "template-shape", "a map"),
        ("{{ vars }}", "template-shape", "a map"),
        ("{{ {'a': 1} }}", "template-shape", "a map"),
        ("x {{ vars.names }}", "template-shape", "a list"),
        ("{{ vars.names ~ 'x' }}", "template-shape", "a list"),
        ("{{ vars.tier", "template-syntax", "`{{` is not closed"),
        ("{{ 'a }}", "template-syntax", "a quote is open"),
        ("{{ }}", "template-syntax", "empty"),
        ("{{ 1 + }}", "template-syntax", "not an expression"),
        ("{{ a b }}", "template-syntax", "`b` is not expected"),
        ("{{ 'x' if vars.on }}", "template-syntax", "needs an `else`"),
        ("{{ '\\N{nope}' }}", "template-syntax", "not an expression"),
        ("{{ vars.tier | uper }}", "template-filter", "did you mean `upper`?"),
        ("{{ vars.names | map('upper') }}", "template-filter", "no filter `map`"),
        ("{{ vars.tier | attr('x') }}", "template-filter", "no filter `attr`"),
        ("{{ vars.tier | upper(1) }}", "template-type", "does not take these arguments"),
        ("{{ vars.tier | replace(*vars.names) }}", "template-operation", "`*`"),
        ("{{ 3 is divisibleby(3) }}", "template-test", "no test `divisibleby`"),
        ("{{ 3 is none(1) }}", "template-type", "takes no arguments"),
        ("{{ vars.tier | int }}", "template-type", "not a whole number"),
        ("{{ 'nan' | float }}", "template-type", "not a number"),
        ("{{ vars.tier + 1 }}", "template-type", "text and a number"),
        ("{{ vars.on + 1 }}", "template-type", "a boolean and a number"),
        ("{{ vars.tier < 1 }}", "template-type", "no order"),
        ("{{ vars.names == vars.names }}", "template-type", "cannot be compared"),
        ("{{ 1 in 2 }}", "template-type", "cannot look for"),
        ("{{ -vars.tier }}", "template-type", "no sign"),
        ("{{ vars.gpus[0] }}", "template-type", "no item"),
        ("{{ vars.tier[::2] }}", "template-type", "[first:end]"),
        ("{{ 1 / 0 }}", "template-number", "divides by zero"),
        ("{{ 0.0 ** -1 }}", "template-number", "divides by zero"),
        ("{{ (-8) ** 0.5 }}", "template-number", "out of range"),
        ("{{ 1e308 * 10 }}", "template-number", "out of range"),
        ("{{ 9223372036854775807 + 1 }}", "template-number", "out of range"),
        ("{{ 1e999 }}", "template-number", "out of range"),
    ],
)
def test_an_expression_without_a_value_is_told_with_its_mend(
    expression: str, code: str, said: str
) -> None:
    diagnostic = mistake_in(expression)
    assert diagnostic.code == code
    assert said in f"{diagnostic.message}; {diagnostic.help}"


@pytest.mark.parametrize("name", ["abs", "d", "first", "length", "title", "trim"])
def test_a_filter_of_jinja_that_there_is_not_is_answered_with_the_list(name: str) -> None:
    diagnostic = mistake_in(f"{{{{ vars.names | {name} }}}}")
    assert diagnostic.message == f"there is no filter `{name}`"
    assert diagnostic.help == f"there are: {', '.join(sorted(FILTERS))}"


def test_the_page_of_the_format_lists_the_filters_and_the_tests() -> None:
    page = (Path(__file__).parents[3] / "docs/format.md").read_text(encoding="utf-8")
    said = " ".join(page.split()).partition("with the filters ")[2].partition(". **")[0]
    filters, tests = (re.findall("`([a-z]+)`", part) for part in said.split(" the tests "))
    assert (filters, tests) == (sorted(FILTERS), sorted(TESTS))


@pytest.mark.parametrize(
    "expression",
    [
        "{{ 'a' * 200000000 }}",
        "{{ [0] * 200000000 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ 'a'.ljust(800000000) }}",
        "{{ '%800000000d' % 1 }}",
        "{{ '{:800000000}'.format(1) }}",
        "{{ 'x' | center(800000000) }}",
        "{{ range(999999999) | join }}",
        "{{ (vars.long | replace('x', vars.long)) | upper }}",
        "{{ vars.many | join(vars.long) }}",
        "{{ vars.long ~ vars.long }}",
        "{{ vars.long + vars.long }}",
        "{{ ('a' | replace('', vars.long)) | upper }}",
        "{{ 5 | round(-1000000000) }}",
        "{{ " + " + ".join(["vars.long"] * 300) + " }}",
        "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
        "{{ " + "-" * 4000 + "1 }}",
        "{{ " + "not " * 1000 + "1 }}",
        "{{ " + "9" * 4090 + " }}",
        "{{ " + " ~ ".join(["vars.tier"] * 5000) + " }}",
        "{{ " + " ".join(["vars.long"] * 5000) + " }}",
        "x" + "{{ vars.long }}" * 2,
        "{{ 'ß' | replace('ß', vars.long ~ vars.tier[0:0]) | upper | replace('X', 'XX') }}",
        "{{ (lambda: 1)() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    ],
)
def test_work_and_output_are_bounded(expression: str) -> None:
    found = []
    assert processor_seconds(lambda: found.append(mistake_in(expression))) < 1.0
    assert len(found[0].message) < 500


def test_the_templates_of_a_document_share_their_bound() -> None:
    text = "".join(f"k{n}: 'x{{{{ vars.long }}}}{n}'\n" for n in range(300))
    results = []
    assert processor_seconds(lambda: results.append(rendered(text))) < 3.0
    assert {diagnostic.code for diagnostic in results[0][1]} == {"template-work"}


def test_a_value_never_changes_the_shape_of_the_document() -> None:
    found: list[Diagnostic] = []
    root = read_document("a: '{{ vars.x }}'\nb: 1\n", "a.yaml").root
    result = render(root, {"x": "1\nc: {d: 2}\n- e"}, found)
    assert to_plain(result) == {"a": "1\nc: {d: 2}\n- e", "b": 1}
    assert found == []


def test_rendered_text_is_text_whatever_it_looks_like() -> None:
    root, _ = rendered("field: '{{ vars.looks }}'")
    field = root.entries["field"]
    assert isinstance(field, Scalar)
    assert field.quoted


def test_lists_and_maps_are_rendered_within_and_dollar_words_are_not() -> None:
    text = """
    a: ["{{ vars.gpus }}", {b: "{{ vars.tier }}"}]
    c: {$value: "{{ vars.gpus }}"}
    d: {$public: "{{ vars.gpus }}"}
    e: {$env: X}
    """
    root, found = rendered(text)
    assert found == []
    assert to_plain(root) == {
        "a": [2, {"b": "mini"}],
        "c": {"$value": "{{ vars.gpus }}"},
        "d": {"$public": "{{ vars.gpus }}"},
        "e": {"$env": "X"},
    }


def test_keys_are_no_templates() -> None:
    root, found = rendered("'{{ vars.tier }}': 1")
    assert found == []
    assert to_plain(root) == {"{{ vars.tier }}": 1}


def test_the_caret_stands_under_the_variable() -> None:
    _, found = rendered('a: 1\nb: "x {{ vars.tier }} {{ vars.teir | upper }}"\n')
    (diagnostic,) = found
    assert diagnostic.mark is not None
    assert (diagnostic.mark.line, diagnostic.mark.column, diagnostic.mark.end) == (2, 26, 35)


def test_every_place_of_the_same_mistake_is_told() -> None:
    _, found = rendered("a: '{{ vars.x }}'\nb: '{{ vars.x }}'\n")
    assert [str(diagnostic.mark) for diagnostic in found] == ["a.yaml:1:8", "a.yaml:2:8"]


def test_a_mistake_that_several_entries_inherit_is_told_once() -> None:
    found: list[Diagnostic] = []
    node = read_document("a: '{{ vars.x }}'", "a.yaml").root
    renderer = Renderer(VARS, found)
    for name in ("one", "two"):
        assert isinstance(at(renderer.render(node, (name,)), ("a",)), Broken)
    assert [diagnostic.path for diagnostic in found] == [("one", "a")]


def test_mistakes_in_values_made_in_code_are_told_by_path() -> None:
    found: list[Diagnostic] = []
    node = from_plain({"a": "{{ vars.x }}", "b": "{{ vars.x }}"}, Mark(Source("code")))
    render(node, VARS, found)
    assert [diagnostic.path for diagnostic in found] == [("a",), ("b",)]


def test_a_variable_whose_mistake_was_told_breaks_its_templates_silently() -> None:
    found: list[Diagnostic] = []
    root = read_document("{a: '{{ vars.x }}', b: '{{ vars.y }}'}", "a.yaml").root
    result = render(root, {"y": 1}, found, broken={"x"})
    assert found == []
    assert isinstance(result, Map)
    assert isinstance(result.entries["a"], Broken)
    assert to_plain(result.entries["b"]) == 1


def test_nothing_of_a_template_under_a_secret_name_is_printed() -> None:
    _, found = rendered("api_key: 'sk-{{ hunter2 }}'\nclient_secret: '{{ 1 hunter3 }}'\n")
    assert len(found) == 2
    assert "hunter" not in to_text(found)
    assert "hunter" not in "".join(each.message + each.help for each in found)


def test_has_template_asks_for_braces_alone() -> None:
    assert has_template("a {{ b")
    assert not has_template("a { { b }} {%")


def test_jinja2_is_imported_only_when_a_scalar_holds_a_template() -> None:
    program = """
import sys
from lmconf.document.operators import recognise_operators
from lmconf.document.yaml.reader import read_document
from lmconf.document.templates.renderer import render
from lmconf.document.variables import bind_variables
for text, wanted in (("a: '{% x %} }}'", False), ("a: '{{ 1 }}'", True)):
    root = recognise_operators(read_document(text, "a.yaml").root, [])
    bind_variables(None, {}, {}, [])
    render(root, {}, [])
    assert ("jinja2" in sys.modules) is wanted, text
"""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)


def test_fifty_templates_render_within_milliseconds() -> None:
    text = "".join(
        f"l{n}: \"openai/{{{{ 'gpt-4o' if vars.tier == 'full' else 'gpt-4o-mini' }}}}-{n}\"\n"
        for n in range(50)
    )
    root = read_document(text, "a.yaml").root
    render(root, VARS, [])
    # About 5 ms on an idle machine; the bound leaves room for a busy one.
    assert min(processor_seconds(lambda: render(root, VARS, [])) for _ in range(5)) < 0.05
