"""`load`, `lm` and `load_state`: from names, files and states to live LMs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lmconf import callbacks, transports
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompiledProfile, CompileResult, compile_documents
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import to_text
from lmconf.document.overrides import from_mapping
from lmconf.errors import ProfileError, UsageError
from lmconf.loader.compile import compile_source
from lmconf.loader.discovery import split_name
from lmconf.loader.extends import gather_mapping
from lmconf.loader.profile import Profile
from lmconf.loader.project import project_allow_imports
from lmconf.runtime import LM
from lmconf.spec.state import from_dspy, is_dspy_state
from lmconf.system.fork import Mutex
from lmconf.system.tracebacks import hide_frames

__all__ = ["ProfileWarning", "lm", "load", "load_state"]


class ProfileWarning(UserWarning):
    """A profile loads, and asks for something that this version cannot do."""


@hide_frames
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
        untrusted: refuse everything that is not on a list of what says how a model answers:
            files, stores, imports, commands, addresses, accounts, headers, references.
        allow_env: environment variables that an untrusted document may refer to all the same.

    Raises:
        ProfileError: the profile does not exist or is not valid; every mistake at once.
        UsageError: `source` is none of these, or another argument is not what it must be.
    """
    if not isinstance(source, str | os.PathLike | Mapping | None):
        raise UsageError(
            f"lmconf.load takes a name, a path or a mapping, not {type(source).__name__}"
        )
    settings = _mapping(overrides, "overrides", '{"temperature": 0.7}')
    variables = _mapping(vars, "vars", '{"tier": "full"}')
    allowed = _names(allow_imports, "allow_imports", '["acme_lm.*"]')
    trusted = None if not untrusted else _names(allow_env, "allow_env", '["ACME_KEY"]')

    def compile_again() -> CompiledProfile:
        diagnostics: list[Diagnostic] = []
        assignments = tuple(from_mapping(settings, diagnostics))
        if diagnostics:
            raise ProfileError(diagnostics)
        outcome = compile_source(
            source, assignments, variables, allow_imports=allowed, trusted_env=trusted
        )
        return _finish(outcome, stacklevel=5)

    return Profile(compile_again(), compile_again)


def _mapping(argument: object, name: str, example: str) -> dict[str, Any]:
    """Return `argument`, which must be a mapping or None."""
    if not isinstance(argument, Mapping | None):
        raise UsageError(f"{name} is a mapping such as {example}, not {type(argument).__name__}")
    return dict(argument or {})


def _names(argument: object, name: str, example: str) -> frozenset[str]:
    """Return `argument`, which must be a collection of texts: one text alone is a slip."""
    if isinstance(argument, str) or not isinstance(argument, Collection):
        raise UsageError(f"{name} is a list such as {example}, not {type(argument).__name__}")
    return frozenset(argument)


def _finish(outcome: CompileResult, *, stacklevel: int) -> CompiledProfile:
    """Return the profile of `outcome`, warning of what it asks for in vain.

    Raises:
        ProfileError: there is an error among the diagnostics.
    """
    if outcome.profile is None:
        raise ProfileError(outcome.diagnostics)
    if outcome.diagnostics:
        warnings.warn("\n" + to_text(outcome.diagnostics), ProfileWarning, stacklevel=stacklevel)
    return outcome.profile


_Key = tuple[str | None, str, str | None, str | None]
_memo: dict[_Key, Profile] = {}
_memo_lock = Mutex()


@hide_frames
def lm(name: str | None = None) -> LM:
    """Return a named LM: `"support:gpt"`, or `"support"` for the profile's main LM.

    The same name gives the same live LM for the life of the process.

    Args:
        name: a profile, or a profile and an LM of it. None means `$LMCONF_PROFILE`, else the
            nearest `lmconf.yaml`.

    Raises:
        ProfileError: there is no such profile or LM, or it is not valid.
        UsageError: `name` is not text.
    """
    if name is not None and not isinstance(name, str):
        raise UsageError(f"lmconf.lm takes a name such as 'support:gpt', not {type(name).__name__}")
    profile_name, lm_name = (None, None) if name is None else split_name(name)
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


@hide_frames
def load_state(state: Mapping[str, Any]) -> LM | Profile:
    """Load what `dump_state` returned.

    Args:
        state: the state of an LM or a profile, or one that `dspy.LM` dumped, whose unknown keys
            become `extra`.

    Returns:
        An `LM` from the state of one, a `Profile` from the state of several.

    Raises:
        ProfileError: the state is not valid.
        UsageError: `state` is not a mapping.
    """
    if not isinstance(state, Mapping):
        raise UsageError(
            f"lmconf.load_state takes what dump_state returned, not {type(state).__name__};"
            " a file is read by lmconf.load"
        )
    document = from_dspy(state) if is_dspy_state(state) else state
    several = "lms" in document
    name = "<state>" if several else str(document.get("model", "<state>"))
    outcome = compile_documents(
        gather_mapping(document, "<state>"),
        CompilerInputs(
            name=name,
            environment=dict(os.environ),
            allow_imports=project_allow_imports(),
            callback_names=callbacks.REGISTRY.names(),
            transport_names=transports.REGISTRY.names(),
        ),
    )
    profile = _finish(outcome, stacklevel=4)
    return Profile(profile) if several else LM.of(profile.lms[profile.spec.main or ""])
