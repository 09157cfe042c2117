"""Folding named entries with the entries that they extend.

An entry is a map that may hold `extends: name` or a list of names. Its chain is folded from the
lowest layer up: the defaults once, then its ancestors (each once, none overriding a child's own
choice), then the entry itself. Entries whose names begin with `_` are abstract: only extended.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Note
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.findings import Enough
from lmconf.document.linearisation import Cycle, linearise
from lmconf.document.merge import DefaultItems, Rules, merge, no_default_items, settle_value
from lmconf.document.nodes import Broken, Change, Map, Node, Path, Scalar, Seq, size_of
from lmconf.document.yaml.limits import NODES
from lmconf.errors import ProfileError

__all__ = ["Ancestor", "Foreign", "Inherited", "inherit"]

Foreign: TypeAlias = Callable[[str, Mark], Map | None]
"""Returns the map that a name such as `team:claude` stands for, or None after reporting why not."""


_MOST_ANCESTORS = 4 * NODES  # of all entries together: a long chain has very many


class Ancestor(Struct, frozen=True):
    """An entry that another inherits from, and the place of the `extends` that named it."""

    name: str
    mark: Mark


class Inherited(Struct, frozen=True):
    """Entries with everything they inherit folded in, settled and without `extends`.

    An entry whose inheritance is broken is `Broken` in `entries`. `abstract` holds those that are
    only extended. `chains` says for every entry where it inherits from, the nearest first. `own`
    is what each entry, and each parent from elsewhere, says itself.
    """

    entries: Map
    abstract: Mapping[str, Node]
    chains: Mapping[str, tuple[Ancestor, ...]]
    own: Mapping[str, Node]


def inherit(
    entries: Map,
    defaults: Map | None,
    rules: Rules,
    diagnostics: list[Diagnostic],
    path: Path,
    *,
    defaults_path: Path = ("defaults",),
    foreign: Foreign | None = None,
    usual: DefaultItems = no_default_items,
) -> Inherited:
    """Return `entries`, the map at `path`, with each entry's chain folded.

    Args:
        entries: the named entries, normalised, operators not yet settled.
        defaults: what lies under the root of every chain, from `defaults_path`.
        rules: those of the fold that made the document.
        diagnostics: where unknown parents, cycles and operators without a list are reported.
        path: where `entries` stands in its document.
        defaults_path: where `defaults` stands in its document.
        foreign: resolves parents whose names hold a colon. Such a parent is complete: it lies
            over `defaults` and under what extends it.
        usual: what lists hold that nobody states, by their paths.

    Raises:
        Enough: entries hold too much, with what they inherit.
    """
    family = _InheritanceGraph(diagnostics, path, foreign)
    family.read(entries)
    base = _base(defaults, defaults_path, diagnostics)
    return _ChainFolder(family, base, rules, usual).all(entries)


def _base(defaults: Map | None, path: Path, diagnostics: list[Diagnostic]) -> Map | None:
    if defaults is None or "extends" not in defaults:
        return defaults
    diagnostics.append(
        Diagnostic(
            code="extends-in-defaults",
            message=f"`{'.'.join(map(str, path))}` cannot extend anything",
            mark=defaults.keys["extends"],
            path=(*path, "extends"),
            help="write `extends` in each entry instead",
        )
    )
    return _without(defaults, "extends")


class _InheritanceGraph:
    """Who extends whom: each entry's own map, its parents, and which entries are unusable."""

    def __init__(self, diagnostics: list[Diagnostic], path: Path, foreign: Foreign | None) -> None:
        self.diagnostics = diagnostics
        self.path = path
        self.foreign = foreign
        self.own: dict[str, Node] = {}
        self.parents: dict[str, tuple[Ancestor, ...]] = {}
        self.orders: dict[str, list[str]] = {}
        self.broken: set[str] = set()

    def read(self, entries: Map) -> None:
        for name, entry in entries:
            self.add(name, entry)
        for name in list(self.own):
            self.parents[name] = tuple(
                ancestor
                for ancestor in self.parents.get(name, ())
                if self.is_known(name, ancestor, entries)
            )
        self.linearise_all()

    def add(self, name: str, entry: Node) -> None:
        """Take `entry` apart into its parents and what it says itself."""
        own = _unwrap_change(entry, self.diagnostics, (*self.path, name))
        if own is None:
            return
        self.own[name] = own
        if not isinstance(own, Map):
            # Its shape is judged later; whoever extends it has nothing to inherit.
            self.broken.add(name)
            return
        extends = own.get("extends")
        if extends is not None:
            self.own[name] = _without(own, "extends")
            self.parents[name] = self.parents_of(name, extends)

    def parents_of(self, name: str, extends: Node) -> tuple[Ancestor, ...]:
        """Return the parents that `extends` names."""
        path = (*self.path, name, "extends")
        parents = settle_value(extends, self.diagnostics, path)
        items = parents.items if isinstance(parents, Seq) else (parents,)
        ancestors = []
        for item in items:
            if isinstance(item, Scalar) and isinstance(item.value, str) and "{{" not in item.value:
                ancestors.append(Ancestor(item.value, item.mark))
            elif item is not None:
                self.broken.add(name)
                if not isinstance(item, Broken):
                    self.diagnostics.append(_no_name(item, path))
        return tuple(ancestors)

    def is_known(self, name: str, ancestor: Ancestor, entries: Map) -> bool:
        if ancestor.name in self.own:
            return True
        if ":" in ancestor.name and self.foreign is not None:
            whole = self.foreign_parent(ancestor)
            if whole is not None:
                self.own[ancestor.name] = _without(whole, "extends")
                return True
        else:
            path = (*self.path, name, "extends")
            self.diagnostics.append(_unknown(name, ancestor, {*self.own} - {name}, entries, path))
        self.broken.add(name)
        return False

    def foreign_parent(self, ancestor: Ancestor) -> Map | None:
        assert self.foreign is not None
        try:
            return self.foreign(ancestor.name, ancestor.mark)
        except ProfileError as error:
            self.diagnostics += error.diagnostics
            return None

    def linearise_all(self) -> None:
        reported: set[frozenset[str]] = set()
        ancestors = 0
        for name in self.own:
            order = self.order(name)
            if isinstance(order, list):
                self.orders[name] = order
                ancestors += len(order)
                if ancestors > _MOST_ANCESTORS:
                    raise Enough(_too_large(self, name))
                if not self.broken.isdisjoint(order):
                    self.broken.add(name)
                continue
            self.broken.add(name)
            if frozenset(order.chain) not in reported:
                reported.add(frozenset(order.chain))
                self.diagnostics.append(self.cyclic(order.chain))

    def order(self, name: str) -> list[str] | Cycle[str]:
        try:
            return linearise(name, self.parent_names)
        except Cycle as cycle:
            return cycle

    def parent_names(self, name: str) -> list[str]:
        return [ancestor.name for ancestor in self.parents.get(name, ())]

    def cyclic(self, chain: tuple[str, ...]) -> Diagnostic:
        first, *others = itertools.pairwise(chain)
        return Diagnostic(
            code="extends-cycle",
            message=f"`{chain[0]}` extends itself" + (f": {' -> '.join(chain)}" if others else ""),
            mark=self.place(*first),
            path=(*self.path, chain[0], "extends"),
            help="remove one of these `extends`" if others else "remove this `extends`",
            notes=tuple(
                Note(f"`{child}` extends `{parent}` here", self.place(child, parent))
                for child, parent in others
            ),
        )

    def place(self, child: str, parent: str) -> Mark:
        return next(each.mark for each in self.parents[child] if each.name == parent)

    def chain(self, name: str) -> tuple[Ancestor, ...]:
        order = self.orders.get(name, [name])
        nearest: dict[str, Ancestor] = {}
        for link in reversed(order):
            for ancestor in self.parents.get(link, ()):
                nearest.setdefault(ancestor.name, ancestor)
        return tuple(nearest[link] for link in reversed(order[:-1]))


