"""`lmconf init`: a first profile, and the schema that gives editors completion."""

from __future__ import annotations

from pathlib import Path

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.commands.schema import AUTHORED, schema_text
from lmconf.cli.terminal import say, write_file
from lmconf.diagnostics.model import Diagnostic
from lmconf.errors import ProfileError

__all__ = ["command"]

PROFILE = "lmconf.yaml"
SCHEMA_FOLDER = ".lmconf"


@make_command(
    "init",
    (
        ("lmconf init", "here"),
        ("lmconf init ../other-project", "in another folder"),
    ),
)
@click.argument(
    "folder",
    metavar="[DIR]",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
)
@click.option("--force", is_flag=True, help=f"Replace an existing {PROFILE}.")
def command(*, folder: Path, force: bool) -> None:
    """Write a first lmconf.yaml with comments, and the schema for your editor.

    An existing file is replaced only with --force.
    """
    profile, schema = folder / PROFILE, folder / SCHEMA_FOLDER / AUTHORED
    if profile.exists() and not force:
        raise ProfileError([_is_there(profile)])
    files = [(schema, schema_text(AUTHORED)), (profile, starter())]
    for path, text in files:
        write_file(path, text, make_folders=True)
    say(f"wrote {profile}")
    say(f"wrote {schema} (completion and checks in your editor)")
    say(_next_steps(folder))


def starter() -> str:
    """Return the text of a first profile."""
    return (Path(__file__).parents[1] / "starter.yaml").read_text(encoding="utf-8")


def _next_steps(folder: Path) -> str:
    steps = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    steps += [
        "export OPENAI_API_KEY=…             # or point `main` at another LM in the file",
        "lmconf validate",
        'lmconf call lmconf "Say hello."',
    ]
    return "\n".join(["", "next:", *(f"  {step}" for step in steps)])


def _is_there(profile: Path) -> Diagnostic:
    return Diagnostic(
        code="is-there",
        message=f"{profile} already exists and was not changed",
        help="`lmconf validate` checks it; `lmconf init --force` replaces it",
    )
