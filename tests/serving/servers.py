"""The real servers that are too large for every run: where each is, and how it starts here.

A variable names the interpreter that has it (`make test-serving` makes them all); without the
variable, what is about that server is skipped.
"""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest

__all__ = ["KINDS", "adapter", "interpreter", "launched"]

HERE = Path(__file__).parent
CHECKPOINT = HERE.parents[1] / "models/tiny/checkpoint"

_VARIABLES = {
    "transformers": "LMCONF_SERVING_PYTHON",
    "vllm": "LMCONF_VLLM_PYTHON",
    "sglang": "LMCONF_SGLANG_PYTHON",
}
# Tests see none of lmconf's own variables.
_INTERPRETERS = {kind: os.environ.get(name, "") for kind, name in _VARIABLES.items()}
KINDS = tuple(_VARIABLES)

_HERE: dict[str, dict[str, Any]] = {
    "transformers": {"args": {"device": "cpu", "default-seed": 0}},
    "vllm": {
        "args": {"dtype": "float32", "enforce-eager": True, "max-model-len": 256},
        "env": {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # The build for CPUs goes by another name, and asks for its version by this one.
            "PYTHONPATH": str(HERE / "on_a_cpu/vllm"),
        },
    },
    "sglang": {
        "args": {
            "device": "cpu",
            "attention-backend": "torch_native",
            "dtype": "float32",
            "max-total-tokens": 8192,
        },
        "env": {
            "SGLANG_USE_CPU_ENGINE": "1",
            "PYTHONPATH": str(HERE / "on_a_cpu/sglang"),
        },
    },
}


def interpreter(kind: str) -> str:
    """Return the interpreter that has a kind of server; the test is skipped where none is named."""
    if not _INTERPRETERS[kind]:
        pytest.skip(f"{_VARIABLES[kind]} names no interpreter")
    return _INTERPRETERS[kind]


def launched(kind: str, **more: Any) -> dict[str, Any]:
    """Return `launch_kwargs` for the tiny checkpoint, served on a CPU."""
    here = _HERE[kind]
    return {
        "use": kind,
        "python": interpreter(kind),
        "weights": str(CHECKPOINT),
        "ready": {"timeout": "5min"},
        **more,
        "args": {**here["args"], **more.get("args", {})},
        "env": {"HF_HUB_OFFLINE": "1", **here.get("env", {})},
    }


def adapter(folder: Path) -> Path:
    """Return a LoRA adapter of the tiny checkpoint that changes what it answers."""
    rank, hidden, layers = 8, 128, 4
    chance = random.Random(1)
    header, data = {}, b""
    for layer in range(layers):
        for module, width in (("q_proj", 128), ("v_proj", 64)):
            for name, shape in (("A", (rank, hidden)), ("B", (width, rank))):
                numbers = (chance.gauss(0, 0.3) for _ in range(shape[0] * shape[1]))
                piece = b"".join(struct.pack("<f", number) for number in numbers)
                key = f"base_model.model.model.layers.{layer}.self_attn.{module}.lora_{name}.weight"
                place = [len(data), len(data) + len(piece)]
                header[key] = {"dtype": "F32", "shape": shape, "data_offsets": place}
                data += piece
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
        "base_model_name_or_path": "tiny",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder
