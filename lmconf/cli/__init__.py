"""The command line: `lmconf`, with one file for each command. Only this package imports click."""

from __future__ import annotations

from lmconf.cli.entry import main, run

__all__ = ["main", "run"]
