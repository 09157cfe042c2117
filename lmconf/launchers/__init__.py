"""Local servers: the kinds there are, and how one is started, watched and ended."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import LaunchError
from lmconf.launchers.specs import LAUNCH, LAUNCHER_NAMES, LaunchSpec

if TYPE_CHECKING:
    from lmconf.launchers.server_protocol import Launcher

__all__ = ["KINDS", "LAUNCH", "LAUNCHER_NAMES", "LaunchSpec", "launcher"]

KINDS = {
    "llama_cpp": "lmconf.launchers.llama_cpp",
    "sglang": "lmconf.launchers.sglang",
    "vllm": "lmconf.launchers.vllm",
    "transformers": "lmconf.launchers.transformers",
    "ollama": "lmconf.launchers.ollama",
    "command": "lmconf.launchers.command",
}
"""The kinds that can be started, and the module whose `LAUNCHER` starts each."""


def launcher(kind: str) -> Launcher:
    """Return what starts servers of `kind`.

    Raises:
        LaunchError: the kind is unknown, or this system has no process groups.
    """
    if kind not in KINDS:
        suggestion = did_you_mean(kind, KINDS)
        hint = f"did you mean {suggestion!r}?" if suggestion else f"there are {', '.join(KINDS)}"
        raise LaunchError(f"the kind of server {kind!r} is not known; {hint}")
    if os.name != "posix":
        raise LaunchError("local servers need Linux or macOS")
    module = importlib.import_module(KINDS[kind])
    result: Launcher = module.LAUNCHER
    return result
