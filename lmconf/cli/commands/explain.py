"""`lmconf explain`: what the code of a diagnostic means, and how to fix it."""

from __future__ import annotations

import json

import click
from click.shell_completion import CompletionItem

from lmconf.cli.app import command as make_command
from lmconf.cli.options import format_option, not_empty
from lmconf.cli.terminal import say
from lmconf.diagnostics.codes import SECTIONS, Code, all_codes
from lmconf.diagnostics.suggest import did_you_mean

__all__ = ["command"]


def _complete_code(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(code.name, help=code.title)
        for codes in all_codes().values()
        for code in codes
        if code.name.startswith(incomplete)
    ]


@make_command(
    "explain",
    (
        ("lmconf explain unknown-key", "what `error[unknown-key]` means"),
        ("lmconf explain", "list every code"),
    ),
)
@click.argument(
    "name", metavar="[CODE]", required=False, callback=not_empty, shell_complete=_complete_code
)
@format_option("text", "json", help="Output format.")
def command(*, name: str | None, form: str) -> None:
    """Explain the code of a diagnostic, with an example and a fix.

    CODE is the word in brackets, as in `error[unknown-key]`. Without CODE, list all codes.
    """
    if name is not None:
        code = _find_code(name)
        say(_to_json(code) if form == "json" else _explain(code))
    elif form == "json":
        say(_to_json([code for codes in all_codes().values() for code in codes]))
    else:
        say(_list_codes())


def _find_code(name: str) -> Code:
    """Return the code `name`.

    Raises:
        click.BadParameter: there is no such code; the message suggests the nearest one.
    """
    codes = {code.name: code for section in all_codes().values() for code in section}
    if name in codes:
        return codes[name]
    near = did_you_mean(name, codes)
    hint = f"Did you mean `{near}`?" if near else "`lmconf explain` lists all codes."
    raise click.BadParameter(f"There is no code `{name}`. {hint}", param_hint="CODE")


def _explain(code: Code) -> str:
    lines = [f"{code.name}: {code.title}", "", *_wrap(code.explanation)]
    if code.example:
        lines += ["", "Example:", "", *(f"    {line}" for line in code.example.splitlines())]
    if code.when:
        lines += ["", *_wrap(f"Raised when {code.when}.")]
    return "\n".join([*lines, "", *_wrap(f"Fix: {code.fix}")])


def _wrap(text: str) -> list[str]:
    return click.wrap_text(text, width=88).splitlines()


def _list_codes() -> str:
    sections = []
    for key, codes in all_codes().items():
        width = max(len(code.name) for code in codes)
        rows = [f"  {code.name:<{width}}  {code.title}" for code in codes]
        sections.append("\n".join([SECTIONS[key], *rows]))
    return "\n\n".join(sections)


def _to_json(value: Code | list[Code]) -> str:
    import msgspec

    return json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)
