"""Prints what the parser of SGLang or vLLM takes, and what it makes of a command line.

Run by the interpreter that has the package: `parsers.py KIND WORDS…`. Modules that a parser needs
only because its package imports them, and that want a GPU or much disk, are stood in for.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

NOT_NEEDED = {"sglang": ("triton", "IPython"), "vllm": ("xgrammar", "llguidance")}


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that are not needed, where they are not installed."""

    def __init__(self, kind: str) -> None:
        self.missing = [each for each in NOT_NEEDED[kind] if importlib.util.find_spec(each) is None]

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self.missing:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        made: Any = MagicMock(name=spec.name)
        made.__path__, made.__name__, made.__spec__, made.__version__ = [], spec.name, spec, "9.9"
        found: ModuleType = made
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is."""


def parser_of(kind: str) -> argparse.ArgumentParser:
    """Return the server's own parser."""
    parser: Any
    if kind == "sglang":
        from sglang.srt.server_args import ServerArgs  # type: ignore[import-not-found]

        parser = argparse.ArgumentParser()
        ServerArgs.add_cli_args(parser)
    else:
        from vllm.entrypoints.launchers.cli_args import (  # type: ignore[import-not-found]
            make_arg_parser,
        )
        from vllm.utils.argparse_utils import (  # type: ignore[import-not-found]
            FlexibleArgumentParser,
        )

        parser = make_arg_parser(FlexibleArgumentParser())
    made: argparse.ArgumentParser = parser
    return made


def takes(action: Any) -> str:
    """Return what a flag takes, in the words of `lmconf.launchers.flags`."""
    if isinstance(action, argparse.BooleanOptionalAction):
        return "toggle"
    if "StoreTrue" in type(action).__name__:
        return "switch"
    if action.nargs in ("+", "*") or "Append" in type(action).__name__:
        return "list"
    return {int: "integer", float: "number"}.get(action.type, "value")


def main() -> None:
    """Print both as one JSON object."""
    kind, *words = sys.argv[1:]
    sys.meta_path.append(StandIns(kind))
    parser = parser_of(kind)
    known = {
        flag.removeprefix("--"): takes(action)
        for action in parser._actions
        for flag in action.option_strings
        if flag.startswith("--")
    }
    read = vars(parser.parse_args(words))
    sys.stdout.write("\n" + json.dumps({"flags": known, "read": read}, default=str) + "\n")


if __name__ == "__main__":
    main()
