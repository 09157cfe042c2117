"""Hugging Face's own server: `transformers serve`."""

from __future__ import annotations

from lmconf.launchers.flags import Flags
from lmconf.launchers.python_modules import PythonModule
from lmconf.launchers.server_protocol import Launcher
from lmconf.launchers.specs import LaunchSpec

__all__ = ["LAUNCHER"]


def _flags() -> Flags:
    from lmconf.launchers.flags_transformers import FLAGS

    return FLAGS


def _server_arguments(spec: LaunchSpec, model: str, weights: str, port: int) -> tuple[str, ...]:
    """Return the words beside `args` (huggingface.co/docs/transformers, "Serving").

    With a model on its command line it loads that one before it listens, and refuses requests
    that name any other.
    """
    return ("serve", weights, f"--host={spec.host}", f"--port={port}")


LAUNCHER: Launcher = PythonModule(
    kind="transformers",
    module="transformers.cli.transformers",
    package="transformers",
    install="pip install 'transformers[serving]' torch",
    flags=_flags,
    words=_server_arguments,
    ready_path="/health",
    named_by_weights=True,
    lists_models=False,  # its list of models holds what is in the cache of downloads
)
