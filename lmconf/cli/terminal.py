"""What is printed where: text fit for a terminal, and colour only where it is wanted."""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import Literal, TextIO, TypeAlias

import click

from lmconf.masking import mask

__all__ = ["ColorChoice", "Terminal", "fit", "say", "sized", "tell", "visible"]

ColorChoice: TypeAlias = Literal["auto", "always", "never"]


class Terminal:
    """How this run of the command line prints; `color` is what `--color` said."""

    def __init__(self) -> None:
        self.color: ColorChoice = "auto"

    def colors(self, stream: TextIO) -> bool:
        """Say whether what is written to `stream` is coloured.

        `auto` is a terminal that is not dumb, unless NO_COLOR (no-color.org) is set.
        """
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        return stream.isatty()


def say(text: str, *, newline: bool = True) -> None:
    """Write `text`, a command's result, to standard output."""
    # click would take colours out by rules of its own.
    click.echo(text, nl=newline, color=True)


def tell(text: str) -> None:
    """Write `text`, something about the result, to standard error."""
    # What is said first must be seen first where both streams are one terminal.
    sys.stdout.flush()
    click.echo(text, err=True, color=True)


def fit(text: str) -> str:
    """Return `text`, which others wrote, fit for a message: keys masked, controls escaped."""
    return visible(mask(text))


def visible(text: str) -> str:
    """Return `text` with everything escaped that would steer a terminal, but newlines and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else _escaped(letter) for letter in text)


def _is_harmless(letter: str) -> bool:
    # Format characters join emoji and scripts; only those that reorder a line are a disguise.
    category = unicodedata.category(letter)
    return letter in "\n\t" or not (category in ("Cc", "Cs") or letter in _REORDERING)


_REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def sized(size: int) -> str:
    """Return so many bytes in a unit that people read."""
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"
