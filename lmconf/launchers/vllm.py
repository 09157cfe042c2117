"""vLLM's OpenAI-compatible server: `vllm serve`."""

from __future__ import annotations

from lmconf.launchers.flags import Flags
from lmconf.launchers.python_modules import PythonModule, served_name
from lmconf.launchers.server_protocol import Launcher
from lmconf.launchers.specs import LaunchSpec

__all__ = ["LAUNCHER"]


def _flags() -> Flags:
    from lmconf.launchers.flags_vllm import FLAGS

    return FLAGS


def _server_arguments(spec: LaunchSpec, model: str, weights: str, port: int) -> tuple[str, ...]:
    """Return the words beside `args` (docs.vllm.ai, "vllm serve")."""
    adapters = [f"{name}={path}" for name, path in spec.adapters.items()]
    return (
        "serve",
        weights,
        f"--host={spec.host}",
        f"--port={port}",
        "--served-model-name",
        served_name(spec, model),
        *(["--enable-lora", "--lora-modules", *adapters] if adapters else []),
    )


LAUNCHER: Launcher = PythonModule(
    kind="vllm",
    module="vllm.entrypoints.cli.main",
    package="vllm",
    install="pip install vllm",
    flags=_flags,
    words=_server_arguments,
    # It would report on its use to its makers (docs.vllm.ai, "Usage Stats Collection").
    environment={"VLLM_NO_USAGE_STATS": "1"},
)
