from __future__ import annotations

import pytest

from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import to_text
from lmconf.document.merge import fold, settle
from lmconf.document.nodes import Map, Node, Path, Plain, Scalar, from_plain, to_plain
from lmconf.document.operators import recognise_operators
from lmconf.document.overrides import Assignment, from_mapping, overlay, parse_set
from lmconf.document.yaml.reader import read_document
from lmconf.secrets.references import Env, File


class Rules:
    def normalise(self, path: Path, node: Node) -> Node:
        if path[-1:] == ("cache",) and isinstance(node, Scalar) and isinstance(node.value, bool):
            return from_plain({"mode": "read_write" if node.value else "disabled"}, node.mark)
        return node

    def is_block(self, path: Path) -> bool:
        return False

    def kind_key(self, path: Path) -> str | None:
        return None

    def drop_bound_fields(self, path: Path, lower: Map, upper: Map) -> Map:
        return lower


PROFILE = """
defaults: {cache: {mode: read_write}}
lms:
  gpt: {model: openai/gpt, callbacks: [audit], cache: {ttl: 1}}
  claude: {model: anthropic/claude}
  _azure: {api_key: {$env: AZURE_API_KEY}}
"""
FLAT = "{model: openai/gpt, cache: {ttl: 1}}"
TOP = ("lmconf", "extends", "vars", "defaults", "lms", "stores", "main")


def laid(
    text: str, assignments: list[Assignment], found: list[Diagnostic], top: tuple[str, ...] = ()
) -> Map:
    rules = Rules()
    document = recognise_operators(read_document(text, "a.yaml").root, found)
    above = overlay(document, assignments, found, rules, top=top, folder="/work")
    return settle(fold([document, above], rules), found)


def set_on(text: str, *arguments: str, top: tuple[str, ...] = ()) -> tuple[Map, list[Diagnostic]]:
    found: list[Diagnostic] = []
    parsed = [parse_set(argument, found) for argument in arguments]
    assignments = [each for each in parsed if each is not None]
    return laid(text, assignments, found, top), found


def result_of(text: str, *arguments: str) -> Plain:
    root, found = set_on(text, *arguments)
    assert found == []
    return to_plain(root)


def value_at(root: Plain, *path: str) -> Plain:
    for step in path:
        assert isinstance(root, dict)
        root = root[step]
    return root


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("0.7", 0.7),
        ("1e-3", 0.001),
        ("off", "off"),
        ("true", True),
        ("null", None),
        ("", ""),
        ("''", ""),
        ('"0.7"', "0.7"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("a=b", "a=b"),
        ("http://localhost:1/x#y", "http://localhost:1/x#y"),
        ("[1, a]", [1, "a"]),
        ("{a: 1}", {"a": 1}),
        ("{$env: X}", {"$env": "X"}),
        ("{$file: key}", {"$file": "/work/key"}),
    ],
)
def test_a_value_is_read_as_yaml(value: str, result: Plain) -> None:
    root = result_of(PROFILE, f"lms.gpt.field={value}")
    assert value_at(root, "lms", "gpt", "field") == result


def test_later_assignments_win_and_shorthands_merge_with_what_is_there() -> None:
    root = result_of(PROFILE, "lms.gpt.cache=false", "lms.gpt.cache.ttl=2", "lms.gpt.cache.ttl=3")
    assert value_at(root, "lms", "gpt", "cache") == {"ttl": 3, "mode": "disabled"}


def test_a_star_reaches_every_entry_abstract_ones_too() -> None:
    root = result_of(PROFILE, "lms.*.cache.mode=disabled")
    for name in ("gpt", "claude", "_azure"):
        assert value_at(root, "lms", name, "cache", "mode") == "disabled"
    assert value_at(root, "defaults", "cache", "mode") == "read_write"


