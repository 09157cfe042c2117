"""Where the values of each LM were stated, and what stood beside each statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from lmconf.diagnostics.model import Mark
from lmconf.document.inheritance import Inherited
from lmconf.document.merge import fold, settle
from lmconf.document.nodes import Change, Map, Node, Path
from lmconf.spec.destinations import (
    StatedValue,
    Statement,
    addressing_fields,
    leaves_of,
    node_identities,
)
from lmconf.spec.merge_rules import LMRules
from lmconf.spec.plain_data import to_data
from lmconf.spec.rules.pools import is_pool

__all__ = ["DocumentLayer", "statements_of_lm", "statements_of_profile"]

_DEFAULTS = "defaults"


class DocumentLayer(Struct, frozen=True, eq=False, dict=True):
    """One document, or all overrides together: its normalised root, and what it is laid over.

    `beneath` are the places of the layers below it that its document extends. `text` is the root
    as it was read.
    """

    root: Map
    beneath: tuple[int, ...]
    text: Map | None = None

    @cached_property
    def maps_by_key(self) -> Mapping[tuple[str, int, int], list[Map]]:
        """The maps that have each key, by the key's place: `<<` copies keys."""
        maps: dict[tuple[str, int, int], list[Map]] = {}
        if self.text is not None and "<<" in (self.text.mark.source.text or ""):
            _note_keys(self.text, maps)
        return maps

    @cached_property
    def callable_lms(self) -> frozenset[tuple[str, int, int]]:
        """The places of the LMs that are asked themselves, not extended only."""
        entries = self.root.get("lms")
        lms = entries if isinstance(entries, Map) else ()
        return frozenset(each.mark.key for name, each in lms if not name.startswith("_"))


def _note_keys(node: Node, maps: dict[tuple[str, int, int], list[Map]]) -> None:
    if isinstance(node, Map):
        for mark in node.keys.values():
            maps.setdefault(mark.key, []).append(node)
        for value in node.entries.values():
            _note_keys(value, maps)


def statements_of_lm(
    layers: Sequence[DocumentLayer], root: Map, settled: Map, rules: LMRules
) -> StatedValue:
    """Return what the LM of a one-LM document has, and which block states each value of it.

    Args:
        layers: the documents and overrides, the lowest first.
        root: their fold.
        settled: the fold after its operators were applied.
        rules: how the layers are folded.
    """
    fields = _Fields()
    statements = []
    for path, node in leaves_of(settled):
        stating = (i for i, each in enumerate(layers) if fields.have(each.root, path, node))
        place = next(stating, len(layers) - 1)
        beside = settle(fold(_below(layers, place), rules), [], usual=rules.usual)
        copied = _merge_source(layers[place], layers[place].root, path)
        statements.append(
            Statement(path, node, addressing_fields(beside if copied is None else copied))
        )
    return StatedValue(tuple(statements), _unset(settled, (root,)))


def statements_of_profile(
    layers: Sequence[DocumentLayer],
    whole: Inherited,
    defaults: Map | None,
    inherited: Callable[[Map], Inherited],
) -> dict[str, StatedValue]:
    """Return what each LM of a profile has, and which block states each value of it.

    Args:
        layers: the documents and overrides, the lowest first.
        whole: what the LMs of their fold inherit.
        defaults: the block that lies under all of them, if there is one.
        inherited: returns what LMs inherit in the fold of some of the layers.

    Returns:
        The statements by the name of the LM; pools have none.
    """
    finder = _StatementFinder(layers, whole, defaults, inherited)
    return {
        name: finder.statements_of(name, node)
        for name, node in whole.entries
        if isinstance(node, Map) and not _is_pool(node)
    }


def _is_pool(lm: Map) -> bool:
    pool = lm.get("pool")
    return pool is not None and is_pool({"pool": to_data(pool)})


