"""The options that say what a profile's name means, and what it means under them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import click

from lmconf.cli.options import allow_import_option, set_option, var_option

if TYPE_CHECKING:
    from lmconf.cli.select import Selection

__all__ = ["Choose", "profile_options"]


class Choose(Protocol):
    """Returns what NAME means under the options of a command, and tells its warnings.

    Raises:
        ProfileError: there is no such profile or LM, it is not valid, or, with `one_lm`, no LM is
            meant.
    """

    def __call__(self, *, one_lm: bool = False) -> Selection: ...


def profile_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add `--set`, `--var` and `--allow-import` to a command that has the argument NAME.

    It is given `choose` in place of their values.
    """

    def run(
        ctx: click.Context,
        *,
        sets: tuple[str, ...],
        variables: tuple[str, ...],
        allow_imports: tuple[str, ...],
        **params: Any,
    ) -> None:
        def choose_profile(*, one_lm: bool = False) -> Selection:
            from lmconf.cli.select import choose, warn

            selection = choose(
                params["name"],
                sets=sets,
                variables=variables,
                allow_imports=allow_imports,
                one_lm=one_lm,
            )
            if one_lm:
                _ = selection.compiled  # that there is none is told without any warning
            warn(ctx, selection.warnings)
            return selection

        function(choose=choose_profile, **params)

    functools.update_wrapper(run, function)
    command: Callable[..., None] = click.pass_context(run)
    for add in (allow_import_option(), var_option(), set_option()):
        command = add(command)
    return command
