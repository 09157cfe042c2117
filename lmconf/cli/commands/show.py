"""`lmconf show`: what a profile comes to, and where it says so."""

from __future__ import annotations

import json
import sys

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.app import terminal_of
from lmconf.cli.options import format_option, minimal_option, name_argument
from lmconf.cli.profile_options import Choose, profile_options
from lmconf.cli.terminal import say


@make_command(
    "show",
    (
        ("lmconf show support", "the whole profile, resolved"),
        ("lmconf show support:gpt --origin", "one LM: where each value comes from"),
        ("lmconf show support:gpt --minimal", "only what the profile states"),
        ("lmconf show support:gpt --set temperature=1", "as it would be"),
        ("lmconf show --var tier=full", "the nearest lmconf.yaml with another `tier`"),
    ),
)
@name_argument(required=False)
@click.option(
    "--origin", is_flag=True, help="Show the file and line, or the default, of every value."
)
@minimal_option()
@format_option("yaml", "json", help="Output format.")
@profile_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    name: str | None,
    origin: bool,
    minimal: bool,
    form: str,
    choose: Choose,
) -> None:
    """Print a resolved profile or LM: composed, rendered, with all defaults.

    Without NAME, $LMCONF_PROFILE or the nearest lmconf.yaml is used. References such as
    {$env: OPENAI_API_KEY} stay references: no secret is ever printed.
    """
    from lmconf.cli.select import state, to_text

    selection = choose()
    content = state(selection, minimal=minimal)
    if not origin:
        say(to_text(content, form), newline=False)
        return
    from lmconf.cli.value_origins import annotate_origins, origins

    if form == "yaml":
        color = terminal_of(ctx).colors(sys.stdout)
        say(annotate_origins(selection, content, color=color), newline=False)
        return
    rows = [
        {
            "path": list(each.path),
            "value": each.value,
            "origin": str(each),
            "file": each.mark.source.name if each.mark else None,
            "line": each.mark.line or None if each.mark else None,
        }
        for each in origins(selection, content)
    ]
    say(json.dumps(rows, indent=2, ensure_ascii=False))
