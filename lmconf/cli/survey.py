"""Every profile that can be named from here, with its LMs and what shadows it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from lmconf.errors import Diagnostic, ProfileError
from lmconf.loading.finding import Found, survey
from lmconf.loading.gathering import shown

if TYPE_CHECKING:
    from lmconf.compiling.pipeline import Outcome

__all__ = ["Surveyed", "home_shown", "surveyed"]


class Surveyed(Struct, frozen=True, eq=False, kw_only=True):
    """One profile: where it is, the model of each of its LMs, and what is wrong with it.

    `shadowed_by` is the file that its name means instead, `main` the name of its main LM.
    """

    name: str
    place: str
    path: Path
    shadowed_by: Path | None
    lms: Mapping[str, str]
    main: str | None
    flat: bool
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Why the profile cannot be used."""
        return tuple(found for found in self.diagnostics if found.severity == "error")


def surveyed() -> Iterator[Surveyed]:
    """Yield every profile that can be named, nearest first, each examined when it is asked for."""
    meant: dict[str, Path] = {}
    for found in survey(os.environ):
        yield _surveyed(found, meant.get(found.name))
        meant.setdefault(found.name, found.path)


def _surveyed(found: Found, shadowed_by: Path | None) -> Surveyed:
    from lmconf.loading.examining import examine

    profile = None
    try:
        outcome: Outcome = examine(found.path, registered=False)
        diagnostics, profile = outcome.diagnostics, outcome.profile
    except ProfileError as error:
        diagnostics = error.diagnostics
    return Surveyed(
        name=found.name,
        place=found.place,
        path=found.path,
        shadowed_by=shadowed_by,
        lms={} if profile is None else {name: lm.model for name, lm in profile.spec.lms.items()},
        main=None if profile is None else profile.spec.main,
        flat=profile is not None and profile.flat,
        diagnostics=diagnostics,
    )


def home_shown(path: Path) -> str:
    """Return `path` as a person would type it: relative to the working folder, or to the home."""
    text = shown(path)
    home = str(Path.home())
    return f"~{text[len(home) :]}" if text.startswith(home + os.sep) else text
