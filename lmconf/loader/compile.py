"""From a name, a path or a mapping to a compiled profile with every diagnostic; nothing is live.

`lmconf validate`, `show` and `list` use this alone: it imports neither litellm nor anything that a
document names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmconf import callbacks, transports
from lmconf.compiler.inline import inline_nodes
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompileResult, compile_documents
from lmconf.compiler.trust import check_documents, check_profile
from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.inheritance import Foreign
from lmconf.document.nodes import Document, Map
from lmconf.document.operators import recognise_operators
from lmconf.document.overrides import Assignment
from lmconf.errors import ProfileError
from lmconf.loader.discovery import default_profile, find_parent, find_profile
from lmconf.loader.extends import gather_documents, gather_mapping
from lmconf.loader.project import project_allow_imports

__all__ = ["compile_source"]


def compile_source(
    source: str | os.PathLike[str] | Mapping[str, Any] | None,
    assignments: tuple[Assignment, ...] = (),
    variables: Mapping[str, object] | None = None,
    *,
    allow_imports: frozenset[str] = frozenset(),
    trusted_env: frozenset[str] | None = None,
    registered: bool = True,
    chain: tuple[Path, ...] = (),
    referrer: Mark | None = None,
) -> CompileResult:
    """Return what `source` compiles to, with every diagnostic; nothing is made live.

    `trusted_env` is None for a trusted document. With `registered` False, kinds that an
    application may register are not reported. `chain` are the files that this one was reached
    through by `extends: profile:lm`, `referrer` the last of those places.

    Raises:
        ProfileError: the documents cannot be read at all.
    """
    name, documents = _documents(source, referrer, alone=trusted_env is not None)
    if trusted_env is not None:
        _refuse_untrusted(documents, trusted_env)
    inputs = CompilerInputs(
        name=name,
        assignments=assignments,
        variables=variables or {},
        environment=dict(os.environ),
        allow_imports=allow_imports
        if trusted_env is not None
        else allow_imports | project_allow_imports(),
        callback_names=callbacks.REGISTRY.names() if registered else None,
        transport_names=transports.REGISTRY.names() if registered else None,
        foreign=None
        if trusted_env is not None
        else _foreign_of((*chain, *_files(documents)), allow_imports, registered=registered),
    )
    outcome = compile_documents(documents, inputs)
    if trusted_env is not None and outcome.profile is not None:
        diagnostics = check_profile(outcome.profile, documents, trusted_env)
        if diagnostics:
            raise ProfileError(diagnostics)
    return outcome


def _documents(
    source: str | os.PathLike[str] | Mapping[str, Any] | None,
    referrer: Mark | None,
    *,
    alone: bool,
) -> tuple[str, list[Document]]:
    if isinstance(source, Mapping):
        here = Path.cwd() if alone else None
        return "<mapping>", gather_mapping(source, "<mapping>", within=here)
    name = default_profile(os.environ) if source is None else os.fspath(source)
    path = find_profile(name, os.environ)
    return path.stem, gather_documents(
        path, within=path.parent if alone else None, referrer=referrer
    )


def _refuse_untrusted(documents: list[Document], allow_env: frozenset[str]) -> None:
    diagnostics: list[Diagnostic] = []
    recognised = [
        Document(recognise_operators(document.root, diagnostics), document.source)
        for document in documents
    ]
    diagnostics += check_documents(recognised, allow_env)
    if diagnostics:
        raise ProfileError(diagnostics)


def _files(documents: list[Document]) -> tuple[Path, ...]:
    return tuple(Path(document.source.path) for document in documents if document.source.path)


def _foreign_of(
    chain: tuple[Path, ...], allow_imports: frozenset[str], *, registered: bool
) -> Foreign:
    """Return what resolves `profile:lm` for a document that was reached through `chain`."""

    def foreign(name: str, mark: Mark) -> Map | None:
        profile, _, lm_name = name.partition(":")
        child = None if mark.source.path is None else Path(mark.source.path)
        path = find_parent(profile, child, mark).resolve()
        if path in chain:
            raise ProfileError([_circle(name, mark)])
        outcome = compile_source(
            path, allow_imports=allow_imports, registered=registered, chain=chain, referrer=mark
        )
        compiled = outcome.profile
        if compiled is None:
            raise ProfileError(outcome.diagnostics)
        if lm_name in compiled.lms:
            return inline_nodes(compiled.nodes, compiled.stated, lm_name)
        raise ProfileError([_no_such_lm(name, lm_name, outcome, mark)])

    return foreign


def _circle(name: str, mark: Mark) -> Diagnostic:
    return Diagnostic(
        code="extends-cycle",
        message=f"`{name}` is in a profile that extends this one",
        mark=mark,
        help="remove one of these `extends`",
    )


def _no_such_lm(name: str, lm_name: str, outcome: CompileResult, mark: Mark) -> Diagnostic:
    near = did_you_mean(lm_name, outcome.entries)
    return Diagnostic(
        code="unknown-parent",
        message=f"`{name}` cannot be extended: that profile has no LM `{lm_name}`",
        mark=mark,
        label=f"did you mean `{name.partition(':')[0]}:{near}`?" if near else "",
        help=f"it has: {', '.join(outcome.entries)}",
    )
