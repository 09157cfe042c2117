"""SGLang's server: `python -m sglang.launch_server`."""

from __future__ import annotations

from lmconf.launchers.flags import Flags
from lmconf.launchers.python_modules import PythonModule, served_name
from lmconf.launchers.server_protocol import Launcher
from lmconf.launchers.specs import LaunchSpec

__all__ = ["LAUNCHER"]


def _flags() -> Flags:
    from lmconf.launchers.flags_sglang import FLAGS

    return FLAGS


def _server_arguments(spec: LaunchSpec, model: str, weights: str, port: int) -> tuple[str, ...]:
    """Return the words beside `args` (docs.sglang.ai, "Server Arguments")."""
    adapters = [f"{name}={path}" for name, path in spec.adapters.items()]
    return (
        f"--model-path={weights}",
        f"--served-model-name={served_name(spec, model)}",
        f"--host={spec.host}",
        f"--port={port}",
        *(["--enable-lora", "--lora-paths", *adapters] if adapters else []),
    )


LAUNCHER: Launcher = PythonModule(
    kind="sglang",
    module="sglang.launch_server",
    package="sglang",
    install="pip install 'sglang[all]'",
    flags=_flags,
    words=_server_arguments,
)
