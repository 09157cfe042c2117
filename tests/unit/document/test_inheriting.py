from __future__ import annotations

import pytest

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.document.inheritance import Inherited, inherit
from lmconf.document.merge import fold
from lmconf.document.nodes import Broken, Map, Node, Path, Plain, to_plain
from lmconf.document.operators import recognise_operators
from lmconf.document.yaml.reader import read_document
from tests.watching import processor_seconds


class Rules:
    def normalise(self, path: Path, node: Node) -> Node:
        return node

    def is_block(self, path: Path) -> bool:
        return False

    def kind_key(self, path: Path) -> str | None:
        return None

    def drop_bound_fields(self, path: Path, lower: Map, upper: Map) -> Map:
        return lower


def inherited(
    *texts: str, foreign: dict[str, str] | None = None
) -> tuple[Inherited, list[Diagnostic]]:
    found: list[Diagnostic] = []
    rules = Rules()
    layers = [
        recognise_operators(read_document(text, f"{index}.yaml").root, found)
        for index, text in enumerate(texts)
    ]
    root = fold(layers, rules)
    lms, defaults = root.entries["lms"], root.get("defaults")
    assert isinstance(lms, Map)
    assert defaults is None or isinstance(defaults, Map)

    def resolve(name: str, mark: Mark) -> Map | None:
        if foreign is not None and name in foreign:
            return recognise_operators(read_document(foreign[name], "foreign.yaml").root, found)
        found.append(Diagnostic(code="foreign", message=name, mark=mark))
        return None

    given = None if foreign is None else resolve
    return inherit(lms, defaults, rules, found, ("lms",), foreign=given), found


def plain(*texts: str) -> dict[str, Plain]:
    result, found = inherited(*texts)
    assert found == []
    value = to_plain(result.entries)
    assert isinstance(value, dict)
    return value


def test_defaults_lie_under_every_entry_and_extends_is_gone() -> None:
    assert plain("defaults: {t: 0, u: 0}\nlms: {a: {t: 1}, b: {extends: a, v: 1}}") == {
        "a": {"t": 1, "u": 0},
        "b": {"t": 1, "u": 0, "v": 1},
    }


def test_defaults_apply_once_at_the_root_of_a_chain() -> None:
    text = """
    defaults: {c: {$append: [d]}}
    lms: {a: {c: {$append: [a]}}, b: {extends: a, c: {$append: [b]}}}
    """
    assert plain(text) == {"a": {"c": ["d", "a"]}, "b": {"c": ["d", "a", "b"]}}


def test_a_default_never_overrides_what_a_parent_says() -> None:
    assert plain("{defaults: {t: 0}, lms: {a: {t: 1}, b: {extends: a}}}")["b"] == {"t": 1}


def test_later_parents_win_and_none_overrides_its_own_child() -> None:
    text = """
    lms:
      base: {t: base, u: base}
      left: {extends: base, t: left}
      right: {extends: base, v: right}
      both: {extends: [left, right]}
      odd: {extends: [left, base]}
    """
    result = plain(text)
    assert result["both"] == {"t": "left", "u": "base", "v": "right"}
    assert result["odd"] == {"t": "left", "u": "base"}


def test_abstract_entries_are_only_extended() -> None:
    result, found = inherited("lms: {_a: {t: 1}, b: {extends: _a}}")
    assert found == []
    assert to_plain(result.entries) == {"b": {"t": 1}}
    assert {name: to_plain(node) for name, node in result.abstract.items()} == {"_a": {"t": 1}}


def test_an_override_of_a_parent_reaches_its_children() -> None:
    files = "lms: {_a: {t: 1}, b: {extends: _a}, c: {extends: b, t: 3}}"
    assert plain(files, "lms: {_a: {t: 9}}") == {"b": {"t": 9}, "c": {"t": 3}}


def test_an_entry_that_was_unset_is_gone() -> None:
    result = plain("{defaults: {t: 0}, lms: {a: {u: 1}, b: {u: 2}}}", "lms: {a: {$unset: true}}")
    assert result == {"b": {"t": 0, "u": 2}}


def test_an_entry_replaced_in_a_file_still_gets_the_defaults() -> None:
    texts = ["{defaults: {t: 0}, lms: {a: {u: 1}}}", "lms: {a: {$unset: true}}", "lms: {a: {v: 1}}"]
    assert plain(*texts) == {"a": {"t": 0, "v": 1}}


def test_extends_may_be_added_to_by_a_higher_file() -> None:
    texts = [
        "lms: {p: {t: 1}, q: {t: 2}, a: {extends: [p]}}",
        "lms: {a: {extends: {$append: [q]}}}",
    ]
    assert plain(*texts)["a"] == {"t": 2}


