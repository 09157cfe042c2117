"""For each kind of server, one that starts on any machine and knows the tiny model.

llama.cpp is the real one, and so is what `command` starts. The others are too large for every
run, so a package or program of the same name takes the same command line and is a real process
that really answers; `make test-serving` starts the real ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lmconf.launchers import LaunchSpec
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Env, Reference

HERE = Path(__file__).parent
TINY = HERE.parents[1] / "profiles" / "models" / "lmconf-tiny-f16.gguf"

_PATH: FrozenMap[str, str | Reference] = FrozenMap(
    {"PYTHONPATH": f"{HERE}:{HERE.parents[1]}", "PYTHONDONTWRITEBYTECODE": "1"}
)


def working(folder: Path) -> dict[str, LaunchSpec]:
    """Return the specs by kind; `folder` holds what their servers need."""
    program = folder / "bin" / "ollama"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/ollama_server.py" "$@"\n')
    program.chmod(0o755)
    have = folder / "have"
    have.write_text("acme/tiny:latest\n")
    ollama = {
        **_PATH,
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "OLLAMA_MODELS": str(have),
        "TINY": str(TINY),
    }
    words = "--host {host} --port {port} --name {model} --weights {weights}".split()
    return {
        "llama_cpp": LaunchSpec(
            use="llama_cpp", weights=str(TINY), args=FrozenMap({"ctx-size": 2048, "threads": 1})
        ),
        "sglang": LaunchSpec(
            use="sglang", weights=str(TINY), args=FrozenMap({"tp-size": 1}), env=_PATH
        ),
        "vllm": LaunchSpec(
            use="vllm", weights=str(TINY), args=FrozenMap({"max_model_len": 512}), env=_PATH
        ),
        "transformers": LaunchSpec(
            use="transformers", weights=str(TINY), args=FrozenMap({"device": "cpu"}), env=_PATH
        ),
        "ollama": LaunchSpec(use="ollama", env=FrozenMap(ollama)),
        "command": LaunchSpec(
            use="command",
            weights=str(TINY),
            env=_PATH,
            command=(sys.executable, str(HERE / "any_server.py"), *words),
        ),
    }


KEYED = {kind: {"api-key": Env(name="SERVER_KEY")} for kind in ("llama_cpp", "sglang", "vllm")}
"""For each kind that can ask for a key, the argument that makes it."""

UNLISTED = frozenset(("transformers",))
"""Kinds whose list of models says nothing of what is served."""

LOADS_A_FILE = frozenset(("llama_cpp", "sglang", "vllm", "transformers"))
"""Kinds that look at their weights before they start."""
