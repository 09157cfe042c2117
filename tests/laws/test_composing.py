"""Laws of composing: a left fold with `{}` as identity, associative where shapes and kinds agree.

Layers are drawn as they come from files: maps, lists, scalars, references and operators under a
few keys, so that they meet often.
"""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.document.inheritance import inherit
from lmconf.document.linearisation import Cycle, linearise
from lmconf.document.merge import fold, merge, normalise, settle
from lmconf.document.nodes import Broken, Change, Map, Node, Path, Plain, Seq, from_plain, to_plain
from lmconf.document.operators import recognise_operators

MARK = Mark(Source("drawn"))
KEYS = ("a", "b", "c")


class Rules:
    """Blocks under `b` have kinds; there are no shorthands, and nothing is bound."""

    def normalise(self, path: Path, node: Node) -> Node:
        return node

    def is_block(self, path: Path) -> bool:
        return path[-1] == "b"

    def kind_key(self, path: Path) -> str | None:
        return "use" if path and path[-1] == "b" else None

    def drop_bound_fields(self, path: Path, lower: Map, upper: Map) -> Map:
        return lower


SCALARS = st.sampled_from([0, 1, "x", None, True])
ITEMS = st.lists(SCALARS, max_size=2)
LEAVES = st.one_of(
    SCALARS,
    ITEMS,
    st.just({"$unset": True}),
    ITEMS.map(lambda items: {"$append": items}),
    ITEMS.map(lambda items: {"$prepend": items}),
    st.tuples(ITEMS, ITEMS).map(lambda both: {"$prepend": both[0], "$append": both[1]}),
    st.just({"$env": "X"}),
    ITEMS.map(lambda items: {"$value": items}),
    st.just({"$value": {"a": 1}}),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=3), max_leaves=6
)
PLAIN_LAYERS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3)


def as_layer(value: dict[str, Plain]) -> Map:
    found: list[Diagnostic] = []
    root = from_plain(value, MARK)
    assert isinstance(root, Map)
    recognised = recognise_operators(root, found)
    assert found == []
    return normalise(recognised, Rules())


LAYERS = PLAIN_LAYERS.map(as_layer)


def settled(root: Map) -> tuple[Plain, list[str]]:
    found: list[Diagnostic] = []
    return to_plain(settle(root, found)), [diagnostic.code for diagnostic in found]


def ordered(value: Plain) -> object:
    """Return `value` in a form whose equality minds the order of keys."""
    if isinstance(value, dict):
        return [(key, ordered(inner)) for key, inner in value.items()]
    return [ordered(item) for item in value] if isinstance(value, list) else value


def is_same(one: Map, other: Map) -> bool:
    (first, said), (second, also_said) = settled(one), settled(other)
    return ordered(first) == ordered(second) and said == also_said


@given(st.lists(LAYERS, max_size=5))
def test_folding_is_a_left_fold(layers: list[Map]) -> None:
    empty = as_layer({})

    def step(lower: Map, upper: Map) -> Map:
        return fold([lower, upper], Rules())

    assert is_same(fold(layers, Rules()), reduce(step, layers, empty))


@given(LAYERS)
def test_the_empty_document_is_the_identity(layer: Map) -> None:
    empty = as_layer({})
    for layers in ([layer, empty], [empty, layer], [layer], [empty, layer, empty]):
        assert fold(layers, Rules()) == fold([layer], Rules())
        assert is_same(fold(layers, Rules()), layer)


@given(LAYERS, LAYERS, LAYERS)
def test_folding_is_associative_whatever_the_shapes(one: Map, two: Map, three: Map) -> None:
    left = fold([fold([one, two], Rules()), three], Rules())
    right = fold([one, fold([two, three], Rules())], Rules())
    assert is_same(left, right)


@given(st.data())
def test_merging_is_associative_where_every_block_states_its_kind(data: st.DataObject) -> None:
    block = st.builds(
        lambda kind, rest: {**rest, "use": kind},
        st.sampled_from(["knife", "spoon"]),
        st.dictionaries(st.sampled_from(["a", "c"]), LEAVES, max_size=2),
    )
    layers = [
        as_layer({"b": data.draw(st.one_of(block, st.just({"$unset": True})))}) for _ in range(3)
    ]
    one, two, three = layers
    left = fold([fold([one, two], Rules()), three], Rules())
    right = fold([one, fold([two, three], Rules())], Rules())
    assert is_same(left, right)


@given(VALUES, VALUES, VALUES)
def test_a_value_folds_over_lower_ones_as_its_layers_would(
    one: Plain, two: Plain, three: Plain
) -> None:
    rules = Rules()
    a, b, c = (as_layer({"k": value}).entries["k"] for value in (one, two, three))
    path = ("k",)
    left = merge(merge(a, b, path, rules), c, path, rules)
    right = merge(a, merge(b, c, path, rules), path, rules)
    assert is_same(Map({"k": left}, {"k": MARK}, MARK), Map({"k": right}, {"k": MARK}, MARK))


@given(st.lists(LAYERS, max_size=4))
def test_nothing_is_left_to_do_after_settling(layers: list[Map]) -> None:
    root = settle(fold(layers, Rules()), [])
    seen: list[Node] = [root]
    while seen:
        node = seen.pop()
        assert not isinstance(node, Change)
        if isinstance(node, Map):
            assert set(node.entries) == set(node.keys)
            seen.extend(node.entries.values())
        elif isinstance(node, Seq):
            seen.extend(node.items)
    assert to_plain(settle(root, [])) == to_plain(root)


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3)))
def test_linearising_puts_every_ancestor_once_before_its_children(
    parents: dict[str, list[str]],
) -> None:
    try:
        order = linearise("a", lambda name: parents.get(name, []))
    except Cycle as cycle:
        assert cycle.chain[0] == cycle.chain[-1]
        assert len(cycle.chain) > 1
        for child, parent in zip(cycle.chain, cycle.chain[1:], strict=False):
            assert parent in parents[child]
        return
    assert order[-1] == "a"
    assert len(order) == len(set(order))
    for child in order:
        for parent in parents.get(child, []):
            assert order.index(parent) < order.index(child)


@given(
    st.lists(PLAIN_LAYERS, min_size=1, max_size=5),
    st.lists(st.lists(st.integers(0, 4), max_size=2), min_size=5, max_size=5),
    PLAIN_LAYERS,
)
def test_an_entry_is_the_fold_of_its_defaults_its_ancestors_and_itself(
    owns: list[dict[str, Plain]], wanted: list[list[int]], defaults: dict[str, Plain]
) -> None:
    # Parents come from earlier entries alone, so there are no cycles.
    parents = {n: [p for p in wanted[n] if p < n] for n in range(len(owns))}
    entries = as_layer(
        {
            f"e{n}": {**own, "extends": [f"e{parent}" for parent in parents[n]]}
            for n, own in enumerate(owns)
        }
    )
    base = as_layer(defaults)
    found: list[Diagnostic] = []
    result = inherit(entries, base, Rules(), found, ("lms",))
    for n in range(len(owns)):
        chain = linearise(n, parents.__getitem__)
        expected = fold([base, *(as_layer(owns[link]) for link in chain)], Rules())
        node = result.entries.entries[f"e{n}"]
        assert not isinstance(node, Broken)
        assert ordered(to_plain(node)) == ordered(settled(expected)[0])
