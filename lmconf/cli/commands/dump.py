"""`lmconf dump`: an LM or a profile as a file that stands by itself."""

from __future__ import annotations

from pathlib import Path

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.options import format_option, minimal_option, name_argument
from lmconf.cli.profile_options import Choose, profile_options
from lmconf.cli.terminal import say, tell, write_file


@make_command(
    "dump",
    (
        ("lmconf dump support:gpt", "to standard output"),
        ("lmconf dump support -o run42.yaml", "what this run used, in one file"),
        ("lmconf dump support:gpt --format dspy", "the arguments of dspy.LM, as JSON"),
    ),
)
@name_argument(required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE, atomically.",
)
@minimal_option()
@format_option("yaml", "json", "dspy", help="Output format.")
@profile_options
def command(
    *,
    name: str | None,
    output: Path | None,
    minimal: bool,
    form: str,
    choose: Choose,
) -> None:
    """Write the state of a profile or of one of its LMs: a self-contained document.

    It needs no other file, and loading it gives the same LMs, also with later versions. References
    such as {$env: OPENAI_API_KEY} stay references: no secret is ever written.
    """
    from lmconf.cli.select import dspy_state, state, to_text

    if minimal and form == "dspy":
        raise click.UsageError("--minimal cannot be combined with --format dspy.")
    selection = choose()
    content = dspy_state(selection) if form == "dspy" else state(selection, minimal=minimal)
    text = to_text(content, form)
    if output is None:
        say(text, newline=False)
        return
    write_file(output, text)
    tell(f"wrote {output}")
