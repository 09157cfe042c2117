"""Whatever a document, an override or a template says, the answer is a value or a diagnostic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.document.command_line import parse_var
from lmconf.document.dollar_words import OPTIONS
from lmconf.document.merge import settle
from lmconf.document.nodes import Broken, Map, Node, Path, Plain, Scalar, Seq, from_plain
from lmconf.document.operators import recognise_operators
from lmconf.document.overrides import overlay, parse_set
from lmconf.document.templates.filters import FILTERS, LONGEST_TEXT, TESTS
from lmconf.document.templates.renderer import render
from lmconf.document.variables import bind_variables

MARK = Mark(Source("drawn"))
VARS: dict[str, Plain] = {
    "s": "text",
    "n": 3,
    "f": 0.5,
    "l": [1, "a"],
    "m": {"k": 1},
    "t": "x" * 999,
}
TOKENS = [
    *"( ) [ ] { } . , | ~ + - * / // % ** == != < <= > >= : = ' \" \\ 0 1 9 1e9 99999999".split(),
    *"vars vars.s vars.n vars.f vars.l vars.m vars.t if else and or not in is none true".split(),
    *"{{ }} {% %} for lambda self range x ß \u2028".split(),
    *(f"|{name}" for name in FILTERS),
    *(f"is {name}" for name in TESTS),
]
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=4),
    st.sampled_from(["X", "{{ vars.n }}", "{}", "int", "a/b", "{{"]),
)
WORDS = st.sampled_from([*OPTIONS, "default", "type", "format", "$evn", "$ref", "a", "api_key"])
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


class Rules:
    def normalise(self, path: Path, node: Node) -> Node:
        return node

    def is_block(self, path: Path) -> bool:
        return False

    def kind_key(self, path: Path) -> str | None:
        return "a"

    def drop_bound_fields(self, path: Path, lower: Map, upper: Map) -> Map:
        return lower


def holds_broken(node: Node) -> bool:
    if isinstance(node, Map):
        return any(holds_broken(value) for _, value in node)
    if isinstance(node, Seq):
        return any(holds_broken(item) for item in node.items)
    return isinstance(node, Broken)


@given(st.lists(st.sampled_from(TOKENS), max_size=14), st.sampled_from(["", " "]))
def test_an_expression_has_a_small_value_or_one_diagnostic(tokens: list[str], glue: str) -> None:
    found: list[Diagnostic] = []
    node = render(Scalar("{{ " + glue.join(tokens) + " }}", MARK), VARS, found)
    if isinstance(node, Broken):
        assert len(found) == 1
    else:
        assert found == []
        assert isinstance(node, Scalar)
        assert len(str(node.value)) <= LONGEST_TEXT


@given(st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2))
def test_dollar_words_are_recognised_or_told(value: dict[str, Plain]) -> None:
    found: list[Diagnostic] = []
    root = from_plain(value, MARK)
    assert isinstance(root, Map)
    result = recognise_operators(root, found)
    if found:
        return
    settled = settle(result, found)
    rendered = render(settled, VARS, found)
    assert holds_broken(rendered) == bool(found)


@given(st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2))
def test_variables_are_bound_or_told(value: dict[str, Plain]) -> None:
    found: list[Diagnostic] = []
    root = from_plain(value, MARK)
    assert isinstance(root, Map)
    declared = settle(recognise_operators(root, found), found)
    bound = bind_variables(declared, {}, {"X": "text"}, found)
    assert set(bound.values) | bound.broken == set(declared.entries)
    assert not set(bound.values) & bound.broken
    assert bool(bound.broken) <= bool(found)


@given(st.text(max_size=12), st.text(max_size=12), VALUES)
def test_arguments_are_taken_or_told(path: str, value: str, document: Plain) -> None:
    for text in (path, f"{path}={value}", f"a.{path}={value}"):
        found: list[Diagnostic] = []
        assignment = parse_set(text, found)
        assert (assignment is None) == bool(found)
        root = from_plain({"a": document}, MARK)
        assert isinstance(root, Map)
        if assignment is not None:
            overlay(recognise_operators(root, []), [assignment], found, Rules())
        said: list[Diagnostic] = []
        assert (parse_var(text, said) is None) == bool(said)
