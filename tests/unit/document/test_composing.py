from __future__ import annotations

import pytest

from lmconf.diagnostics.model import Diagnostic
from lmconf.document.linearisation import Cycle, linearise
from lmconf.document.merge import fold, normalise, settle
from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Path,
    Plain,
    Scalar,
    Seq,
    from_plain,
    to_plain,
)
from lmconf.document.operators import recognise_operators
from lmconf.document.yaml.reader import read_document


class Kitchen:
    """Rules over an imagined format: `use` states a kind, `dish` sheds and pairs."""

    def normalise(self, path: Path, node: Node) -> Node:
        if path[-1:] == ("oven",) and isinstance(node, Scalar) and isinstance(node.value, bool):
            return from_plain({"mode": "on" if node.value else "off"}, node.mark)
        if path[-1:] == ("cooks",) and isinstance(node, Scalar):
            return Seq((node,), node.mark)
        return node

    def is_block(self, path: Path) -> bool:
        return path[-1:] in (("tool",), ("oven",))

    def kind_key(self, path: Path) -> str | None:
        return "use" if path[-1:] == ("tool",) else None

    def drop_bound_fields(self, path: Path, lower: Map, upper: Map) -> Map:
        below, above = lower.get("dish"), upper.get("dish")
        if path != () or below is None or above is None or to_plain(below) == to_plain(above):
            return lower
        kept = {key: value for key, value in lower if key != "recipe"}
        return Map(kept, {key: lower.keys[key] for key in kept}, lower.mark)


def layer(text: str, name: str = "a.yaml") -> Map:
    found: list[Diagnostic] = []
    root = normalise(recognise_operators(read_document(text, name).root, found), Kitchen())
    assert found == []
    return root


def folded(*texts: str) -> tuple[Plain, list[Diagnostic]]:
    found: list[Diagnostic] = []
    layers = [layer(text, f"{index}.yaml") for index, text in enumerate(texts)]
    return to_plain(settle(fold(layers, Kitchen()), found)), found


@pytest.mark.parametrize(
    ("layers", "result"),
    [
        (["{}"], {}),
        (["a: 1", "b: 2"], {"a": 1, "b": 2}),
        (["a: 1", "a: 2"], {"a": 2}),
        (["a: 1", "a: null"], {"a": None}),
        (["a: {x: 1, y: 1}", "a: {y: 2, z: 2}"], {"a": {"x": 1, "y": 2, "z": 2}}),
        (["a: [1, 2]", "a: [3]"], {"a": [3]}),
        (["a: {x: 1}", "a: 5", "a: {y: 2}"], {"a": {"y": 2}}),
        (["a: {x: 1}", "a: {$env: A}"], {"a": {"$env": "A"}}),
        (["a: {$env: A, default: x}", "a: {$env: B}"], {"a": {"$env": "B"}}),
        (["a: {$value: {x: 1}}", "a: {y: 1}"], {"a": {"y": 1}}),
        (["a: {x: 1}", "a: {$value: {y: 1}}"], {"a": {"$value": {"y": 1}}}),
        (["a: [1]", "a: {$append: [2]}"], {"a": [1, 2]}),
        (["a: [1]", "a: {$prepend: [0]}", "a: {$append: [2]}"], {"a": [0, 1, 2]}),
        (["a: {$append: [1]}"], {"a": [1]}),
        (["a: {$append: []}"], {"a": []}),
        (["a: {$append: [1]}", "a: {$append: [2]}"], {"a": [1, 2]}),
        (["a: {$prepend: [1]}", "a: {$prepend: [2]}"], {"a": [2, 1]}),
        (["a: [1]", "a: {$append: [2]}", "a: [3]"], {"a": [3]}),
        (
            ["a: {$value: [1, '{{']}", "a: {$append: [2]}"],
            {"a": [{"$value": 1}, {"$value": "{{"}, 2]},
        ),
        (["a: 1", "a: {$unset: true}"], {}),
        (["a: {$unset: true}"], {}),
        (["a: {x: 1}", "a: {$unset: true}", "a: {y: 2}"], {"a": {"y": 2}}),
        (["a: [1]", "a: {$unset: true}", "a: {$append: [2]}"], {"a": [2]}),
        (["a: {x: 1, y: 1}", "a: {x: {$unset: true}}"], {"a": {"y": 1}}),
        (["a: {b: {$unset: true}}"], {"a": {}}),
        (["a: [{b: {$append: [1]}}]"], {"a": [{"b": [1]}]}),
        (["a: {x: 1}", "a: {}"], {"a": {"x": 1}}),
    ],
)
def test_layers_fold_from_the_lowest_to_the_highest(layers: list[str], result: Plain) -> None:
    assert folded(*layers) == (result, [])


def test_keys_of_lower_layers_come_first() -> None:
    result, _ = folded("{b: 1, a: 1}", "{c: 2, a: 2}")
    assert isinstance(result, dict)
    assert list(result) == ["b", "a", "c"]


def test_shorthands_are_written_out_before_anything_merges() -> None:
    assert folded("oven: {heat: 200}", "oven: false") == (
        {"oven": {"heat": 200, "mode": "off"}},
        [],
    )
    assert folded("cooks: ann", "cooks: {$append: [bob]}") == ({"cooks": ["ann", "bob"]}, [])


