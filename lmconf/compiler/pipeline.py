"""The compiler: documents in, a frozen profile and every diagnostic out.

    read ─▶ recognise ─▶ normalise ─▶ fold ─▶ inherit ─▶ render ─▶ check ─▶ build

Stages run on what the earlier ones could make sense of, so that one pass reports everything.
Nothing here reads a file, a clock or the environment: those come in as arguments.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from lmconf import caches
from lmconf.caches.specs import StoreSpec
from lmconf.compiler.compose import compose_documents
from lmconf.compiler.extensions import find_near_misses
from lmconf.compiler.inline import inline_spec, inline_stated, profile_budget
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.parts import ProfileParts, part
from lmconf.compiler.validate import check_parts
from lmconf.compiler.warnings import find_ineffective_settings
from lmconf.diagnostics.model import Diagnostic, Mark, Note
from lmconf.diagnostics.render import sort_diagnostics
from lmconf.document.findings import Enough, Findings
from lmconf.document.merge import normalise
from lmconf.document.nodes import Document, Map, Node, Path, at, to_plain
from lmconf.document.templates.renderer import Renderer
from lmconf.document.variables import bind_variables
from lmconf.schema.frozen import FrozenMap, freeze
from lmconf.secrets.references import Masked
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.destinations import Statement, find_crossed
from lmconf.spec.lm import LM
from lmconf.spec.merge_rules import LMRules
from lmconf.spec.plain_data import field_marks, with_absolute_paths
from lmconf.spec.profile import MANY_LMS, PROFILE, ProfileSpec
from lmconf.spec.rules.model_family import YIELDING

__all__ = [
    "CompileResult",
    "CompiledProfile",
    "Declared",
    "compile_documents",
    "find_store_conflicts",
]

Declared: TypeAlias = dict[Hashable, tuple[StoreSpec, Mark | None]]
"""The stores that were declared so far, by where they are."""


def find_store_conflicts(profile: CompiledProfile, declared: Declared) -> Iterator[Diagnostic]:
    """Yield an error for each store that is declared twice, and not alike.

    Two declarations mean one store when they name one folder, or one server and namespace.

    Args:
        profile: the profile whose stores are looked at.
        declared: the stores of other profiles, by what they name; those of `profile` are added.
    """
    for store, path, mark in _declared_stores(profile):
        place = caches.place(store)
        if place is None:
            continue
        first, where = declared.setdefault(place, (store, mark))
        if first == store or where == mark:
            continue
        what = "folder" if store.backend == "disk" else "server and namespace"
        elsewhere = mark is not None and where is not None and mark.source.name != where.source.name
        yield Diagnostic(
            code="store-conflict",
            message=f"another store of this {what} is declared differently",
            mark=mark,
            path=path,
            help="declare it once, under `stores` of a profile that both extend"
            if elsewhere
            else "declare it once, under `stores`, and name it where it is used",
            notes=(Note("the other one is declared here", where),),
        )


def _declared_stores(profile: CompiledProfile) -> Iterator[tuple[StoreSpec, Path, Mark | None]]:
    """Yield each store that somebody wrote down, with its path and place."""
    for name, store in profile.spec.stores.items():
        node = at(profile.nodes, ("stores", name))
        yield store, ("stores", name), None if node is None else node.mark
    for name, compiled in profile.lms.items():
        cache = compiled.stated.get("cache")
        store_ = profile.spec.lms[name].cache.store
        if not isinstance(store_, str) and isinstance(cache, Mapping) and "store" in cache:
            path = ("cache", "store")
            own = path if profile.flat else ("lms", name, *path)
            yield store_, own, compiled.place(*path)


class CompiledProfile(Masked, Struct, frozen=True, eq=False, kw_only=True):
    """A profile, ready to run: its spec, its LMs, and what is known beside them.

    `nodes` are the rendered documents' values by LM, with the place of each.
    """

    name: str
    spec: ProfileSpec
    stated: Mapping[str, Any]
    lms: Mapping[str, CompiledLM]
    nodes: Map
    flat: bool

    def __repr__(self) -> str:
        return f"CompiledProfile(name={self.name!r}, spec={self.spec!r})"


class CompileResult(Masked, Struct, frozen=True, eq=False):
    """What compiling came to: a profile, unless a diagnostic is an error."""

    profile: CompiledProfile | None
    diagnostics: tuple[Diagnostic, ...]
    entries: Mapping[str, Node] = FrozenMap()

    def __repr__(self) -> str:
        """Leave out the entries: what is wrong with them may be a secret that stands in them."""
        return f"CompileResult(profile={self.profile!r}, diagnostics={self.diagnostics!r})"


def compile_documents(documents: Sequence[Document], inputs: CompilerInputs) -> CompileResult:
    """Compile documents to a profile. This has no effect beyond its result.

    Args:
        documents: the lowest layer first, as they were read.
        inputs: what the application gives: overrides, variables, names of kinds of its own.

    Returns:
        The profile, or none where a diagnostic is an error, and every diagnostic.
    """
    diagnostics = Findings()
    try:
        return _compile_documents(documents, inputs, diagnostics)
    except Enough as enough:
        return _make_result(None, [*diagnostics, enough.diagnostic])


def _compile_documents(
    documents: Sequence[Document], inputs: CompilerInputs, diagnostics: list[Diagnostic]
) -> CompileResult:
    parts = compose_documents(documents, inputs, diagnostics)
    if parts is None:
        return _make_result(None, diagnostics)
    bound = bind_variables(parts.variables, inputs.variables, inputs.environment, diagnostics)
    renderer = Renderer(bound.values, diagnostics, broken=bound.broken)
    rendered = _render_parts(parts, renderer, inputs)
    # What was said below and is replaced may hold a template that this document has no value for.
    below = Renderer(bound.values, [], broken=bound.broken)
    diagnostics += _check_credentials(rendered, below, inputs)
    data = check_parts(rendered, inputs, diagnostics)
    if any(diagnostic.severity == "error" for diagnostic in diagnostics):
        return _make_result(None, diagnostics, rendered)
    profile = _build_profile(data, rendered, bound.baked, inputs)
    diagnostics += find_store_conflicts(profile, {})
    if any(diagnostic.severity == "error" for diagnostic in diagnostics):
        return _make_result(None, diagnostics, rendered)
    diagnostics += find_ineffective_settings(profile.lms, rendered)
    if inputs.callback_names is None:
        for compiled in profile.lms.values():
            diagnostics += find_near_misses(compiled)
    return _make_result(profile, diagnostics, rendered)


def _make_result(
    profile: CompiledProfile | None,
    diagnostics: list[Diagnostic],
    parts: ProfileParts | None = None,
) -> CompileResult:
    # LMs share what they inherit: what was found twice at one place is said once.
    return CompileResult(
        profile, tuple(sort_diagnostics(diagnostics)), {} if parts is None else parts.entries
    )


def _render_parts(parts: ProfileParts, renderer: Renderer, inputs: CompilerInputs) -> ProfileParts:
    """Return `parts` with templates replaced by values, and relative paths made absolute."""

    def render_lm(name: str, node: Node) -> Node:
        value = renderer.render(node, parts.path(name))
        if isinstance(value, Map):
            # A template may have become a shorthand, and a block empty by what was unset in it.
            value = normalise(value, LMRules(flat=True))
        return with_absolute_paths(value, LM, inputs.folder)

    head = renderer.render(part(parts.head, "values"))
    assert isinstance(head, Map)
    head = with_absolute_paths(normalise(head, LMRules(flat=parts.flat)), MANY_LMS, inputs.folder)
    assert isinstance(head, Map)
    return msgspec.structs.replace(
        parts,
        head=head,
        entries={name: render_lm(name, node) for name, node in parts.entries.items()},
        abstract={name: render_lm(name, node) for name, node in parts.abstract.items()},
    )


def _check_credentials(
    parts: ProfileParts, renderer: Renderer, inputs: CompilerInputs
) -> list[Diagnostic]:
    """Return a diagnostic for each value that an LM would send elsewhere than where it belongs.

    A value that several LMs take over is told once, with the places that lead each elsewhere.
    """
    by_place: dict[object, Diagnostic] = {}
    blocks: dict[int, Map] = {}

    def render_statement(statement: Statement) -> Statement:
        beside = blocks.get(id(statement.beside))
        if beside is None:
            value = with_absolute_paths(renderer.render(statement.beside), LM, inputs.folder)
            assert isinstance(value, Map)
            beside = blocks[id(statement.beside)] = value
        return msgspec.structs.replace(statement, beside=beside)

    for name, node in parts.entries.items():
        if not isinstance(node, Map) or name not in parts.statements:
            continue
        stated = parts.statements[name]
        stated = msgspec.structs.replace(stated, values=tuple(map(render_statement, stated.values)))
        for diagnostic in find_crossed(stated, node, parts.path(name)):
            # A mapping made in code has one place for everything.
            place = (
                diagnostic.mark.key if diagnostic.mark and diagnostic.mark.line else diagnostic.path
            )
            first = by_place.setdefault(place, diagnostic)
            notes = tuple(note for note in diagnostic.notes if note not in first.notes)
            by_place[place] = msgspec.structs.replace(first, notes=(*first.notes, *notes))
    return list(by_place.values())


def _build_profile(
    data: dict[str, Any], parts: ProfileParts, baked: Mapping[str, str], inputs: CompilerInputs
) -> CompiledProfile:
    data.pop("lmconf", None)
    if baked:
        data["provenance"] = {**data.get("provenance", {}), "vars": dict(baked)}
    spec = PROFILE.build(data)
    assert isinstance(spec, ProfileSpec)
    stated = _collect_stated(parts, baked, data["lms"])
    entries = {name: node for name, node in parts.entries.items() if isinstance(node, Map)}
    lms = {
        name: _compile_lm(name, spec, stated, entries[name], inputs, flat=parts.flat)
        for name in spec.lms
    }
    mark = parts.head.mark
    return CompiledProfile(
        name=inputs.name,
        spec=spec,
        stated=stated,
        lms=lms,
        nodes=Map({**parts.head.entries, "lms": Map(entries, {}, mark)}, {}, mark),
        flat=parts.flat,
    )


def _collect_stated(
    parts: ProfileParts, baked: Mapping[str, str], data: Mapping[str, Mapping[str, Any]]
) -> FrozenMap[str, Any]:
    """Return what the documents say together, as plain data."""
    statements: dict[str, Any] = {
        key: to_plain(value) for key, value in parts.head if key != "lmconf"
    }
    if baked:
        statements["provenance"] = {**statements.get("provenance", {}), "vars": dict(baked)}
    statements["lms"] = {
        name: _effective_statements(name, node, data) for name, node in parts.entries.items()
    }
    frozen: FrozenMap[str, Any] = freeze(statements)
    return frozen


def _effective_statements(name: str, node: Node, data: Mapping[str, Mapping[str, Any]]) -> object:
    """Return what was said of the LM `name`, without what had no effect."""
    statements = to_plain(node)
    if not isinstance(statements, dict):
        return statements
    fallbacks = statements.get("fallbacks")
    if isinstance(fallbacks, list):
        statements["fallbacks"] = [item for item in fallbacks if item != name]
    for field in YIELDING:
        # The profile's default gave way to that of the model's family.
        if field in statements and statements[field] != data[name].get(field):
            del statements[field]
    if "pool" in statements:
        # What `defaults` say of connections holds for the members alone.
        return {field: value for field, value in statements.items() if field in data[name]}
    return statements


def _compile_lm(
    name: str,
    spec: ProfileSpec,
    stated: Mapping[str, Any],
    node: Map,
    inputs: CompilerInputs,
    *,
    flat: bool,
) -> CompiledLM:
    full = inline_spec(spec, name)
    shared = profile_budget(spec)
    statements = inline_stated(stated, name)
    baked = spec.provenance.get("vars")
    if baked is not None:
        provenance = FrozenMap({**full.provenance, "vars": baked})
        full = msgspec.structs.replace(full, provenance=provenance)
        statements["provenance"] = {**statements.get("provenance", {}), "vars": baked}
    return CompiledLM(
        spec=full,
        name=inputs.name if flat else f"{inputs.name}:{name}",
        stated=freeze(statements),
        places=field_marks(node),
        allow_imports=inputs.allow_imports,
        fallback_names=tuple(
            item if isinstance(item, str) else None for item in spec.lms[name].fallbacks
        ),
        member_names=tuple(item if isinstance(item, str) else None for item in spec.lms[name].pool),
        profile_budget=None if shared is None else (_account(inputs.name, spec), shared),
    )


def _account(name: str, spec: ProfileSpec) -> str:
    """Return the name under which a profile spends: a mapping or a state has none of its own."""
    return f"{name} of {', '.join(spec.lms)}" if name.startswith("<") else name
