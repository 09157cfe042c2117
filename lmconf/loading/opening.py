"""`load`, `lm` and `load_state`: from names, files and states to live LMs."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lmconf import callbacks, transports
from lmconf.compiling.inputs import Inputs
from lmconf.compiling.pipeline import CompiledProfile, Outcome, compile_documents
from lmconf.compiling.trust import distrust
from lmconf.document.dollar import recognise
from lmconf.document.nodes import Document, Map, Node
from lmconf.document.overriding import Assignment, from_mapping
from lmconf.errors import Diagnostic, Mark, ProfileError, UsageError
from lmconf.loading.finding import find, nearest
from lmconf.loading.gathering import gather, gather_mapping
from lmconf.loading.live import Profile
from lmconf.loading.project import project_allow_imports
from lmconf.profile.document import NAME_PATTERN
from lmconf.profile.state import from_dspy, is_dspy_state
from lmconf.reporting import to_text
from lmconf.runtime.lm import LM

__all__ = ["ProfileWarning", "examine", "lm", "load", "load_state", "split"]


class ProfileWarning(UserWarning):
    """A profile loads, and asks for something that this version cannot do."""


def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    vars: Mapping[str, Any] | None = None,
    allow_imports: Collection[str] = (),
    untrusted: bool = False,
    allow_env: Collection[str] = (),
) -> Profile:
    """Return the profile that `source` means; a document of one LM is a profile of one LM.

    Args:
        source: a profile's name, a path, or a document as a mapping. None means
            `$LMCONF_PROFILE`, else the nearest `lmconf.yaml`.
        overrides: values laid over the files: `{"lms.gpt.temperature": 0.7}`, or nested; `*`
            stands for every LM.
        vars: values for the document's `vars`.
        allow_imports: import paths (`module:attr`, `module` or `package.*`) that the document may
            name, beside those of `[tool.lmconf] allow-imports`.
        untrusted: refuse everything that is more than data: imports, commands, addresses, and
            references.
        allow_env: environment variables that an untrusted document may refer to all the same.

    Raises:
        ProfileError: the profile does not exist or is not valid; every mistake at once.
    """
    given = dict(overrides or {})
    variables = dict(vars or {})
    allowed = frozenset(allow_imports)
    trusted = None if not untrusted else frozenset(allow_env)

    def compiled() -> CompiledProfile:
        found: list[Diagnostic] = []
        assignments = tuple(from_mapping(given, found))
        if found:
            raise ProfileError(found)
        outcome = examine(
            source, assignments, variables, allow_imports=allowed, trusted_env=trusted
        )
        return _settled(outcome)

    return Profile(compiled(), compiled)


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


def _settled(outcome: Outcome) -> CompiledProfile:
    """Return the profile of `outcome`, warning of what it asks for in vain.

    Raises:
        ProfileError: there is an error among the diagnostics.
    """
    if outcome.profile is None:
        raise ProfileError(outcome.diagnostics)
    if outcome.diagnostics:
        warnings.warn("\n" + to_text(outcome.diagnostics), ProfileWarning, stacklevel=4)
    return outcome.profile


def split(name: str) -> tuple[str, str | None]:
    """Return the profile and the LM that `profile:lm` names; the LM is None when it is left out."""
    profile, colon, lm_name = name.rpartition(":")
    if colon and profile and re.match(NAME_PATTERN, lm_name):
        return profile, lm_name
    return name, None


_Key = tuple[str | None, str, str | None, str | None]
_memo: dict[_Key, Profile] = {}
_memo_lock = threading.Lock()


def lm(name: str | None = None) -> LM:
    """Return a named LM: `"support:gpt"`, or `"support"` for the profile's main LM.

    The same name gives the same live LM for the life of the process. None means
    `$LMCONF_PROFILE`, else the nearest `lmconf.yaml`.

    Raises:
        ProfileError: there is no such profile or LM, or it is not valid.
        UsageError: `name` is no text.
    """
    if name is not None and not isinstance(name, str):
        raise UsageError(f"lmconf.lm takes a name such as 'support:gpt', not {type(name).__name__}")
    profile_name, lm_name = (None, None) if name is None else split(name)
    key = (
        profile_name,
        str(Path.cwd()) if profile_name is None or not Path(profile_name).is_absolute() else "",
        os.environ.get("LMCONF_PATH"),
        os.environ.get("LMCONF_PROFILE"),
    )
    with _memo_lock:
        profile = _memo.get(key)
        if profile is None:
            profile = _memo[key] = load(profile_name)
    return profile.lm if lm_name is None else profile[lm_name]


def load_state(state: Mapping[str, Any]) -> LM | Profile:
    """Return what was dumped: an `LM` from the state of one, a `Profile` from that of several.

    A state that `dspy.LM` dumped is read too; its unknown keys go to `extra`.

    Raises:
        ProfileError: the state is not valid.
    """
    document = from_dspy(state) if is_dspy_state(state) else state
    several = "lms" in document
    name = "<state>" if several else str(document.get("model", "<state>"))
    outcome = compile_documents(
        gather_mapping(document, "<state>"),
        Inputs(
            name=name,
            environment=dict(os.environ),
            allow_imports=project_allow_imports(),
            callback_names=frozenset(callbacks.names()),
            transport_names=frozenset(transports.names()),
        ),
    )
    profile = _settled(outcome)
    return Profile(profile) if several else LM.of(profile.lms[profile.spec.main or ""])