def test_chains_name_ancestors_from_the_nearest_with_their_places() -> None:
    text = "lms:\n  a: {}\n  b: {extends: a}\n  c: {extends: [b]}\n"
    result, _ = inherited(text)
    assert [(each.name, str(each.mark)) for each in result.chains["c"]] == [
        ("b", "0.yaml:4:17"),
        ("a", "0.yaml:3:16"),
    ]
    assert result.chains["a"] == ()


def test_an_unknown_parent_breaks_that_entry_alone_and_shows_both_places() -> None:
    text = "lms:\n  claude: {t: 1}\n  a: {extends: cluade}\n  b: {extends: a}\n  c: {t: 1}\n"
    result, found = inherited(text)
    (diagnostic,) = found
    assert diagnostic.code == "extends-unknown"
    assert diagnostic.path == ("lms", "a", "extends")
    assert str(diagnostic.mark) == "0.yaml:3:16"
    assert diagnostic.help == "did you mean `claude`?"
    assert [str(note.mark) for note in diagnostic.notes] == ["0.yaml:2:3"]
    assert isinstance(result.entries.entries["a"], Broken)
    assert isinstance(result.entries.entries["b"], Broken)
    assert to_plain(result.entries.entries["c"]) == {"t": 1}


def test_a_cycle_is_told_once_with_every_place() -> None:
    text = "lms:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}\n  d: {extends: a}\n  e: {}\n"
    result, found = inherited(text)
    (diagnostic,) = found
    assert diagnostic.code == "extends-cycle"
    assert "a -> b -> c -> a" in diagnostic.message
    places = [str(diagnostic.mark), *(str(note.mark) for note in diagnostic.notes)]
    assert places == ["0.yaml:2:16", "0.yaml:3:16", "0.yaml:4:16"]
    broken = [name for name, node in result.entries if isinstance(node, Broken)]
    assert broken == ["a", "b", "c", "d"]


def test_an_entry_cannot_extend_itself() -> None:
    _, found = inherited("lms: {a: {extends: a}}")
    assert [diagnostic.message for diagnostic in found] == ["`a` extends itself"]


@pytest.mark.parametrize("extends", ["5", "{x: 1}", "[a, 5]", "{$env: X}", '"{{ vars.x }}"'])
def test_extends_takes_names(extends: str) -> None:
    result, found = inherited(f"lms: {{a: {{}}, b: {{extends: {extends}}}}}")
    assert [diagnostic.code for diagnostic in found] == ["extends-name"]
    assert isinstance(result.entries.entries["b"], Broken)


def test_defaults_cannot_extend() -> None:
    result, found = inherited("{defaults: {extends: a, t: 0}, lms: {a: {}}}")
    assert [diagnostic.code for diagnostic in found] == ["extends-in-defaults"]
    assert to_plain(result.entries) == {"a": {"t": 0}}


def test_an_entry_of_another_profile_is_a_parent() -> None:
    text = "{defaults: {t: 0, u: 0}, lms: {a: {extends: 'team:claude', v: 1}}}"
    result, found = inherited(text, foreign={"team:claude": "{t: 5, extends: x}"})
    assert found == []
    assert to_plain(result.entries) == {"a": {"t": 5, "u": 0, "v": 1}}
    assert [each.name for each in result.chains["a"]] == ["team:claude"]


def test_a_foreign_parent_that_is_not_found_breaks_its_children() -> None:
    result, found = inherited("lms: {a: {extends: 'team:x'}}", foreign={})
    assert [diagnostic.code for diagnostic in found] == ["foreign"]
    assert isinstance(result.entries.entries["a"], Broken)


def test_a_colon_without_other_profiles_is_an_unknown_parent() -> None:
    _, found = inherited("lms: {a: {extends: 'team:x'}}")
    assert [diagnostic.code for diagnostic in found] == ["extends-unknown"]


def test_an_entry_of_another_shape_is_left_for_the_check_and_breaks_its_children() -> None:
    result, found = inherited("{defaults: {t: 0}, lms: {a: 5, b: {extends: a}}}")
    assert found == []
    assert to_plain(result.entries.entries["a"]) == 5
    assert isinstance(result.entries.entries["b"], Broken)


def test_a_mistake_that_is_inherited_is_told_once() -> None:
    _, found = inherited("lms: {a: {c: 5}, b: {extends: a, c: {$append: [x]}}, d: {extends: b}}")
    assert [diagnostic.code for diagnostic in found] == ["append-no-list"]


def test_long_chains_fold_in_reasonable_time() -> None:
    lines = ["lms:", "  e0: {t: 0}"]
    lines += [f"  e{n}: {{extends: e{n - 1}, k{n % 7}: {n}}}" for n in range(1, 800)]
    results = []
    assert processor_seconds(lambda: results.append(plain("\n".join(lines)))) < 5
    assert len(results[0]) == 800
