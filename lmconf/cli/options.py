"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

__all__ = [
    "allow_import_option",
    "complete_name",
    "format_option",
    "minimal_option",
    "name_argument",
    "not_empty",
    "quantity",
    "set_option",
    "var_option",
]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Decorator = Callable[[Decorated], Decorated]


def complete_name(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of profiles and LMs that begin with `incomplete`."""
    from lmconf.cli.commands.completion import complete_names

    return complete_names(incomplete)


def _complete_set(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from lmconf.cli.commands.completion import complete_set_paths

    return complete_set_paths(ctx.params.get("name"), incomplete)


def not_empty(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Return `value`, a text or several, unless one is empty: an unset shell variable, most often.

    Raises:
        click.BadParameter: one is.
    """
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("it is empty.")
    return value


def quantity(parse: Callable[[str], float], text: str, option: str, example: str) -> float:
    """Return what `parse` reads in `text`, the value of `option`: a size or a duration.

    Raises:
        click.UsageError: it is none; the message shows one.
    """
    try:
        return float(parse(text))
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}; write it as `{example}`.") from None


def name_argument(*, required: bool) -> Decorator[Any]:
    """Return the argument NAME: a profile, `profile:lm`, or a path."""
    metavar = "NAME[:LM]" if required else "[NAME[:LM]]"
    return click.argument(
        "name", required=required, metavar=metavar, callback=not_empty, shell_complete=complete_name
    )


def set_option() -> Decorator[Any]:
    """Return the option `--set`."""
    return click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="PATH=VALUE",
        shell_complete=_complete_set,
        help="Override a value of the profile, such as `temperature=0.7` for the LM that is named or"
        " `lms.*.cache=false` for all. The value is YAML. Repeatable.",
    )


def var_option() -> Decorator[Any]:
    """Return the option `--var`."""
    return click.option(
        "--var",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="Give a value to one of the profile's `vars`. Repeatable.",
    )


def allow_import_option() -> Decorator[Any]:
    """Return the option `--allow-import`."""
    return click.option(
        "--allow-import",
        "allow_imports",
        multiple=True,
        metavar="PATH",
        help="Allow the profile to name this code: `module:attr`, `module` or `package.*`."
        " Repeatable.",
    )


def minimal_option() -> Decorator[Any]:
    """Return the option `--minimal`."""
    return click.option(
        "--minimal", is_flag=True, help="Only what the profile states, without defaults."
    )


def format_option(*formats: str, help: str) -> Decorator[Any]:
    """Return the option `--format`, whose default is the first of `formats`, and `--json`.

    The command is given the one that was chosen as `form`.
    """

    def decorate(function: Decorated) -> Decorated:
        short = click.option(
            "--json",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_choose_json,
            help="Short for --format json.",
        )
        whole = click.option(
            "--format",
            "form",
            type=click.Choice(formats),
            default=formats[0],
            show_default=True,
            callback=_choose_format,
            help=help,
        )
        return whole(short(function))

    return decorate


_JSON = "lmconf.cli.options.json"


def _choose_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[_JSON] = value


def _choose_format(ctx: click.Context, _: click.Parameter, value: str) -> str:
    return "json" if ctx.meta.get(_JSON) else value