class _StatementFinder:
    """Finds the statements of one document's LMs."""

    def __init__(
        self,
        layers: Sequence[DocumentLayer],
        whole: Inherited,
        defaults: Map | None,
        inherited: Callable[[Map], Inherited],
    ) -> None:
        self.layers = layers
        self.whole = whole
        self.defaults = defaults
        self.inherited = inherited
        self.views: dict[int, tuple[Inherited, Map | None]] = {}
        self.blocks: dict[tuple[str, int], Map] = {}
        self.known: dict[int, tuple[str, Map]] = {}
        self.fields = _Fields()

    def statements_of(self, name: str, lm: Map) -> StatedValue:
        """Return what the LM `name` has, and which block states each value of it."""
        links = (name, *(ancestor.name for ancestor in self.whole.chains[name]))
        owns = (*(self.whole.own.get(link) for link in links), self.defaults)
        statements = []
        for path, node in leaves_of(lm):
            link, beside = self.known.get(id(node), ("", None))
            if beside is None or link not in links:
                blocks = zip((*links, _DEFAULTS), owns, strict=True)
                stating = (each for each, own in blocks if self.fields.have(own, path, node))
                link = next(stating, name)
                beside = addressing_fields(self.beside(link, path, node))
                self.known[id(node)] = link, beside
            statements.append(Statement(path, node, beside))
        return StatedValue(tuple(statements), _unset(lm, owns))

    def beside(self, link: str, path: Path, node: Node) -> Map:
        """Return what the block `link` says in all where it states `node`."""
        for place, layer in enumerate(self.layers):
            entry = _entry(layer.root, link)
            if self.fields.have(entry, path, node):
                copied = _merge_source(layer, entry, path)
                if copied is None:
                    return self.block(link, place)
                owner = self.name_of(layer.root, copied)
                return copied if owner is None else self.block(owner, place)
        # A parent from another profile: it is whole, and nothing of this one lies under it.
        foreign = self.whole.own[link]
        assert isinstance(foreign, Map)
        return foreign

    def name_of(self, root: Map, lm: Map) -> str | None:
        """Return under which name `lm` stands in `root`, None where it has none."""
        entries = root.get("lms")
        lms = entries if isinstance(entries, Map) else ()
        return next((name for name, each in lms if each.mark.key == lm.mark.key), None)

    def block(self, link: str, place: int) -> Map:
        """Return what the block `link`, with all it inherits, says as of the layer at `place`."""
        if (link, place) not in self.blocks:
            self.blocks[link, place] = self.compose_block(link, place)
        return self.blocks[link, place]

    def compose_block(self, link: str, place: int) -> Map:
        """Return what `block` returns, composed anew."""
        if place not in self.views:
            root = fold(_below(self.layers, place), LMRules(flat=False))
            view = self.whole if place == len(self.layers) - 1 else self.inherited(root)
            below = root.get(_DEFAULTS)
            self.views[place] = view, below if isinstance(below, Map) else None
        view, defaults = self.views[place]
        if link == _DEFAULTS and defaults is not None:
            return settle(defaults, [])
        for node in (view.entries.get(link), view.abstract.get(link), view.own.get(link)):
            if isinstance(node, Map):
                return settle(node, [])
        # What cannot be composed there is paired with no address.
        return Map({}, {}, self.layers[place].root.mark)


def _below(layers: Sequence[DocumentLayer], place: int) -> list[Map]:
    """Return the roots that the layer at `place` is laid over, and its own."""
    return [layers[each].root for each in (*layers[place].beneath, place)]


def _entry(root: Map, link: str) -> Node | None:
    if link == _DEFAULTS:
        return root.get(_DEFAULTS)
    entries = root.get("lms")
    return entries.get(link) if isinstance(entries, Map) else None


class _Fields:
    """Which nodes the fields of blocks hold, each looked through once."""

    def __init__(self) -> None:
        self._known: dict[int, set[int]] = {}

    def have(self, own: Node | None, path: Path, node: Node) -> bool:
        """Say whether the block `own` states `node` under the field that `path` begins with."""
        if isinstance(own, Change):
            own = own.base
        field = own.get(str(path[0])) if isinstance(own, Map) else None
        if field is None:
            return False
        if id(field) not in self._known:
            self._known[id(field)] = node_identities(field)
        return id(node) in self._known[id(field)]


def _merge_source(layer: DocumentLayer, entry: Node | None, path: Path) -> Map | None:
    """Return the map from which `<<` copied the field of `path` into `entry`, if it says where.

    One that has neither model nor address is a shorthand: what it holds is stated where it is used.
    """
    mark = entry.keys.get(str(path[0])) if isinstance(entry, Map) else None
    if mark is None or not isinstance(entry, Map):
        return None
    having = layer.maps_by_key.get(mark.key, ())
    # It was written in the map that begins last before it.
    before = [each for each in having if _start(each.mark) <= _start(mark)]
    writer = max(before, key=lambda each: _start(each.mark), default=entry)
    if writer.mark.key == entry.mark.key:
        return None
    around = _start(entry.mark) <= _start(writer.mark)
    # What has all its keys in the entry may have been copied; an anchor stands above its uses. LMs
    # that are asked themselves have the same value, and are compared where all have their data.
    copied = [
        each
        for each in having
        if each.mark.key != entry.mark.key
        and addressing_fields(each).entries
        and each.entries.keys() <= entry.entries.keys()
        and (around or _start(each.mark) < _start(entry.mark))
        and (each is writer or each.mark.key not in layer.callable_lms)
    ]
    alike = [each for each in copied if _says_as(each, entry)]
    source = next(reversed(alike or copied), None)
    return None if source is None else settle(source, [])


def _start(mark: Mark) -> tuple[int, int]:
    return mark.line, mark.column


def _says_as(one: Map, other: Map) -> bool:
    """Say whether both have what says where requests go from one place of the text."""
    mine, theirs = addressing_fields(one).entries, addressing_fields(other).entries
    return all(key in theirs and value.mark == theirs[key].mark for key, value in mine.items())


def _unset(lm: Map, owns: Sequence[Node | None]) -> Mark | None:
    """Return where the address that `lm` has not was taken away."""
    if "api_base" in lm:
        return None
    addresses = (own.get("api_base") for own in owns if isinstance(own, Map))
    return next((each.mark for each in addresses if isinstance(each, Change)), None)
