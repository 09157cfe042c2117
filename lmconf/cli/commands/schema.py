"""`lmconf schema`: the JSON Schema of profiles, for editors and other programs."""

from __future__ import annotations

from pathlib import Path

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.terminal import say, tell, write_file
from lmconf.system.paths import shipped_folder

__all__ = ["AUTHORED", "RESOLVED", "schema_text"]

AUTHORED, RESOLVED = "lmconf.v1.json", "lmconf.resolved.v1.json"


def schema_text(name: str) -> str:
    """Return the schema that came with lmconf under `name`."""
    return (shipped_folder("schemas") / name).read_text(encoding="utf-8")


@make_command(
    "schema",
    (
        ("lmconf schema", "what a person may write"),
        ("lmconf schema --resolved", "what `lmconf dump` writes"),
        ("lmconf schema --out .lmconf", "both, as files for your editor"),
    ),
)
@click.option("--resolved", is_flag=True, help="The schema of resolved documents (dumps).")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help=f"Write {AUTHORED} and {RESOLVED} into DIR (only the latter with --resolved).",
)
def command(*, resolved: bool, out: Path | None) -> None:
    """Print the JSON Schema (Draft 2020-12) of profiles.

    A YAML editor completes and checks a profile whose first line is
    `# yaml-language-server: $schema=.lmconf/lmconf.v1.json`; `lmconf init` sets that up.
    """
    if out is None:
        say(schema_text(RESOLVED if resolved else AUTHORED), newline=False)
        return
    for name in (RESOLVED,) if resolved else (AUTHORED, RESOLVED):
        write_file(out / name, schema_text(name), make_folders=True)
        tell(f"wrote {out / name}")