class _ChainFolder:
    """Folds the chain of every entry; chains that begin alike are folded once as far as that."""

    def __init__(
        self,
        family: _InheritanceGraph,
        defaults: Map | None,
        rules: Rules,
        usual: DefaultItems,
    ) -> None:
        self.family = family
        self.defaults = defaults
        self.rules = rules
        self.usual = usual
        self.folded: dict[str, Node] = {}
        self.reported: set[tuple[str, int]] = set()
        self.sizes: dict[int, int] = {}
        self.size = 0

    def all(self, entries: Map) -> Inherited:
        family = self.family
        usable = [name for name in family.own if name not in family.broken]
        # A parent's chain is shorter than its child's, so it is there when the child needs it.
        for name in sorted(usable, key=lambda each: len(family.orders[each])):
            self.folded[name] = self.fold(name)
            self.measure(name, self.folded[name])
        results: dict[str, Node] = {}
        for name in entries.entries:
            if name in family.own:
                results[name] = self.result(name)
        concrete = {name: node for name, node in results.items() if not name.startswith("_")}
        return Inherited(
            Map(concrete, {name: entries.keys[name] for name in concrete}, entries.mark),
            {name: node for name, node in results.items() if name.startswith("_")},
            {name: family.chain(name) for name in results},
            family.own,
        )

    def fold(self, name: str) -> Node:
        """Return the fold of the chain of `name`, not yet settled."""
        path = (*self.family.path, name)
        below, rest = self.begin(self.family.orders[name])
        for link in rest:
            own = self.family.own[link]
            below = own if below is None else merge(below, own, path, self.rules)
        assert below is not None
        return below

    def measure(self, name: str, entry: Node) -> None:
        """See that the entries are not too large together: each holds what many inherit.

        Raises:
            Enough: they are.
        """
        self.size += size_of(entry, self.sizes)
        if self.size > NODES:
            raise Enough(_too_large(self.family, name))

    def begin(self, order: list[str]) -> tuple[Node | None, list[str]]:
        """Return the longest part of `order` that was folded already, and what is left of it."""
        for end in range(len(order) - 1, 0, -1):
            link = order[end - 1]
            if self.family.orders[link] == order[:end]:
                return self.folded[link], order[end:]
        return self.defaults, order

    def result(self, name: str) -> Node:
        own = self.family.own[name]
        if name in self.family.broken:
            return Broken(own.mark) if isinstance(own, Map) else own
        diagnostics: list[Diagnostic] = []
        path = (*self.family.path, name)
        settled = settle_value(self.folded[name], diagnostics, path, self.usual)
        if not isinstance(settled, Map):
            return Broken(own.mark)
        self.report(diagnostics)
        return settled

    def report(self, diagnostics: list[Diagnostic]) -> None:
        """Report what was not reported before: children inherit their parents' mistakes."""
        for diagnostic in diagnostics:
            key = (diagnostic.code, id(diagnostic.mark))
            if key not in self.reported:
                self.reported.add(key)
                self.family.diagnostics.append(diagnostic)


