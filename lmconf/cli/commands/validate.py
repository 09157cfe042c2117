"""`lmconf validate`: every mistake in files, folders and named profiles."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from msgspec import Struct

from lmconf.cli.app import command as make_command
from lmconf.cli.app import terminal_of
from lmconf.cli.options import (
    allow_import_option,
    complete_name,
    format_option,
    not_empty,
    var_option,
)
from lmconf.cli.terminal import fit, say
from lmconf.diagnostics.model import Diagnostic
from lmconf.errors import ProfileError
from lmconf.loader.discovery import find_all, find_profile, is_path, split_name
from lmconf.loader.extends import relative_path
from lmconf.system.paths import with_home

__all__ = ["command"]

SUFFIXES = (".yaml", ".yml", ".json")
# In a folder, what holds one of these keys at its top is a profile; other YAML files stand beside
# profiles in many projects.
_PROFILE_YAML = re.compile(rb"""^["']?(lmconf|lms|model|extends)["']?[ \t]*:""", re.MULTILINE)
_PROFILE_JSON = re.compile(rb'"(lmconf|lms|model)"\s*:')


class ValidationResult(Struct, frozen=True, eq=False):
    """One profile and everything there is to say about it."""

    path: str
    diagnostics: tuple[Diagnostic, ...]

    def valid(self, *, strict: bool) -> bool:
        """Say whether the profile may be used; when `strict`, a warning is a mistake."""
        return not any(strict or diagnostic.severity == "error" for diagnostic in self.diagnostics)


@make_command(
    "validate",
    (
        ("lmconf validate", "every profile of this project"),
        ("lmconf validate support ./other.yaml", "a profile by name, and a file"),
        ("lmconf validate conf/ --strict", "a folder and all below it; warnings count"),
        ("lmconf validate --format json", "for programs"),
    ),
)
@click.argument(
    "paths", nargs=-1, metavar="[PATH|NAME]...", callback=not_empty, shell_complete=complete_name
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@format_option("text", "json", help="Output format.")
@var_option()
@allow_import_option()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    paths: tuple[str, ...],
    strict: bool,
    form: str,
    variables: tuple[str, ...],
    allow_imports: tuple[str, ...],
) -> None:
    """Check profiles and report every mistake, with its place and a fix.

    Without arguments, lmconf.yaml and profiles/ of this project are checked. In folders, files that
    do not look like profiles are skipped. Nothing is called, started or imported. The exit code is
    0 if all are valid and 1 otherwise.
    """
    files, missing, passed_over = _files(paths)
    results = [*_validate_files(files, variables, frozenset(allow_imports)), *missing]
    if not results:
        raise ProfileError([_nothing_to_check(paths, len(passed_over))])
    valid = [profile for profile in results if profile.valid(strict=strict)]
    if form == "json":
        say(json.dumps(_plain(results, passed_over, strict), indent=2, ensure_ascii=False))
    else:
        _print_results(ctx, results, valid, passed_over)
    ctx.exit(0 if len(valid) == len(results) else 1)


# --- which files --------------------------------------------------------------------------------


def _files(paths: Sequence[str]) -> tuple[list[Path], list[ValidationResult], list[Path]]:
    """Return the files that `paths` mean, what is told of those not found, and what was skipped."""
    files: list[Path] = []
    missing: list[ValidationResult] = []
    passed_over: list[Path] = []
    if not paths:
        files = [profile.path for profile in find_all(os.environ) if profile.place == "project"]
    for text in paths:
        folder = with_home(text)
        if folder.is_dir() and (is_path(text) or not _is_profile_name(text)):
            for path in _below(folder):
                (files if _looks_like_profile(path, folder) else passed_over).append(path)
            continue
        try:
            files.append(_find_profile(text))
        except ProfileError as error:
            missing.append(ValidationResult(text, error.diagnostics))
    unique = {path.resolve(): path for path in reversed(files)}
    return list(reversed(unique.values())), missing, passed_over


def _is_profile_name(text: str) -> bool:
    try:
        find_profile(text, os.environ)
    except ProfileError:
        return False
    return True


def _find_profile(text: str) -> Path:
    profile, lm = split_name(text)
    if lm is not None:
        raise ProfileError(
            [
                Diagnostic(
                    code="whole-profiles",
                    message=f"`{text}` is one LM, and profiles are checked as a whole",
                    help=f"write `lmconf validate {profile}`",
                )
            ]
        )
    return find_profile(text, os.environ)


def _below(folder: Path) -> Iterator[Path]:
    """Yield the YAML and JSON files in `folder` and below, sorted; hidden folders are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name != "node_modules"
        )
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent) / name


def _looks_like_profile(path: Path, folder: Path) -> bool:
    if path.name == "lmconf.yaml" or "profiles" in path.resolve().parent.parts[-1:]:
        return True
    try:
        content = path.read_bytes()
    except OSError:
        # Checking it tells why.
        return True
    pattern = _PROFILE_JSON if path.suffix == ".json" else _PROFILE_YAML
    return pattern.search(content) is not None


def _nothing_to_check(paths: Sequence[str], passed_over: int) -> Diagnostic:
    if not paths:
        message = "there is nothing to check: no lmconf.yaml and no profiles/ in this project"
    else:
        message = f"there are no profiles in {', '.join(paths)}"
    note = f" ({passed_over} other files were skipped)" if passed_over else ""
    return Diagnostic(
        code="no-profile",
        message=f"{message}{note}",
        help="`lmconf init` writes a first one; `lmconf validate PATH` checks a file",
    )


# --- checking and telling -----------------------------------------------------------------------


def _validate_files(
    files: Sequence[Path], variables: Sequence[str], allow_imports: frozenset[str]
) -> Iterator[ValidationResult]:
    """Yield what is told of each file, and of the stores that it shares with those before it."""
    from lmconf.cli.select import parse_assignments
    from lmconf.compiler.pipeline import Declared, find_store_conflicts
    from lmconf.loader.compile import compile_source

    _, values = parse_assignments((), variables)
    stores: Declared = {}
    for path in files:
        try:
            outcome = compile_source(
                path, variables=values, allow_imports=allow_imports, registered=False
            )
        except ProfileError as error:
            yield ValidationResult(relative_path(path), error.diagnostics)
            continue
        at_odds = () if outcome.profile is None else find_store_conflicts(outcome.profile, stores)
        yield ValidationResult(relative_path(path), (*outcome.diagnostics, *at_odds))


def _print_results(
    ctx: click.Context,
    results: Sequence[ValidationResult],
    valid: Sequence[ValidationResult],
    passed_over: Sequence[Path],
) -> None:
    from lmconf.diagnostics.render import to_text

    # A mistake in a file that several profiles extend is told once.
    diagnostics = [diagnostic for profile in results for diagnostic in profile.diagnostics]
    if diagnostics:
        say(to_text(diagnostics, color=terminal_of(ctx).colors(sys.stdout)) + "\n")
    if len(results) == 1:
        say(f"{fit(results[0].path)} is {'valid' if valid else 'not valid'}")
    elif len(valid) == len(results):
        say(f"{len(results)} profiles, all valid")
    else:
        wrong = [fit(profile.path) for profile in results if profile not in valid]
        say(f"{len(valid)} of {len(results)} profiles valid; not valid: {', '.join(wrong)}")
    if passed_over:
        names = [fit(relative_path(path)) for path in passed_over]
        rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
        say(f"skipped, not profiles: {', '.join(names[:5])}{rest}")


def _plain(
    results: Sequence[ValidationResult], passed_over: Sequence[Path], strict: bool
) -> dict[str, object]:
    from lmconf.diagnostics.render import to_json

    severities = [diagnostic.severity for profile in results for diagnostic in profile.diagnostics]
    return {
        "valid": all(profile.valid(strict=strict) for profile in results),
        "errors": severities.count("error"),
        "warnings": severities.count("warning"),
        "profiles": [
            {
                "path": profile.path,
                "valid": profile.valid(strict=strict),
                "diagnostics": to_json(profile.diagnostics),
            }
            for profile in results
        ],
        "passed_over": [relative_path(path) for path in passed_over],
    }
