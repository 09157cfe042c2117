"""The compiler: documents in, a frozen profile and every diagnostic out.

    read ─▶ recognise ─▶ normalise ─▶ fold ─▶ inherit ─▶ render ─▶ check ─▶ build

Stages run on what the earlier ones could make sense of, so that one pass reports everything.
Nothing here reads a file, a clock or the environment: those come in as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import msgspec
from msgspec import Struct

from lmconf.compiling.credentials import shared_credentials
from lmconf.compiling.extensions import merged, unknown_extensions
from lmconf.compiling.inputs import Inputs
from lmconf.compiling.naming import inline, inline_stated, unknown_main, unknown_names
from lmconf.compiling.parts import Parts, heads, is_of_the_future, part
from lmconf.document.composing import Crossing, Fold, fold, normalise, settle
from lmconf.document.dollar import recognise
from lmconf.document.inheriting import Ancestor, inherit
from lmconf.document.nodes import Broken, Document, Map, Node, Path, Plain, Scalar, to_plain
from lmconf.document.overriding import overlay
from lmconf.document.templating import Renderer
from lmconf.document.variables import Bound, bind
from lmconf.errors import Diagnostic, Note
from lmconf.profile.authored import MANY_LMS, ONE_LM, ProfileDocument
from lmconf.profile.compiled import Compiled
from lmconf.profile.data import places, to_data, to_diagnostics, with_absolute_paths
from lmconf.profile.document import PROFILE, ProfileSpec
from lmconf.profile.lm import LM, LMSpec
from lmconf.profile.making import crossed, data_of
from lmconf.profile.pending import pending
from lmconf.profile.rules import LMRules
from lmconf.reporting import in_order
from lmconf.spec.building import build
from lmconf.spec.checking import Fault, check
from lmconf.spec.declaring import fields
from lmconf.spec.frozen import FrozenMap, freeze
from lmconf.spec.navigating import Unread

__all__ = ["CompiledProfile", "Outcome", "compile_documents"]

FLAT_NAME = "main"
"""The name of the LM that a one-LM document holds."""


class CompiledProfile(Struct, frozen=True, eq=False, kw_only=True):
    """A profile, ready to run: its spec, its LMs, and what is known beside them.

    `nodes` are the rendered documents' values by LM, with the place of each.
    """

    name: str
    spec: ProfileSpec
    stated: Mapping[str, Any]
    lms: Mapping[str, Compiled]
    nodes: Map
    flat: bool

    def __repr__(self) -> str:
        return f"CompiledProfile(name={self.name!r}, spec={self.spec!r})"


class Outcome(Struct, frozen=True, eq=False):
    """What compiling came to: a profile, unless a diagnostic is an error."""

    profile: CompiledProfile | None
    diagnostics: tuple[Diagnostic, ...]
    entries: Mapping[str, Node] = FrozenMap()

    def __repr__(self) -> str:
        """Leave out the entries: what is wrong with them may be a secret that stands in them."""
        return f"Outcome(profile={self.profile!r}, diagnostics={self.diagnostics!r})"


def compile_documents(documents: Sequence[Document], inputs: Inputs) -> Outcome:
    """Return what `documents`, the lowest layer first, compile to under `inputs`."""
    found: list[Diagnostic] = []
    compiler = _Compiler(inputs, found)
    profile = compiler.run(documents)
    # LMs share what they inherit: what was found twice at one place is said once.
    return Outcome(profile, tuple(in_order(found)), compiler.entries)


class _Compiler:
    """One run through the stages; each fills `found` and leaves the next what it could read."""

    def __init__(self, inputs: Inputs, found: list[Diagnostic]) -> None:
        self.inputs = inputs
        self.found = found
        self.flat = False
        self.chains: Mapping[str, tuple[Ancestor, ...]] = {}
        self.own: Mapping[str, Node] = {}
        self.written: Map | None = None
        self.entries: Mapping[str, Node] = {}

    def run(self, documents: Sequence[Document]) -> CompiledProfile | None:
        parts = self.composed(documents)
        if parts is None:
            return None
        bound = bind(parts.variables, self.inputs.variables, self.inputs.environment, self.found)
        renderer = Renderer(bound.values, self.found, broken=bound.broken)
        rendered = self.rendered(parts, renderer)
        self.found += crossed(parts.crossings, lambda node: _plain_text(renderer.render(node)))
        data = self.checked(rendered)
        if any(diagnostic.severity == "error" for diagnostic in self.found):
            return None
        return self.built(data, rendered, bound)

    # --- composing ------------------------------------------------------------------------------

    def composed(self, documents: Sequence[Document]) -> Parts | None:
        roots = [
            recognise(document.root, self.found, folder=_folder(document)) for document in documents
        ]
        if [root for root in roots if is_of_the_future(root, self.found)]:
            # What else would be wrong with it is a matter of that version.
            return None
        form = heads(roots, self.found)
        if form is None:
            return None
        self.flat = form == "one"
        rules = LMRules(flat=self.flat)
        folding = Fold(rules)
        root = fold([normalise(part(root, "head"), rules) for root in roots], folding)
        if self.inputs.assignments:
            layer = overlay(
                root,
                self.inputs.assignments,
                self.found,
                folding,
                top=() if self.flat else tuple(fields(ProfileDocument)),
            )
            root = fold([root, layer], folding)
        return self.one(root, folding) if self.flat else self.many(root, folding)

    def one(self, root: Map, folding: Fold) -> Parts:
        settled = settle(root, self.found)
        variables = self.variables(settled)
        body = part(settled, "lm")
        return Parts(
            variables=variables,
            head=part(settled, "version"),
            entries={FLAT_NAME: body},
            abstract={},
            crossings=folding.standing(settled),
        )

    def variables(self, head: Map) -> Map | None:
        """Return `vars`, None after reporting where it is no mapping."""
        node = head.get("vars")
        if node is None or isinstance(node, Map | Broken):
            return node if isinstance(node, Map) else None
        self.found.append(
            Diagnostic(
                code="wrong-type",
                message="`vars` must be a mapping of variables and their values",
                mark=node.mark,
                path=("vars",),
                help="write `vars: {name: value}`",
            )
        )
        return None

    def many(self, root: Map, folding: Fold) -> Parts:
        entries, defaults = root.get("lms"), root.get("defaults")
        for name, block in (("lms", entries), ("defaults", defaults)):
            if block is not None and not isinstance(block, Map | Broken):
                self.found.append(_no_block(block, (name,)))
        head = settle(part(root, "profile"), self.found)
        variables = self.variables(head)
        crossings: tuple[Crossing, ...] = ()
        concrete: Mapping[str, Node] = {}
        abstract: Mapping[str, Node] = {}
        if isinstance(entries, Map):
            inherited = inherit(
                entries,
                defaults if isinstance(defaults, Map) else None,
                folding,
                self.found,
                ("lms",),
                foreign=self.inputs.foreign,
            )
            concrete = inherited.entries.entries
            abstract = inherited.abstract
            crossings = inherited.crossings
            self.chains = inherited.chains
            self.own = entries.entries
            self.written = entries
        if isinstance(defaults, Map):
            kept = {key: value for key, value in defaults if key != "extends"}
            own = Map(kept, defaults.keys, defaults.mark)
            abstract = {"defaults": settle(own, self.found, ("defaults",)), **abstract}
        return Parts(
            variables=variables,
            head=head,
            entries=concrete,
            abstract=abstract,
            crossings=crossings,
            defaults=defaults if isinstance(defaults, Map) else None,
        )

    # --- rendering ------------------------------------------------------------------------------

    def rendered(self, parts: Parts, renderer: Renderer) -> Parts:
        def lm(name: str, node: Node) -> Node:
            found = renderer.render(node, self.path(name))
            if isinstance(found, Map):
                # A template may have become a shorthand.
                found = normalise(found, LMRules(flat=True))
            return with_absolute_paths(found, LM, self.inputs.folder)

        head = renderer.render(part(parts.head, "values"))
        whole = with_absolute_paths(head, MANY_LMS, self.inputs.folder)
        assert isinstance(whole, Map)
        return Parts(
            variables=parts.variables,
            head=whole,
            entries={name: lm(name, node) for name, node in parts.entries.items()},
            abstract={name: lm(name, node) for name, node in parts.abstract.items()},
            crossings=parts.crossings,
            defaults=parts.defaults,
        )

    def path(self, name: str) -> Path:
        """Return the path under which people know the LM `name`."""
        if self.flat:
            return ()
        return ("defaults",) if name == "defaults" else ("lms", name)

    # --- checking -------------------------------------------------------------------------------

    def checked(self, parts: Parts) -> dict[str, Any]:
        """Return the plain data of the whole profile, reporting every fault in it."""
        self.entries = parts.entries
        lms: dict[str, Any] = {}
        # Parents first: a mistake of theirs is told as theirs, not as something inherited.
        for name, node in parts.abstract.items():
            if isinstance(node, Map):
                _, faults = data_of(node, abstract=True)
                self.report(name, node, self.with_extensions(node, faults))
        for name, node in parts.entries.items():
            lms[name] = self.checked_lm(name, node, _soft(node, parts.defaults))
        head = self.checked_head(parts, lms)
        for name, data in lms.items():
            self.check_names(name, data, head, parts)
        if not self.flat:
            crossing = {said.mark for said in self.found if said.code == "credential-crosses"}
            shared = shared_credentials(parts.entries, lms)
            self.found += [said for said in shared if said.mark not in crossing]
        return {**head, "lms": lms}

    def checked_lm(self, name: str, node: Node, soft: frozenset[str]) -> object:
        if not isinstance(node, Map):
            if not isinstance(node, Broken):
                self.found.append(_no_block(node, self.path(name)))
            return Unread()
        data, faults = data_of(node, soft)
        self.report(name, node, self.with_extensions(node, faults))
        wrong = {fault.path[0] for fault in faults if fault.path}
        return {key: Unread() if key in wrong else value for key, value in data.items()}

    def with_extensions(self, node: Map, faults: Sequence[Fault]) -> list[Fault]:
        """Return `faults` and the kinds in `node` that nothing provides, without what follows."""
        data = to_data(node)
        assert isinstance(data, dict)
        return merged(faults, unknown_extensions(data, self.inputs))

    def checked_head(self, parts: Parts, lms: Mapping[str, object]) -> dict[str, Any]:
        data = to_data(parts.head)
        assert isinstance(data, dict)
        if self.flat:
            self.found += to_diagnostics(check(ONE_LM, data, partial=True), parts.head)
            return {"main": FLAT_NAME}
        names = [*lms, *(name for name in parts.abstract if name != "defaults")]
        faults = check(MANY_LMS, {**data, "lms": dict.fromkeys(names, Unread())})
        faults += unknown_main(data.get("main"), lms)
        faults = merged(faults, unknown_extensions(data, self.inputs))
        written = {} if self.written is None else {"lms": self.written}
        whole = Map({**parts.head.entries, **written}, parts.head.keys, parts.head.mark)
        self.found += to_diagnostics(faults, whole)
        if "main" not in data and (len(lms) == 1 or FLAT_NAME in lms):
            data["main"] = FLAT_NAME if FLAT_NAME in lms else next(iter(lms))
        return data

    def check_names(self, name: str, data: object, head: Mapping[str, Any], parts: Parts) -> None:
        node = parts.entries[name]
        if not isinstance(data, dict) or not isinstance(node, Map):
            return
        if isinstance(data.get("fallbacks"), list):
            data["fallbacks"] = [item for item in data["fallbacks"] if item != name]
        right = {key: value for key, value in data.items() if not isinstance(value, Unread)}
        known: dict[str, tuple[str, ...]] = {"stores": (), "callbacks": (), "lms": ()}
        if not self.flat:
            for key in ("stores", "callbacks"):
                known[key] = tuple(head[key]) if isinstance(head.get(key), Mapping) else ()
            known["lms"] = tuple(parts.entries)
        self.report(name, node, list(unknown_names(right, known, alone=self.flat)))

    def report(self, name: str, node: Node, faults: Sequence[Fault]) -> None:
        for diagnostic in to_diagnostics(faults, node, shown=self.path(name)):
            self.found.append(self.with_heir(name, diagnostic))

    def with_heir(self, name: str, diagnostic: Diagnostic) -> Diagnostic:
        """Return `diagnostic` saying who inherits the value, when it is not the LM's own."""
        own = self.own.get(name)
        field = diagnostic.path[2] if len(diagnostic.path) > 2 else None
        chain = self.chains.get(name, ())
        if not chain or not isinstance(own, Map) or field is None or field in own.entries:
            return diagnostic
        parents = " and ".join(f"`{ancestor.name}`" for ancestor in chain[:1])
        note = Note(f"inherited by `{name}`, which extends {parents} here", chain[0].mark)
        return Diagnostic(
            **{f: getattr(diagnostic, f) for f in Diagnostic.__struct_fields__ if f != "notes"},
            notes=(*diagnostic.notes, note),
        )

    # --- building -------------------------------------------------------------------------------

    def built(self, data: dict[str, Any], parts: Parts, bound: Bound) -> CompiledProfile:
        data.pop("lmconf", None)
        if bound.baked:
            data["provenance"] = {**data.get("provenance", {}), "vars": dict(bound.baked)}
        spec = build(PROFILE, data)
        assert isinstance(spec, ProfileSpec)
        stated = self.stated(parts, bound, data["lms"])
        lms = {name: self.lm(name, spec, stated, parts.entries[name]) for name in spec.lms}
        for name, compiled in lms.items():
            self.warn(name, compiled)
        if self.written is not None and not self.written.entries:
            self.found.append(_no_lms(self.written))
        entries = {name: node for name, node in parts.entries.items() if isinstance(node, Map)}
        return CompiledProfile(
            name=self.inputs.name,
            spec=spec,
            stated=stated,
            lms=lms,
            nodes=Map(
                {**parts.head.entries, "lms": Map(entries, {}, parts.head.mark)},
                {},
                parts.head.mark,
            ),
            flat=self.flat,
        )

    def stated(
        self, parts: Parts, bound: Bound, data: Mapping[str, Mapping[str, Any]]
    ) -> FrozenMap[str, Any]:
        said: dict[str, Any] = {key: to_plain(value) for key, value in parts.head}
        said.pop("lmconf", None)
        if bound.baked:
            said["provenance"] = {**said.get("provenance", {}), "vars": dict(bound.baked)}
        said["lms"] = {name: _said(name, node, data) for name, node in parts.entries.items()}
        frozen: FrozenMap[str, Any] = freeze(said)
        return frozen

    def lm(self, name: str, spec: ProfileSpec, stated: Mapping[str, Any], node: Node) -> Compiled:
        full = inline(spec, name)
        said = inline_stated(stated, name)
        if "vars" in spec.provenance:
            baked = spec.provenance["vars"]
            full = _with_provenance(full, baked)
            said["provenance"] = {**said.get("provenance", {}), "vars": baked}
        return Compiled(
            spec=full,
            name=self.inputs.name if self.flat else f"{self.inputs.name}:{name}",
            stated=freeze(said),
            places=places(node) if isinstance(node, Map) else {},
            allow_imports=self.inputs.allow_imports,
        )

    def warn(self, name: str, compiled: Compiled) -> None:
        for path, what in pending(compiled.spec):
            self.found.append(
                Diagnostic(
                    code="not-yet",
                    severity="warning",
                    message=f"{what} is checked and kept, but not carried out by this version",
                    mark=compiled.place(*path),
                    path=(*self.path(name), *path),
                    help="a call to this LM is refused until it is taken out",
                )
            )


