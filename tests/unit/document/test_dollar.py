from __future__ import annotations

import pytest

from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import to_text
from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Public,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    to_plain,
)
from lmconf.document.operators import recognise_operators
from lmconf.document.yaml.reader import read_document
from lmconf.secrets.references import Env, File, Given


def recognised(text: str, folder: str | None = None) -> tuple[Map, list[Diagnostic]]:
    found: list[Diagnostic] = []
    return recognise_operators(read_document(text, "a.yaml").root, found, folder=folder), found


def value_of(text: str, folder: str | None = None) -> Node:
    """Return the node of a value in which nothing is wrong."""
    root, found = recognised(f"field: {text}", folder)
    assert found == []
    return root.entries["field"]


def mistake_in(text: str) -> Diagnostic:
    """Return the one mistake of a value, which must stand as broken."""
    root, found = recognised(f"field: {text}")
    assert isinstance(root.entries["field"], Broken)
    (diagnostic,) = found
    assert diagnostic.path == ("field",)
    assert diagnostic.mark is not None
    assert diagnostic.mark.line == 1
    return diagnostic


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("{$env: OPENAI_API_KEY}", Env(name="OPENAI_API_KEY")),
        ("{$env: HOST, default: localhost}", Env(name="HOST", default="localhost")),
        ('{$env: HOST, default: ""}', Env(name="HOST", default="")),
        ("{$env: PORT, type: int, default: 0}", Env(name="PORT", type="int", default=0)),
        ("{$env: RATE, type: float, default: 2}", Env(name="RATE", type="float", default=2)),
        ("{$env: ON, type: bool, default: false}", Env(name="ON", type="bool", default=False)),
        ('{$env: TOKEN, format: "Bearer {}"}', Env(name="TOKEN", format="Bearer {}")),
        ("{$file: /run/secrets/key}", File(path="/run/secrets/key")),
        ('{$file: /key, format: "Bearer {}"}', File(path="/key", format="Bearer {}")),
        ("{$given: api_key}", Given(name="api_key")),
    ],
)
def test_references_are_recognised_with_their_options(
    text: str, reference: Env | File | Given
) -> None:
    node = value_of(text)
    assert isinstance(node, Reference)
    assert node.to == reference


def test_a_relative_file_belongs_to_the_folder_of_the_text_that_states_it() -> None:
    node = value_of("{$file: ./keys/a}", "/etc/lmconf")
    assert isinstance(node, Reference)
    assert node.to == File(path="/etc/lmconf/keys/a")


@pytest.mark.parametrize("path", ["~/key", "/abs/key"])
def test_a_path_from_home_or_root_keeps_its_place(path: str) -> None:
    node = value_of(f"{{$file: {path}}}", "/etc/lmconf")
    assert isinstance(node, Reference)
    assert node.to == File(path=path)


def test_nothing_is_recognised_inside_a_verbatim_value() -> None:
    node = value_of("{$value: {a: {$env: X}, b: [{$append: 1}], c: '{{ x }}'}}")
    assert isinstance(node, Verbatim)
    assert node.value == {"a": {"$env": "X"}, "b": [{"$append": 1}], "c": "{{ x }}"}


def test_a_public_value_is_any_scalar() -> None:
    node = value_of("{$public: not-a-secret}")
    assert isinstance(node, Public)
    assert node.value == "not-a-secret"


def test_append_and_prepend_may_stand_together_and_hold_references() -> None:
    node = value_of("{$prepend: [a], $append: [{url: {$env: URL}}]}")
    assert isinstance(node, Change)
    assert to_plain(node) == {"$prepend": ["a"], "$append": [{"url": {"$env": "URL"}}]}
    inner = node.append[0]
    assert isinstance(inner, Map)
    assert isinstance(inner.entries["url"], Reference)


def test_unset_resets() -> None:
    node = value_of("{$unset: true}")
    assert isinstance(node, Change)
    assert node.reset
    assert node.base is None


