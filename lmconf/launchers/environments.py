"""What a server sees of its owner's environment, and what references in its spec stand for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lmconf.errors import LaunchError
from lmconf.launchers.specs import LaunchSpec
from lmconf.secrets.references import Env, File, Given, MissingReference, Public, resolve_parts

__all__ = ["PASSED_ON", "inherited_environment", "resolve_text", "server_environment"]

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""What a server sees of its owner's environment; `env` in the profile adds to it."""


def inherited_environment() -> dict[str, str]:
    """Return what every server sees of this process's environment."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def server_environment(
    spec: LaunchSpec, code_values: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the server's environment, and the values in it that are secret.

    Raises:
        LaunchError: a reference in `spec.env` leads nowhere.
    """
    env = inherited_environment()
    if spec.gpus is not None:
        every = ",".join(map(str, range(spec.gpus)))
        visible = [gpu for gpu in env.get("CUDA_VISIBLE_DEVICES", every).split(",") if gpu]
        if len(visible) < spec.gpus:
            raise LaunchError(
                f"`gpus: {spec.gpus}` but CUDA_VISIBLE_DEVICES names only {len(visible)}"
            )
        env["CUDA_VISIBLE_DEVICES"] = ",".join(visible[: spec.gpus])
    hidden: list[str] = []
    for name, value in spec.env.items():
        env[name] = resolve_text(value, code_values, hidden)
    return env, tuple(hidden)


def resolve_text(
    value: object, code_values: Mapping[str, str], hidden: list[str] | None = None
) -> str:
    """Return the text that a literal or a reference stands for.

    That of a reference is added to `hidden`, both as it is and as it is formatted.

    Raises:
        LaunchError: the reference leads nowhere.
    """
    parts = ("", "")
    match value:
        case Public(value=public):
            return str(public)
        case Given(name=name):
            if name not in code_values:
                raise LaunchError(f"code must pass a value for {name!r}")
            parts = (code_values[name], code_values[name])
        case Env() | File():
            reason = ""
            try:
                parts = resolve_parts(value)
            except MissingReference as missing:
                reason = str(missing)
            if reason:
                raise LaunchError(reason)
        case _:
            return str(value)
    if hidden is not None:
        hidden += [part for part in dict.fromkeys(parts) if part]
    return parts[0]
