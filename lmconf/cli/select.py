"""From NAME[:LM], `--set` and `--var` to what is meant: a compiled profile and one of its LMs."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec
from msgspec import Struct

from lmconf.cli.app import terminal_of
from lmconf.cli.entry import InvalidArgument
from lmconf.cli.terminal import fit, tell
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import ProfileError
from lmconf.loader.discovery import default_profile, find_profile, is_path, split_name

if TYPE_CHECKING:
    from lmconf.compiler.pipeline import CompiledProfile
    from lmconf.document.command_line import GivenText
    from lmconf.document.overrides import Assignment
    from lmconf.spec.compiled import CompiledLM

__all__ = ["Selection", "choose", "dspy_state", "state", "to_text", "warn"]


def state(selection: Selection, *, minimal: bool) -> dict[str, Any]:
    """Return the state of the LM that was named, else of the profile in the form it was written."""
    from lmconf.spec.state import dump_lm, dump_profile

    style: Literal["minimal", "resolved"] = "minimal" if minimal else "resolved"
    profile = selection.profile
    if is_one_lm(selection):
        return dump_lm(profile.lms[selection.lm], style)
    return dump_profile(profile.spec, profile.stated, style)


def is_one_lm(selection: Selection) -> bool:
    """Say whether the state of `selection` is that of one LM."""
    return selection.lm_name is not None or selection.profile.flat


def dspy_state(selection: Selection) -> dict[str, Any]:
    """Return the arguments of `dspy.LM` that say what the LM says; what they cannot say is told."""
    from lmconf.spec.state import StateWarning, dump_lm

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StateWarning)
        arguments = dump_lm(selection.profile.lms[selection.lm], "dspy")
    for warning in caught:
        tell(f"warning: {fit(str(warning.message))}")
    return arguments


def to_text(value: dict[str, Any], form: str) -> str:
    """Return `value` as YAML or JSON that ends with a newline."""
    if form == "yaml":
        from lmconf.document.yaml.writer import write

        return write(value)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class Selection(Struct, frozen=True, eq=False):
    """A compiled profile, the name of the LM of it that was asked for, and its warnings.

    `profile_name` is what the profile was called on the command line, or the file that was meant.
    """

    profile: CompiledProfile
    profile_name: str
    lm_name: str | None
    warnings: tuple[Diagnostic, ...]

    @property
    def lm(self) -> str:
        """The name of the LM that is meant: the one named, else the profile's main LM.

        Raises:
            ProfileError: none was named, and the profile does not say which is its main LM.
        """
        if self.lm_name is not None:
            return self.lm_name
        if self.profile.spec.main is None:
            raise ProfileError([_no_main(self.profile_name, list(self.profile.lms))])
        return self.profile.spec.main

    @property
    def compiled(self) -> CompiledLM:
        """The LM that is meant, as `lm`."""
        return self.profile.lms[self.lm]


def choose(
    name: str | None,
    *,
    sets: Sequence[str] = (),
    variables: Sequence[str] = (),
    allow_imports: Sequence[str] = (),
    one_lm: bool = False,
) -> Selection:
    """Return what `name` means under the arguments of `--set`, `--var` and `--allow-import`.

    With `one_lm`, a profile's name means its main LM, and a bare field in `--set` is that LM's.

    Raises:
        ProfileError: there is no such profile or LM, or it is not valid.
    """
    from lmconf.loader.compile import compile_source

    profile_name, lm_name = (None, None) if name is None else split_name(name)
    source = _source(profile_name)
    assignments, values = parse_assignments(sets, variables)
    outcome = compile_source(
        source,
        _address_assignments(assignments, source, lm_name, one_lm=one_lm),
        values,
        allow_imports=frozenset(allow_imports),
        registered=False,
    )
    if outcome.profile is None:
        raise ProfileError(outcome.diagnostics)
    if lm_name is not None and lm_name not in outcome.profile.lms:
        raise ProfileError([no_lm(lm_name, profile_name or source, list(outcome.profile.lms))])
    return Selection(outcome.profile, profile_name or source, lm_name, outcome.diagnostics)


def warn(ctx: click.Context, warnings: Sequence[Diagnostic]) -> None:
    """Tell what a profile asks for in vain."""
    if warnings:
        from lmconf.diagnostics.render import to_text

        tell(to_text(warnings, color=terminal_of(ctx).colors(sys.stderr)))


def parse_assignments(
    sets: Sequence[str], variables: Sequence[str]
) -> tuple[tuple[Assignment, ...], dict[str, GivenText]]:
    """Return what the arguments of `--set` and `--var` say.

    Raises:
        InvalidArgument: one of them is malformed; every mistake at once.
    """
    if not sets and not variables:
        return (), {}
    from lmconf.document.command_line import parse_var
    from lmconf.document.overrides import parse_set

    diagnostics: list[Diagnostic] = []
    assignments = [parse_set(text, diagnostics) for text in sets]
    values = [parse_var(text, diagnostics) for text in variables]
    if diagnostics:
        raise InvalidArgument(diagnostics)
    return tuple(filter(None, assignments)), dict(filter(None, values))


# --- which LM a path of `--set` means -----------------------------------------------------------


def _address_assignments(
    assignments: tuple[Assignment, ...], source: str, lm_name: str | None, *, one_lm: bool
) -> tuple[Assignment, ...]:
    """Return `assignments` with bare fields of an LM (`temperature`) put under the LM meant.

    In a document of one LM they stand right as they are.
    """
    if not (lm_name or one_lm) or not any(_is_bare(each.path) for each in assignments):
        return assignments
    several, main = _form(source)
    lm = lm_name or main
    if not several or lm is None:
        return assignments
    return tuple(_below(each, ("lms", lm)) if _is_bare(each.path) else each for each in assignments)


def _is_bare(path: tuple[str, ...]) -> bool:
    from lmconf.schema.declaration import fields
    from lmconf.spec.profile import LMEntry, ProfileDocument

    if path[0] not in fields(ProfileDocument):
        return True
    # `callbacks.audit.path` is a definition of the profile's, `callbacks` is the LM's list.
    return path[0] in fields(LMEntry) and len(path) == 1


def _below(assignment: Assignment, prefix: tuple[str, ...]) -> Assignment:
    return msgspec.structs.replace(
        assignment,
        path=(*prefix, *assignment.path),
        steps=(*(assignment.steps[0] for _ in prefix), *assignment.steps),
    )


def _form(source: str) -> tuple[bool, str | None]:
    """Return whether the documents behind `source` hold several LMs, and which is the main one."""
    from lmconf.compiler.parts import document_form
    from lmconf.document.nodes import Map, Scalar
    from lmconf.loader.extends import gather_documents

    roots = [document.root for document in gather_documents(find_profile(source, os.environ))]
    main = None
    for root in roots:
        main_node, lms = root.get("main"), root.get("lms")
        if isinstance(main_node, Scalar) and isinstance(main_node.value, str):
            main = main_node.value
        elif main is None and isinstance(lms, Map):
            callable_ = [name for name, _ in lms if not name.startswith("_")]
            if "main" in callable_ or len(callable_) == 1:
                main = "main" if "main" in callable_ else callable_[0]
    return document_form(roots, []) == "many", main


# --- wrong names --------------------------------------------------------------------------------


def _source(name: str | None) -> str:
    """Return the path of the profile `name`, or of the one meant when none is named.

    Raises:
        ProfileError: there is none; an LM's name without its profile is told with it.
    """
    name_or_path = default_profile(os.environ) if name is None else name
    try:
        return str(find_profile(name_or_path, os.environ))
    except ProfileError:
        owner = None if name is None or is_path(name) else _owner(name)
        if owner is None:
            raise
    raise ProfileError(
        [
            Diagnostic(
                code="no-profile",
                message=f"there is no profile named `{name}`, but a profile has an LM of that name",
                help=f"write `{owner}:{name}`",
            )
        ]
    )


def _owner(lm: str) -> str | None:
    """Return the nearest profile that has an LM named `lm`."""
    from lmconf.cli.commands.list import list_profiles

    for profile in list_profiles():
        if lm in profile.lms and profile.shadowed_by is None:
            return profile.name
    return None


def no_lm(name: str, profile: str, names: Sequence[str]) -> Diagnostic:
    """Return what to tell about an LM that `profile`, which has the LMs `names`, does not have."""
    near = did_you_mean(name, names)
    return Diagnostic(
        code="unknown-lm",
        message=f"`{profile}` has no LM named `{name}`",
        help=f"did you mean `{profile}:{near}`?" if near else f"it has: {', '.join(names)}",
    )


def _no_main(profile: str, names: Sequence[str]) -> Diagnostic:
    return Diagnostic(
        code="no-main",
        message=f"`{profile}` has several LMs and no `main`",
        help=f"name one, as `{profile}:{names[0]}`, or add `main: …` to it;"
        f" it has: {', '.join(names)}",
    )