def _unwrap_change(entry: Node, diagnostics: list[Diagnostic], path: Path) -> Node | None:
    """Return `entry` itself rather than what it does to lower layers, or None if it was unset."""
    if not isinstance(entry, Change):
        return entry
    if isinstance(entry.base, Map) and not entry.prepend and not entry.append:
        return entry.base
    return settle_value(entry, diagnostics, path)


def _too_large(family: _InheritanceGraph, name: str) -> Diagnostic:
    return Diagnostic(
        code="too-large",
        message=f"`{family.path[0]}` have more than {NODES:,} keys and values, including what each"
        " inherits",
        mark=family.own[name].mark,
        path=(*family.path, name),
        label="the limit is passed here",
        help="state less in `defaults` and in shared parents, or split the profile",
    )


def _without(node: Map, key: str) -> Map:
    entries = {name: value for name, value in node.entries.items() if name != key}
    return Map(entries, {name: node.keys[name] for name in entries}, node.mark)


def _no_name(item: Node, path: Path) -> Diagnostic:
    if isinstance(item, Scalar) and isinstance(item.value, str):
        message = "`extends` cannot be a template: parents are known before templates are rendered"
    else:
        message = "`extends` takes a name or a list of names"
    return Diagnostic(
        code="extends-name",
        message=message,
        mark=item.mark,
        path=path,
        help="write the name of the parent",
    )


def _unknown(
    name: str, ancestor: Ancestor, names: set[str], entries: Map, path: Path
) -> Diagnostic:
    near = did_you_mean(ancestor.name, sorted(names))
    if near is not None:
        help = f"did you mean `{near}`?"
    elif names:
        help = f"known here: {', '.join(sorted(names)[:12])}"
    else:
        help = "there is nothing else to extend here"
    notes = (Note(f"`{near}` is defined here", entries.keys.get(near)),) if near else ()
    return Diagnostic(
        code="extends-unknown",
        message=f"`{name}` extends `{ancestor.name}`, which does not exist",
        mark=ancestor.mark,
        path=path,
        help=help,
        notes=notes,
    )