@pytest.mark.parametrize(
    "text",
    [
        "{$ref: x}",
        "{$schema: x}",
        "{$defs: {a: 1}}",
        "{$id: x}",
        "{$set: {a: 1}}",
        "{$gt: 5}",
        "{$dynamicRef: x}",
        "{$evn: 1, other: 2}",
        "{$evn: 1, $flie: 2}",
    ],
)
def test_other_dollar_keys_are_data(text: str) -> None:
    root, found = recognised(f"field: {text}")
    assert found == []
    assert to_plain(root) == to_plain(read_document(f"field: {text}", "b.yaml").root)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{$evn: X}", "$env"),
        ("{$ENV: X}", "$env"),
        ("{$envs: X, default: y}", "$env"),
        ("{$flie: x}", "$file"),
        ("{$apend: [x]}", "$append"),
        ("{$unst: true}", "$unset"),
        ("{$values: 1}", "$value"),
    ],
)
def test_a_mistyped_word_is_told_from_data(text: str, word: str) -> None:
    diagnostic = mistake_in(text)
    assert diagnostic.code == "dollar-unknown"
    assert f"did you mean `{word}`?" in diagnostic.help


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{$env: X, defualt: y}", "dollar-key", "did you mean `default`?"),
        ("{$env: X, colour: y}", "dollar-key", "default, format, type"),
        ("{$file: /x, default: y}", "dollar-key", "format"),
        ("{$value: 1, more: 2}", "dollar-key", "no other key is allowed beside it"),
        ("{$env: X, $file: y}", "dollar-key", "cannot be used in one mapping"),
        ("{$append: [x], $unset: true}", "dollar-key", "cannot be used in one mapping"),
        ("{$env: 3X}", "dollar-argument", "name of an environment variable"),
        ("{$env: [X]}", "dollar-argument", "name of an environment variable"),
        ("{$env: ''}", "dollar-argument", "name of an environment variable"),
        ("{$env: 5}", "dollar-argument", "name of an environment variable"),
        ("{$env: '{{ vars.x }}'}", "dollar-template", "not rendered inside `$env`"),
        ("{$env: X, type: integer}", "dollar-option", "str, int, float or bool"),
        ("{$env: X, type: [int]}", "dollar-option", "str, int, float or bool"),
        ("{$env: X, type: int, default: one}", "dollar-option", "`type` is int"),
        ("{$env: X, type: int, default: true}", "dollar-option", "`type` is int"),
        ("{$env: X, type: int, default: 1.5}", "dollar-option", "`type` is int"),
        ("{$env: X, type: bool, default: 1}", "dollar-option", "`type` is bool"),
        ("{$env: X, default: 1}", "dollar-option", "add `type: int`"),
        ("{$env: X, default: null}", "dollar-option", "leave `default` out"),
        ("{$env: X, default: [a]}", "dollar-option", "leave `default` out"),
        ("{$env: X, default: '{{ a }}'}", "dollar-option", "not rendered inside"),
        ("{$env: X, format: Bearer}", "dollar-option", "exactly one `{}`"),
        ("{$env: X, format: '{} {}'}", "dollar-option", "exactly one `{}`"),
        ("{$env: X, format: 1}", "dollar-option", "exactly one `{}`"),
        ("{$env: X, type: int, format: '{}'}", "dollar-option", "makes text"),
        ("{$file: ''}", "dollar-argument", "path of a file"),
        ("{$file: [a]}", "dollar-argument", "path of a file"),
        ("{$given: a b}", "dollar-argument", "under which code passes"),
        ("{$public: [a]}", "dollar-argument", "takes text"),
        ("{$append: a}", "dollar-argument", "takes a list"),
        ("{$prepend: {a: 1}, $append: [b]}", "dollar-argument", "`$prepend` takes a list"),
        ("{$unset: false}", "dollar-argument", "takes true"),
        ("{$unset: yes}", "dollar-argument", "takes true"),
    ],
)
def test_a_misused_word_is_told_with_its_mend(text: str, code: str, said: str) -> None:
    diagnostic = mistake_in(text)
    assert diagnostic.code == code
    assert said in f"{diagnostic.message}; {diagnostic.help}"


def test_every_mistake_of_one_map_is_told_at_once() -> None:
    _, found = recognised("field: {$env: 3X, type: integer, format: nothing}")
    assert [diagnostic.code for diagnostic in found] == [
        "dollar-argument",
        "dollar-option",
        "dollar-option",
    ]


def test_a_key_pasted_for_a_name_is_not_printed() -> None:
    _, found = recognised("api_key: {$env: sk-abcdefghijklmnop}")
    assert len(found) == 1
    assert "abcdefghijklmnop" not in to_text(found)


def test_a_default_for_a_secret_variable_is_refused_and_not_printed() -> None:
    _, found = recognised("api_key: {$env: OPENAI_API_KEY, default: hunter2}")
    assert [diagnostic.code for diagnostic in found] == ["dollar-option"]
    assert "hunter2" not in to_text(found)


def test_an_empty_default_for_a_secret_variable_is_a_server_without_keys() -> None:
    assert isinstance(value_of('{$env: LOCAL_API_KEY, default: ""}'), Reference)


def test_an_item_of_a_list_cannot_be_an_operator() -> None:
    root, found = recognised("field: [a, {$append: [b]}, {$unset: true}]")
    assert [diagnostic.code for diagnostic in found] == ["dollar-in-list"] * 2
    assert [diagnostic.path for diagnostic in found] == [("field", 1), ("field", 2)]
    field = root.entries["field"]
    assert isinstance(field, Seq)
    assert isinstance(field.items[0], Scalar)
    assert isinstance(field.items[1], Broken)


def test_a_mistake_in_an_appended_item_breaks_that_item_alone() -> None:
    root, found = recognised("field: {$append: [{$env: 3X}, b]}")
    assert len(found) == 1
    field = root.entries["field"]
    assert isinstance(field, Change)
    assert isinstance(field.append[0], Broken)
    assert isinstance(field.append[1], Scalar)


def test_a_document_is_no_operator_as_a_whole() -> None:
    root, found = recognised("$env: X")
    assert [diagnostic.code for diagnostic in found] == ["dollar-root"]
    assert root.entries == {}
    root, found = recognised("$evn: X")
    assert [diagnostic.code for diagnostic in found] == ["dollar-unknown"]
    assert root.entries == {}


def test_places_of_words_and_options_are_shown() -> None:
    _, found = recognised("a: 1\nfield:\n  $env: X\n  typ: int\n")
    assert [str(diagnostic.mark) for diagnostic in found] == ["a.yaml:4:3"]