def test_operators_work_in_overrides() -> None:
    root = result_of(PROFILE, "lms.gpt.callbacks={$append: [meter]}", "lms.claude={$unset: true}")
    assert value_at(root, "lms", "gpt", "callbacks") == ["audit", "meter"]
    lms = value_at(root, "lms")
    assert isinstance(lms, dict)
    assert list(lms) == ["gpt", "_azure"]


def test_steps_with_dots_stand_in_quotes() -> None:
    root = result_of(PROFILE, 'lms.gpt.headers."X.Y"=1')
    assert value_at(root, "lms", "gpt", "headers") == {"X.Y": 1}


def test_new_blocks_may_be_stated() -> None:
    assert value_at(result_of(PROFILE, "stores.disk.path=x"), "stores") == {"disk": {"path": "x"}}


@pytest.mark.parametrize("argument", ["temperature=0.7", "lms.*.temperature=0.7"])
def test_a_document_of_one_lm_takes_its_fields_or_a_star(argument: str) -> None:
    assert value_at(result_of(FLAT, argument), "temperature") == 0.7


def test_a_document_of_one_lm_has_no_named_lms() -> None:
    _, found = set_on(FLAT, "lms.gpt.temperature=0.7")
    (diagnostic,) = found
    assert diagnostic.code == "set-path"
    assert diagnostic.help == "write `temperature=…`"


def test_an_unknown_lm_shows_the_one_that_was_meant() -> None:
    root, found = set_on(PROFILE, "lms.gtp.temperature=0.7")
    (diagnostic,) = found
    assert diagnostic.code == "set-path"
    assert diagnostic.help == "did you mean `gpt`?"
    assert diagnostic.mark is not None
    assert (diagnostic.mark.column, diagnostic.mark.end) == (5, 8)
    assert diagnostic.mark.source.text == "lms.gtp.temperature=0.7"
    assert [str(note.mark) for note in diagnostic.notes] == ["a.yaml:4:3"]
    assert "gtp" not in str(to_plain(root))


