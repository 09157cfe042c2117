"""What a shell may complete: names of profiles and LMs, and paths of `--set`."""

from __future__ import annotations

import os

from click.shell_completion import CompletionItem

__all__ = ["names", "set_paths"]

_FILE = CompletionItem("", type="file")


def names(incomplete: str) -> list[CompletionItem]:
    """Return profiles and, after a colon, their LMs; a path is left to the shell."""
    from lmconf.loading.finding import is_path, split, survey

    profile, colon, _ = incomplete.partition(":")
    if colon:
        return _lms(profile, incomplete)
    found = list(dict.fromkeys(found.name for found in survey(os.environ)))
    matching = [name for name in found if name.startswith(incomplete)]
    if is_path(incomplete) or not matching:
        return [CompletionItem(incomplete, type="file")]
    if len(matching) == 1 and split(matching[0])[1] is None:
        # Only one profile is left: its LMs come with it.
        return [CompletionItem(matching[0]), *_lms(matching[0], f"{matching[0]}:")]
    return [CompletionItem(name) for name in matching]


def _lms(profile: str, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(f"{profile}:{name}", help=model)
        for name, model in _models(profile).items()
        if f"{profile}:{name}".startswith(incomplete)
    ]


def _models(profile: str) -> dict[str, str]:
    from lmconf.errors import ProfileError
    from lmconf.loading.examining import examine
    from lmconf.loading.finding import find

    try:
        outcome = examine(find(profile, os.environ), registered=False)
    except ProfileError:
        # What is broken has nothing to offer; the command itself will say why.
        return {}
    found = outcome.profile
    if found is None or found.flat:
        return {}
    return {name: lm.model for name, lm in found.spec.lms.items()}


def set_paths(name: str | None, incomplete: str) -> list[CompletionItem]:
    """Return the fields of an LM whose name begins with `incomplete`, each with its `=`."""
    from lmconf.profile.lm import LMSpec
    from lmconf.spec.declaring import fields

    prefix, dot, field = incomplete.rpartition(".")
    steps = prefix.split(".") if dot else []
    if "=" in incomplete or (steps and not (len(steps) == 2 and steps[0] == "lms")):
        return []
    return [
        CompletionItem(f"{prefix}{dot}{known}=", help=declared.doc)
        for known, declared in fields(LMSpec).items()
        if known.startswith(field)
    ]
