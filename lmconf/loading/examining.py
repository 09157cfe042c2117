"""From a name, a path or a mapping to a compiled profile with every diagnostic; nothing is live.

`lmconf validate`, `show` and `list` use this alone: it imports neither litellm nor anything that a
document names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lmconf import callbacks, transports
from lmconf.compiling.inputs import Inputs
from lmconf.compiling.pipeline import Outcome, compile_documents
from lmconf.compiling.trust import distrust
from lmconf.document.dollar import recognise
from lmconf.document.nodes import Document, Map, Node
from lmconf.document.overriding import Assignment
from lmconf.errors import Diagnostic, Mark, ProfileError
from lmconf.loading.finding import find, nearest
from lmconf.loading.gathering import gather, gather_mapping
from lmconf.loading.project import project_allow_imports

__all__ = ["examine"]


def examine(
    source: str | os.PathLike[str] | Mapping[str, Any] | None,
    assignments: tuple[Assignment, ...] = (),
    variables: Mapping[str, object] | None = None,
    *,
    allow_imports: frozenset[str] = frozenset(),
    trusted_env: frozenset[str] | None = None,
    registered: bool = True,
) -> Outcome:
    """Return what `source` compiles to, with every diagnostic; nothing is made live.

    `trusted_env` is None for a trusted document. With `registered` False, kinds that an
    application may register are not reported.

    Raises:
        ProfileError: the documents cannot be read at all.
    """
    name, documents = _documents(source, within_folder=trusted_env is not None)
    if trusted_env is not None:
        _refuse_untrusted(documents, trusted_env)
    inputs = Inputs(
        name=name,
        assignments=assignments,
        variables=variables or {},
        environment=dict(os.environ),
        allow_imports=allow_imports
        if trusted_env is not None
        else allow_imports | project_allow_imports(),
        callback_names=frozenset(callbacks.names()) if registered else None,
        transport_names=frozenset(transports.names()) if registered else None,
        foreign=None if trusted_env is not None else _foreign,
    )
    return compile_documents(documents, inputs)


def _documents(
    source: str | os.PathLike[str] | Mapping[str, Any] | None, *, within_folder: bool
) -> tuple[str, list[Document]]:
    if isinstance(source, Mapping):
        return "<mapping>", gather_mapping(source, "<mapping>")
    wanted = nearest(os.environ) if source is None else os.fspath(source)
    path = find(wanted, os.environ)
    return path.stem, gather(path, within=path.parent if within_folder else None)


def _refuse_untrusted(documents: list[Document], allow_env: frozenset[str]) -> None:
    found: list[Diagnostic] = []
    recognised = [
        Document(recognise(document.root, found), document.source) for document in documents
    ]
    found += distrust(recognised, allow_env)
    if found:
        raise ProfileError(found)


def _foreign(name: str, mark: Mark) -> Map | None:
    """Return the LM that `profile:lm` names, composed and rendered, as another LM's parent."""
    profile, _, lm_name = name.partition(":")
    outcome = examine(profile)
    node: Node | None = outcome.entries.get(lm_name)
    if outcome.profile is None:
        raise ProfileError(outcome.diagnostics)
    return node if isinstance(node, Map) else None