def test_a_field_of_one_lm_is_no_key_of_a_profile() -> None:
    _, found = set_on(PROFILE, "temperature=0.7", top=TOP)
    (diagnostic,) = found
    assert "lms.*.temperature" in diagnostic.help
    _, found = set_on(PROFILE, "vras.x=1", top=TOP)
    assert "did you mean `vars`?" in found[0].help


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("lms.gpt.callbacks.0=x", "`lms.gpt.callbacks` is a list"),
        ("stores.*.path=x", "`*` matches nothing here"),
        ("lms.gpt.model.*=x", "`*` matches nothing here"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(argument: str, said: str) -> None:
    _, found = set_on(PROFILE, argument)
    (diagnostic,) = found
    assert diagnostic.code == "set-path"
    assert said in diagnostic.message


@pytest.mark.parametrize(
    ("argument", "column"),
    [
        ("lms.gpt.temperature", 20),
        ("=5", 1),
        ("lms..gpt=5", 4),
        (".lms=5", 1),
        ("lms.=5", 4),
        ('lms."a=5', 4),
        ("", 1),
    ],
)
def test_a_malformed_path_is_shown_where_it_breaks(argument: str, column: int) -> None:
    found: list[Diagnostic] = []
    assert parse_set(argument, found) is None
    (diagnostic,) = found
    assert diagnostic.code == "set-path"
    assert diagnostic.mark is not None
    assert diagnostic.mark.column == column


@pytest.mark.parametrize(
    ("argument", "code", "column"),
    [
        ("a.b=[1", "yaml-syntax", 5),
        ("a.b={x: 1, x: 2}", "duplicate-key", 12),
        ("a.b=x: 1", "set-value", 5),
        ("a.b=- x", "set-value", 5),
        ("a.b=x # y", "set-value", 5),
        ("a.b=.nan", "not-a-number", 5),
        ("a.b={$evn: X}", "dollar-unknown", 6),
    ],
)
def test_a_malformed_value_is_shown_in_the_whole_argument(
    argument: str, code: str, column: int
) -> None:
    _, found = set_on("{a: {}}", argument)
    (diagnostic,) = found
    assert diagnostic.code == code
    assert diagnostic.mark is not None
    assert diagnostic.mark.source.text == argument
    assert (diagnostic.mark.line, diagnostic.mark.column) == (1, column)


@pytest.mark.parametrize(
    "argument",
    [
        "lms.gpt.api_key=hunter2: [",
        "lms.gtp.api_key=hunter2",
        "lms.gpt.headers={Authorization: hunter2, x: 1, x: 2}",
        "lms.gpt.client_secret={a: hunter2, a: 2}",
        "lms..api_key=hunter2",
        "lms.gpt.callbacks.api_key=hunter2",
    ],
)
def test_the_value_of_a_secret_is_never_printed(argument: str) -> None:
    _, found = set_on(PROFILE, argument)
    assert found
    text = to_text(found)
    assert "hunter2" not in text
    assert "***" in text


def test_what_the_document_has_keeps_its_places() -> None:
    root, found = set_on(PROFILE, "lms.gpt.temperature=0.7")
    assert found == []
    lms = root.entries["lms"]
    assert isinstance(lms, Map)
    gpt = lms.entries["gpt"]
    assert isinstance(gpt, Map)
    assert {root.keys["lms"].source.name, lms.keys["gpt"].source.name, gpt.mark.source.name} == {
        "a.yaml"
    }
    key, value = gpt.keys["temperature"], gpt.entries["temperature"].mark
    assert (key.source.name, key.column, key.end) == ("--set", 9, 20)
    assert (value.column, value.end) == (21, 24)


def laid_in_code(overrides: dict[str, object]) -> tuple[Plain, list[Diagnostic]]:
    found: list[Diagnostic] = []
    root = laid(PROFILE, from_mapping(overrides, found), found)
    return value_at(to_plain(root), "lms", "gpt"), found


@pytest.mark.parametrize(
    "overrides",
    [
        {"lms.gpt.cache.ttl": 2},
        {"lms": {"gpt": {"cache": {"ttl": 2}}}},
        {"lms.gpt": {"cache": {"ttl": 2}}},
        {"lms": {"*": {"cache": {"ttl": 2}}}},
    ],
)
def test_overrides_in_code_are_nested_or_dotted(overrides: dict[str, object]) -> None:
    result, found = laid_in_code(overrides)
    assert found == []
    assert result == {"model": "openai/gpt", "callbacks": ["audit"], "cache": {"ttl": 2}}


def test_overrides_in_code_may_hold_references_and_dollar_words() -> None:
    result, found = laid_in_code(
        {
            "lms.gpt.api_key": Env(name="KEY"),
            "lms.gpt.cert": File(path="/c"),
            "lms.gpt.callbacks": {"$append": ["meter"]},
            "lms.gpt.cache": {},
        }
    )
    assert found == []
    assert result == {
        "model": "openai/gpt",
        "callbacks": ["audit", "meter"],
        "cache": {"ttl": 1},
        "api_key": {"$env": "KEY"},
        "cert": {"$file": "/c"},
    }


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"lms.gpt.x": object()}, "set-value"),
        ({"lms.gpt.x": float("inf")}, "set-value"),
        ({"lms.gpt.x": {1: 2}}, "set-value"),
        ({"lms..x": 1}, "set-path"),
        ({"": 1}, "set-path"),
        ({5: 1}, "set-path"),
        ({"lms.gtp.x": 1}, "set-path"),
        ({"lms.gpt.x": {"$evn": "X"}}, "dollar-unknown"),
    ],
)
def test_mistakes_in_overrides_are_told(overrides: dict[str, object], code: str) -> None:
    _, found = laid_in_code(overrides)
    assert [diagnostic.code for diagnostic in found] == [code]
