"""`lmconf list`: every profile that can be named, its LMs, and what shadows what."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from lmconf.cli.app import command as make_command
from lmconf.cli.app import terminal_of
from lmconf.cli.options import format_option
from lmconf.cli.terminal import fit, say, tell
from lmconf.diagnostics.model import Diagnostic
from lmconf.errors import ProfileError
from lmconf.loader.discovery import ProfileFile, find_all, find_packaged
from lmconf.loader.extends import relative_path

if TYPE_CHECKING:
    from lmconf.compiler.pipeline import CompileResult

__all__ = ["ProfileListing", "list_profiles", "shorten_path"]


class ProfileListing(Struct, frozen=True, eq=False, kw_only=True):
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
        return tuple(
            diagnostic for diagnostic in self.diagnostics if diagnostic.severity == "error"
        )


def list_profiles() -> Iterator[ProfileListing]:
    """Yield every profile that can be named, nearest first, each examined when it is asked for."""
    paths: dict[str, Path] = {}
    packaged, failures = find_packaged()
    for failure in failures:
        tell(str(failure))
    for profile in (*find_all(os.environ), *packaged):
        yield _list_profile(profile, paths.get(profile.name))
        paths.setdefault(profile.name, profile.path)


def _list_profile(file: ProfileFile, shadowed_by: Path | None) -> ProfileListing:
    from lmconf.loader.compile import compile_source

    profile = None
    try:
        outcome: CompileResult = compile_source(file.path, registered=False)
        diagnostics, profile = outcome.diagnostics, outcome.profile
    except ProfileError as error:
        diagnostics = error.diagnostics
    return ProfileListing(
        name=file.name,
        place=file.place,
        path=file.path,
        shadowed_by=shadowed_by,
        lms={} if profile is None else {name: lm.model for name, lm in profile.spec.lms.items()},
        main=None if profile is None else profile.spec.main,
        flat=profile is not None and profile.flat,
        diagnostics=diagnostics,
    )


def shorten_path(path: Path) -> str:
    """Return `path` as a person would type it: relative to the working folder, or to the home."""
    text = relative_path(path)
    home = str(Path.home())
    return f"~{text[len(home) :]}" if text.startswith(home + os.sep) else text


_BOLD, _DIM, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"


@make_command(
    "list",
    (
        ("lmconf list", ""),
        ("lmconf list --format json", "for programs"),
    ),
)
@format_option("text", "json", help="Output format.")
@click.pass_context
def command(ctx: click.Context, *, form: str) -> None:
    """List every profile that can be loaded by name here, nearest first, with its LMs.

    The main LM has a `*`. A profile is shadowed if a nearer one has the same name; the name means
    the nearer one. Invalid profiles are listed with their first error.
    """
    profiles = list(list_profiles())
    if form == "json":
        say(json.dumps([_plain(profile) for profile in profiles], indent=2, ensure_ascii=False))
        return
    if not profiles:
        tell(f"no profiles; looked in {', '.join(_places())}")
        tell("`lmconf init` writes a first one")
        return
    color = terminal_of(ctx).colors(sys.stdout)
    names = [profile.name for profile in profiles]
    names += [f"  * {name}" for profile in profiles for name in profile.lms]
    widths = (
        min(max(len(name) for name in names), 40) + 2,
        max(len(profile.place) for profile in profiles) + 2,
    )
    say("\n".join(line for profile in profiles for line in _lines(profile, widths, color)))


def _lines(profile: ProfileListing, widths: tuple[int, int], color: bool) -> Iterator[str]:
    from lmconf.diagnostics.render import sort_diagnostics

    bold, dim, red, plain = (_BOLD, _DIM, _RED, _PLAIN) if color else ("",) * 4
    width, place_width = widths
    name = fit(profile.name)
    where = fit(shorten_path(profile.path))
    yield f"{bold}{name:<{width}}{plain}{profile.place:<{place_width}}{where}"
    if profile.shadowed_by is not None:
        yield f"    {dim}shadowed by {fit(shorten_path(profile.shadowed_by))}{plain}"
    if profile.errors:
        first = sort_diagnostics(profile.errors)[0]
        place = f"{first.mark}: " if first.mark is not None else ""
        more = len(profile.errors) - 1
        rest = f" (and {more} more: `lmconf validate {where}`)" if more else ""
        yield f"    {red}broken{plain}: {fit(f'{place}{first.message}')}{rest}"
        return
    if not profile.lms:
        yield f"    {dim}no LMs: other profiles extend it{plain}"
    for lm, model in profile.lms.items():
        if profile.flat:
            yield f"{'':<{width}}{fit(model)}"
        else:
            label = f"  * {lm}" if lm == profile.main else f"    {lm}"
            yield f"{label:<{width}}{fit(model)}"


def _plain(profile: ProfileListing) -> dict[str, object]:
    from lmconf.diagnostics.render import to_json

    return {
        "name": profile.name,
        "place": profile.place,
        "path": str(profile.path.resolve()),
        "shadowed_by": str(profile.shadowed_by.resolve()) if profile.shadowed_by else None,
        "valid": not profile.errors,
        "main": profile.main,
        "lms": dict(profile.lms),
        "diagnostics": to_json(profile.diagnostics),
    }


def _places() -> list[str]:
    from lmconf.loader.discovery import search_folders

    return [shorten_path(folder) for folder in search_folders(os.environ)]
