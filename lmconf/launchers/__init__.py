"""Local servers: the kinds there are, and how one is started, watched and ended."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from lmconf.errors import LaunchError
from lmconf.launchers.specs import LAUNCH, LAUNCHER_NAMES, LaunchSpec
from lmconf.system.registry import Registry, import_attribute, require_methods

if TYPE_CHECKING:
    from lmconf.launchers.server_protocol import Launcher

__all__ = [
    "KINDS",
    "LAUNCH",
    "LAUNCHER_NAMES",
    "REGISTRY",
    "LaunchSpec",
    "launcher",
    "register_launcher",
    "unregister_launcher",
]

KINDS = {
    "llama_cpp": "lmconf.launchers.llama_cpp",
    "sglang": "lmconf.launchers.sglang",
    "vllm": "lmconf.launchers.vllm",
    "transformers": "lmconf.launchers.transformers",
    "ollama": "lmconf.launchers.ollama",
    "command": "lmconf.launchers.command",
}
"""The kinds that can be started, and the module whose `LAUNCHER` starts each."""


REGISTRY = Registry(
    "launcher", LAUNCHER_NAMES, resolve=import_attribute, check=require_methods("start")
)


def register_launcher(name: str, factory: Callable[[], object]) -> None:
    """Register a kind of server for `launch_kwargs: {use: <name>}` in profiles.

    Args:
        name: letters, digits, `_` and `-`.
        factory: a class or function that is called without arguments and returns a `Launcher`.

    Raises:
        UsageError: the name is not valid, is a built-in kind or belongs to another factory, or
            the factory is not callable.
    """
    REGISTRY.register(name, factory)


def unregister_launcher(name: str) -> None:
    """Remove a registered launcher.

    Args:
        name: the launcher's name. A name that is not registered has no effect.
    """
    REGISTRY.unregister(name)


def launcher(kind: str) -> Launcher:
    """Return what starts servers of `kind`; what a package brings is imported now.

    Raises:
        LaunchError: the kind is unknown, or this system has no process groups.
        UsageError: it cannot be imported, or is no launcher.
    """
    if kind not in KINDS:
        made = REGISTRY.make(kind)
        if made is None:
            raise LaunchError(str(REGISTRY.unknown(kind)))
        return cast("Launcher", made)
    if os.name != "posix":
        raise LaunchError("local servers need Linux or macOS")
    return cast("Launcher", importlib.import_module(KINDS[kind]).LAUNCHER)