def test_a_replaced_kind_drops_the_old_kinds_fields() -> None:
    texts = ["tool: {use: knife, edge: 5}", "tool: {use: spoon, size: 1}"]
    assert folded(*texts) == ({"tool": {"use": "spoon", "size": 1}}, [])


def test_a_block_that_states_no_kind_or_the_same_merges() -> None:
    texts = ["tool: {use: knife, edge: 5}", "tool: {size: 1}", "tool: {use: knife, x: 1}"]
    assert folded(*texts) == ({"tool": {"use": "knife", "edge": 5, "size": 1, "x": 1}}, [])


def test_a_kind_replaced_in_a_folded_layer_still_replaces_what_lies_below() -> None:
    lowest = layer("tool: {use: spoon, old: 1}")
    middle = layer("tool: {use: knife}")
    upper = layer("tool: {use: spoon, size: 1}")
    together = fold([lowest, fold([middle, upper], Kitchen())], Kitchen())
    assert to_plain(settle(together, [])) == {"tool": {"use": "spoon", "size": 1}}


def test_what_is_bound_to_a_replaced_value_is_shed_for_good() -> None:
    lowest = layer("{dish: pie, recipe: {flour: 1}}")
    upper = layer("{dish: soup, recipe: {water: 1}}")
    assert to_plain(settle(fold([lowest, upper], Kitchen()), [])) == {
        "dish": "soup",
        "recipe": {"water": 1},
    }
    bare = layer("recipe: {salt: 1}")
    shed = fold([lowest, layer("dish: soup")], Kitchen())
    assert to_plain(settle(fold([bare, shed], Kitchen()), [])) == {"dish": "soup"}


@pytest.mark.parametrize("lower", ["a: 5", "a: {x: 1}", "a: null", "a: {$env: X}"])
def test_adding_to_what_is_no_list_shows_both_places(lower: str) -> None:
    result, found = folded(lower, "\na: {$append: [1]}")
    assert result == {"a": None}
    (diagnostic,) = found
    assert diagnostic.code == "append-no-list"
    assert str(diagnostic.mark) == "1.yaml:2:4"
    assert [str(note.mark) for note in diagnostic.notes] == ["0.yaml:1:4"]


def test_the_first_change_that_met_no_list_is_blamed() -> None:
    _, found = folded("a: 5", "\na: {$append: [1]}", "\n\na: {$append: [2]}")
    assert [str(diagnostic.mark) for diagnostic in found] == ["1.yaml:2:4"]
    middle = fold([layer("\na: {$append: [1]}", "b"), layer("a: {$append: [2]}", "c")], Kitchen())
    found = []
    settle(fold([layer("a: 5"), middle], Kitchen()), found)
    assert [str(diagnostic.mark) for diagnostic in found] == ["b:2:4"]


def test_what_is_broken_below_stays_silent() -> None:
    lower = Map({"a": Broken(layer("a: 1").mark)}, layer("a: 1").keys, layer("a: 1").mark)
    for upper in ("a: {$append: [1]}", "a: {b: 1}"):
        found: list[Diagnostic] = []
        result = settle(fold([lower, layer(upper)], Kitchen()), found)
        assert isinstance(result.entries["a"], Broken)
        assert found == []


def test_no_change_is_left_after_settling() -> None:
    root = settle(layer("{a: {$append: [{b: {$unset: true}}]}, c: {d: {$unset: true}}}"), [])

    def check(node: Node) -> None:
        assert not isinstance(node, Change)
        if isinstance(node, Map):
            for _, value in node:
                check(value)
        if isinstance(node, Seq):
            for item in node.items:
                check(item)

    check(root)
    assert to_plain(root) == {"a": [{}], "c": {}}
    assert set(root.keys) == set(root.entries)


def test_every_value_remembers_the_layer_it_came_from() -> None:
    result = fold([layer("{a: 1, b: 1}", "low.yaml"), layer("b: 2", "high.yaml")], Kitchen())
    assert result.entries["a"].mark.source.name == "low.yaml"
    assert result.entries["b"].mark.source.name == "high.yaml"
    assert result.keys["a"].source.name == "low.yaml"
    assert result.keys["b"].source.name == "high.yaml"


@pytest.mark.parametrize(
    ("parents", "order"),
    [
        ({"a": []}, ["a"]),
        ({"a": ["b"], "b": ["c"], "c": []}, ["c", "b", "a"]),
        ({"a": ["b", "c"], "b": [], "c": []}, ["b", "c", "a"]),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, ["d", "b", "c", "a"]),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, ["c", "b", "a"]),
        ({"a": ["b", "b"], "b": []}, ["b", "a"]),
    ],
)
def test_ancestors_stand_once_before_their_children(
    parents: dict[str, list[str]], order: list[str]
) -> None:
    assert linearise("a", parents.__getitem__) == order


@pytest.mark.parametrize(
    ("parents", "chain"),
    [
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["a"]}, ("a", "b", "a")),
        ({"a": ["d", "b"], "b": ["c"], "c": ["b"], "d": []}, ("b", "c", "b")),
    ],
)
def test_a_cycle_shows_its_chain(parents: dict[str, list[str]], chain: tuple[str, ...]) -> None:
    with pytest.raises(Cycle) as caught:
        linearise("a", parents.__getitem__)
    assert caught.value.chain == chain


def test_a_long_chain_needs_no_recursion() -> None:
    assert len(linearise(0, lambda n: [n + 1] if n < 20_000 else [])) == 20_001
