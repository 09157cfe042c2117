"""The middle stage: rendered parts become plain data, with every fault reported at its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lmconf.compiler.compose import FLAT_NAME
from lmconf.compiler.extensions import merge_faults, unknown_extensions
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.name_checks import (
    check_main,
    check_pool_members,
    find_duplicate_names,
    find_fallback_cycles,
    find_self_fallback,
    find_unknown_names,
)
from lmconf.compiler.parts import ProfileParts, no_block
from lmconf.compiler.shared_credentials import find_shared_credentials
from lmconf.diagnostics.model import Diagnostic, Note
from lmconf.document.nodes import Broken, Change, Map, Node, Scalar
from lmconf.schema.check import Fault, check
from lmconf.schema.fault import UnreadableValue
from lmconf.spec.build import complete_data
from lmconf.spec.plain_data import to_data, to_diagnostics
from lmconf.spec.profile import MANY_LMS, ONE_LM
from lmconf.spec.rules.budgets import check_profile_budget

__all__ = ["check_parts"]


def check_parts(
    parts: ProfileParts, inputs: CompilerInputs, diagnostics: list[Diagnostic]
) -> dict[str, Any]:
    """Check every LM of a profile, and what stands beside them.

    Args:
        parts: the parts of the profile, rendered.
        inputs: what the application gives.
        diagnostics: every fault is added to it.

    Returns:
        The plain data of the whole profile: a `ProfileSpec` can be built from it if nothing that
        was added is an error.
    """
    return _Checker(parts, inputs, diagnostics).all()


class _Checker:
    """One pass over the parts of a profile."""

    def __init__(
        self, parts: ProfileParts, inputs: CompilerInputs, diagnostics: list[Diagnostic]
    ) -> None:
        self.parts = parts
        self.inputs = inputs
        self.diagnostics = diagnostics

    def all(self) -> dict[str, Any]:
        # Parents first: a mistake of theirs is told as theirs, not as something inherited.
        for name, node in self.parts.abstract.items():
            if isinstance(node, Map):
                _, faults = complete_data(node, abstract=True)
                self.report(name, node, self.with_extensions(node, faults))
            elif not isinstance(node, Broken):
                self.diagnostics.append(no_block(node, self.parts.path(name)))
        entries = self.parts.entries
        # Pools last: they have what they do not say from their members.
        order = sorted(entries, key=lambda name: _is_pool_node(entries[name]))
        done: dict[str, object] = {}
        for name in order:
            done[name] = self.lm(name, entries[name], done)
        lms = {name: done[name] for name in entries}
        head = self.head(lms)
        for name, data in lms.items():
            self.names(name, data, head)
            if isinstance(data, Mapping):
                self.report(name, entries[name], check_pool_members(name, lms))
        self.diagnostics += find_fallback_cycles(self.parts, lms)
        if not self.parts.flat:
            crossing = {
                diagnostic.mark
                for diagnostic in self.diagnostics
                if diagnostic.code == "credential-crosses"
            }
            shared = find_shared_credentials(self.parts.entries, lms)
            self.diagnostics += [
                diagnostic for diagnostic in shared if diagnostic.mark not in crossing
            ]
        return {**head, "lms": lms}

    def lm(self, name: str, node: Node, others: Mapping[str, object]) -> object:
        """Return the data of one LM, with what is wrong in it unread; `others` are there by now."""
        if not isinstance(node, Map):
            if not isinstance(node, Broken):
                self.diagnostics.append(no_block(node, self.parts.path(name)))
            return UnreadableValue()
        data, faults = complete_data(node, self.parts.soft.get(name, frozenset()), named=others)
        self.report(name, node, self.with_extensions(node, faults))
        faulty = {fault.path[0] for fault in faults if fault.path}
        return {key: UnreadableValue() if key in faulty else value for key, value in data.items()}

    def with_extensions(self, node: Map, faults: Sequence[Fault]) -> list[Fault]:
        """Return `faults` and the kinds in `node` that nothing provides, without what follows."""
        data = to_data(node)
        assert isinstance(data, dict)
        return merge_faults(faults, unknown_extensions(data, self.inputs))

    def head(self, lms: Mapping[str, object]) -> dict[str, Any]:
        """Return the data of what stands beside the LMs."""
        parts = self.parts
        data = to_data(parts.head)
        assert isinstance(data, dict)
        if parts.flat:
            self.diagnostics += to_diagnostics(check(ONE_LM, data, partial=True), parts.head)
            return {"main": FLAT_NAME}
        names = [*lms, *(name for name in parts.abstract if name != "defaults")]
        faults = check(MANY_LMS, {**data, "lms": dict.fromkeys(names, UnreadableValue())})
        faults += check_main(data.get("main"), lms)
        faults += self.budget(data, lms)
        faults = merge_faults(faults, unknown_extensions(data, self.inputs))
        lms_as_written = {} if parts.as_written is None else {"lms": parts.as_written}
        whole = Map({**parts.head.entries, **lms_as_written}, parts.head.keys, parts.head.mark)
        self.diagnostics += to_diagnostics(faults, whole)
        if "main" not in data and (len(lms) == 1 or FLAT_NAME in lms):
            data["main"] = FLAT_NAME if FLAT_NAME in lms else next(iter(lms))
        return data

    def budget(self, data: Mapping[str, Any], lms: Mapping[str, object]) -> Iterator[Fault]:
        """Yield what is wrong with the budget of the whole profile."""
        budget = data.get("budget")
        if not isinstance(budget, Mapping):
            return
        yield from check_profile_budget(budget, lms)
        stores = data.get("stores")
        names = {"stores": tuple(stores) if isinstance(stores, Mapping) else ()}
        yield from find_unknown_names({"budget": budget}, names)

    def names(self, name: str, data: object, head: Mapping[str, Any]) -> None:
        """Report the names in one LM that nothing has; a fallback to itself is dropped."""
        node = self.parts.entries[name]
        if not isinstance(data, dict) or not isinstance(node, Map):
            return
        self.report(name, node, find_duplicate_names(data))
        if isinstance(data.get("fallbacks"), list):
            if self.states_itself(name):
                self.report(name, node, find_self_fallback(name, data["fallbacks"]))
            data["fallbacks"] = [item for item in data["fallbacks"] if item != name]
        readable = {
            key: value for key, value in data.items() if not isinstance(value, UnreadableValue)
        }
        names: dict[str, tuple[str, ...]] = {"stores": (), "callbacks": (), "lms": ()}
        if not self.parts.flat:
            for key in ("stores", "callbacks"):
                names[key] = tuple(head[key]) if isinstance(head.get(key), Mapping) else ()
            names["lms"] = tuple(self.parts.entries)
        self.report(name, node, find_unknown_names(readable, names, alone=self.parts.flat))

    def states_itself(self, name: str) -> bool:
        """Say whether the LM `name` itself names itself as its fallback: in `defaults`, it may."""
        own = self.parts.as_written.get(name) if self.parts.as_written is not None else None
        stated = own.get("fallbacks") if isinstance(own, Map) else None
        if isinstance(stated, Change):
            items = (*stated.prepend, *stated.append)
            return any(isinstance(item, Scalar) and item.value == name for item in items)
        return stated is not None

    def report(self, name: str, node: Node, faults: Iterable[Fault]) -> None:
        # One by one: when there are enough of them, no others are looked for.
        for fault in faults:
            for diagnostic in to_diagnostics([fault], node, shown=self.parts.path(name)):
                self.diagnostics.append(self.with_heir(name, diagnostic))

    def with_heir(self, name: str, diagnostic: Diagnostic) -> Diagnostic:
        """Return `diagnostic` saying who inherits the value, when it is not the LM's own."""
        own = self.parts.as_written.get(name) if self.parts.as_written is not None else None
        field = diagnostic.path[2] if len(diagnostic.path) > 2 else None
        chain = self.parts.chains.get(name, ())
        if not chain or not isinstance(own, Map) or field is None or field in own.entries:
            return diagnostic
        note = Note(f"inherited by `{name}`, which extends `{chain[0].name}` here", chain[0].mark)
        return msgspec.structs.replace(diagnostic, notes=(*diagnostic.notes, note))


def _is_pool_node(node: Node) -> bool:
    return isinstance(node, Map) and "pool" in node
