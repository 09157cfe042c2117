"""The first stages: documents are recognised, normalised, folded, and their LMs inherit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.parts import ProfileParts, document_form, is_newer_format, no_block, part
from lmconf.compiler.statements import DocumentLayer, statements_of_lm, statements_of_profile
from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.document.inheritance import Foreign, Inherited, inherit
from lmconf.document.merge import fold, normalise, settle
from lmconf.document.nodes import Broken, Document, Map, Node
from lmconf.document.operators import recognise_operators
from lmconf.document.overrides import overlay
from lmconf.errors import ProfileError
from lmconf.schema.declaration import fields
from lmconf.spec.merge_rules import LMRules
from lmconf.spec.profile import ProfileDocument

__all__ = ["FLAT_NAME", "compose_documents"]

FLAT_NAME = "main"
"""The name of the LM that a one-LM document holds."""


def compose_documents(
    documents: Sequence[Document], inputs: CompilerInputs, diagnostics: list[Diagnostic]
) -> ProfileParts | None:
    """Fold documents, overrides and inheritance into the parts of one profile.

    Args:
        documents: the lowest layer first, as they were read.
        inputs: what the application gives: overrides, and where other profiles are found.
        diagnostics: what is wrong is added to it.

    Returns:
        The parts, or None where the documents are no profile.
    """
    roots = [
        recognise_operators(document.root, diagnostics, folder=_folder(document))
        for document in documents
    ]
    if [root for root in roots if is_newer_format(root, diagnostics)]:
        # What else would be wrong with it is a matter of that version.
        return None
    form = document_form(roots, diagnostics)
    if form is None:
        return None
    flat = form == "one"
    rules = LMRules(flat=flat)
    layers = [
        DocumentLayer(
            normalise(part(root, "head"), rules),
            tuple(range(place)) if document.beneath is None else document.beneath,
            root,
        )
        for place, (root, document) in enumerate(zip(roots, documents, strict=True))
    ]
    root = fold([layer.root for layer in layers], rules)
    if inputs.assignments:
        top = () if flat else tuple(fields(ProfileDocument))
        over = overlay(root, inputs.assignments, diagnostics, rules, top=top)
        layers.append(DocumentLayer(over, tuple(range(len(layers)))))
        root = fold([root, over], rules)
    if flat:
        return _one(root, layers, rules, diagnostics)
    return _many(root, layers, rules, inputs, diagnostics)


def _one(
    root: Map, layers: Sequence[DocumentLayer], rules: LMRules, diagnostics: list[Diagnostic]
) -> ProfileParts:
    settled = settle(root, diagnostics, usual=rules.usual)
    lm = part(settled, "lm")
    return ProfileParts(
        flat=True,
        variables=_variables(settled, diagnostics),
        head=part(settled, "version"),
        entries={FLAT_NAME: lm},
        abstract={},
        statements={FLAT_NAME: statements_of_lm(layers, root, lm, rules)},
    )


def _many(
    root: Map,
    layers: Sequence[DocumentLayer],
    rules: LMRules,
    inputs: CompilerInputs,
    diagnostics: list[Diagnostic],
) -> ProfileParts:
    head = settle(part(root, "profile"), diagnostics)
    variables = _variables(head, diagnostics)
    entries, defaults = _block(root, "lms", []), _block(root, "defaults", [])
    foreign = None if inputs.foreign is None else _cached_foreign(inputs.foreign)

    def inherited_by(root: Map, diagnostics: list[Diagnostic]) -> Inherited:
        entries, defaults = _block(root, "lms", diagnostics), _block(root, "defaults", diagnostics)
        lms = entries or Map({}, {}, root.mark)
        return inherit(
            lms, defaults, rules, diagnostics, ("lms",), foreign=foreign, usual=rules.usual
        )

    inherited = inherited_by(root, diagnostics)
    abstract = inherited.abstract
    if defaults is not None:
        settings = {key: value for key, value in defaults if key != "extends"}
        own = Map(settings, defaults.keys, defaults.mark)
        abstract = {"defaults": settle(own, diagnostics, ("defaults",)), **abstract}
    return ProfileParts(
        flat=False,
        variables=variables,
        head=head,
        entries=inherited.entries.entries,
        abstract=abstract,
        statements=statements_of_profile(
            layers, inherited, defaults, lambda root: inherited_by(root, [])
        ),
        soft={name: _soft(node, defaults) for name, node in inherited.entries},
        as_written=entries,
        chains=inherited.chains,
    )


def _cached_foreign(foreign: Foreign) -> Foreign:
    """Return `foreign`, asked once for each name: a document is composed in more than one view."""
    answers: dict[str, Map | ProfileError | None] = {}

    def find_cached(name: str, mark: Mark) -> Map | None:
        if name not in answers:
            try:
                answers[name] = foreign(name, mark)
            except ProfileError as error:
                answers[name] = error
        answer = answers[name]
        if isinstance(answer, ProfileError):
            raise answer
        return answer

    return find_cached


def _soft(node: Node, defaults: Map | None) -> frozenset[str]:
    """Return the names of the fields of `node` that were taken over from `defaults` as they are."""
    if defaults is None or not isinstance(node, Map):
        return frozenset()
    # Not by their marks: everything in a mapping made in code has the same.
    return frozenset(key for key, value in node if value is defaults.get(key))


def _block(root: Map, name: str, diagnostics: list[Diagnostic]) -> Map | None:
    """Return the mapping under `name`, None after reporting that it is something else."""
    node = root.get(name)
    if node is not None and not isinstance(node, Map | Broken):
        diagnostics.append(no_block(node, (name,)))
    return node if isinstance(node, Map) else None


def _variables(head: Map, diagnostics: list[Diagnostic]) -> Map | None:
    """Return `vars`, None after reporting that it is no mapping."""
    node = head.get("vars")
    if node is not None and not isinstance(node, Map | Broken):
        diagnostics.append(
            Diagnostic(
                code="wrong-type",
                message="`vars` must be a mapping of variables and their values",
                mark=node.mark,
                path=("vars",),
                help="write `vars: {name: value}`",
            )
        )
    return node if isinstance(node, Map) else None


def _folder(document: Document) -> str | None:
    path = document.source.path
    return None if path is None else str(PurePath(path).parent)