def _with_provenance(spec: LMSpec, baked: object) -> LMSpec:
    return msgspec.structs.replace(
        spec, provenance=FrozenMap({**spec.provenance, "vars": freeze(baked)})
    )


def _folder(document: Document) -> str | None:
    path = document.source.path
    return None if path is None else str(PurePath(path).parent)


def _soft(node: Node, defaults: Map | None) -> frozenset[str]:
    """Return the names of the fields of `node` whose values came from `defaults`."""
    if defaults is None or not isinstance(node, Map):
        return frozenset()
    return frozenset(
        key
        for key, value in node
        if (default := defaults.get(key)) is not None and default.mark is value.mark
    )


def _said(name: str, node: Node, data: Mapping[str, Mapping[str, Any]]) -> object:
    """Return what was said of the LM `name`, without what had no effect."""
    said = to_plain(node)
    if not isinstance(said, dict):
        return said
    fallbacks = said.get("fallbacks")
    if isinstance(fallbacks, list):
        said["fallbacks"] = [item for item in fallbacks if item != name]
    for field in ("temperature", "max_tokens"):
        # The profile's default gave way to that of the model's family.
        if field in said and said[field] != data[name][field]:
            del said[field]
    return said


def _plain_text(node: Node) -> str:
    value: Plain = to_plain(node)
    return value if isinstance(value, str) else ""


def _no_lms(entries: Map) -> Diagnostic:
    return Diagnostic(
        code="no-lms",
        severity="warning",
        message="this profile has no LM",
        mark=entries.mark,
        path=("lms",),
        help="add one: `lms: {name: {model: provider/name}}`",
    )


def _no_block(node: Node, path: Path) -> Diagnostic:
    value = node.value if isinstance(node, Scalar) else None
    model = value if isinstance(value, str) and "/" in value else "provider/name"
    if path == ("lms",):
        what, help_ = "of LMs by name", "write `lms: {name: {model: provider/name}}`"
    else:
        what, help_ = "with the LM's settings", f"write `{{model: {model}}}`"
    return Diagnostic(
        code="wrong-type",
        message=f"`{path[-1]}` must be a mapping {what}",
        mark=node.mark,
        path=path,
        help=help_,
    )
