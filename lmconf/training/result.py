"""From what a training came to, to an LM that is declared like any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lmconf.errors import TrainError
from lmconf.providers.catalogue import provider_of
from lmconf.schema.declaration import field_names
from lmconf.schema.frozen import thaw
from lmconf.spec import build
from lmconf.spec.compiled import CompiledLM
from lmconf.trainers.jobs import JobRecord
from lmconf.trainers.specs import TRAIN, TrainSpec

__all__ = ["make_trained_lm"]


def make_trained_lm(compiled: CompiledLM, record: JobRecord) -> CompiledLM:
    """Return the LM that the succeeded job of `record` made of the LM `compiled`.

    It is declared like any other: its model, its server if it has one, and where it comes from.

    Raises:
        TrainError: the result is not there any more.
    """
    made, spec = record.made, compiled.spec
    assert made is not None
    provider = provider_of(spec.model)[0]
    changes: dict[str, Any] = {"provenance": _provenance(compiled, record)}
    elsewhere = False
    if made.model is not None:
        model = made.model if "/" in made.model.split(":")[0] else f"{provider}/{made.model}"
        changes |= {"model": model, "base_model": spec.base_model or record.model}
    else:
        launch = dict(_stated_launch(compiled))
        launch |= _serve_with(made.gguf, made.weights, launch.get("use") or spec.provider)
        if "port" in launch:
            # The two may run beside each other: the one that is stated is the other's.
            launch["port"] = {"$unset": True}
        changes |= {"model": f"{spec.model}-{record.id[-6:]}", "launch_kwargs": launch}
        # What reached the server of before is not for the one that is launched now.
        elsewhere = spec.launch_kwargs is None
        if elsewhere:
            changes["api_key"] = ""
        if not Path(launch["weights"]).exists():
            gone = launch["weights"]
            raise TrainError(f"what the job {record.id} made is not there any more: {gone}")
    changed = build.change_lm(compiled, changes, elsewhere=elsewhere)
    return msgspec.structs.replace(changed, name=str(changes["model"]))


def _stated_launch(compiled: CompiledLM) -> Mapping[str, Any]:
    stated = thaw(compiled.stated.get("launch_kwargs")) or {}
    return stated if isinstance(stated, Mapping) else {}


def _serve_with(gguf: str | None, weights: str | None, use: str | None) -> dict[str, Any]:
    """Return which server serves what was made, and from what."""
    if gguf is not None and use in (None, "llama_cpp"):
        return {"use": "llama_cpp", "weights": gguf}
    path = weights or gguf
    assert path is not None
    kinds = ("sglang", "vllm", "transformers", "command")
    return {"use": use if use in kinds else "transformers", "weights": path}


def _provenance(compiled: CompiledLM, record: JobRecord) -> dict[str, Any]:
    spec = compiled.spec.train_kwargs
    said = {} if spec is None else TRAIN.write(spec)
    # Variables of the training may be secrets, and do not change what comes of it.
    told = field_names(TrainSpec, lambda field: not field.holds_secrets and field.name != "use")
    versions = dict(record.made.versions) if record.made is not None else {}
    return {
        "trained_from": record.model,
        "job": record.id,
        "data": record.digest,
        "rows": record.rows,
        "format": record.format,
        "train_kwargs": {
            **{name: value for name, value in said.items() if name in told},
            "use": record.kind,
        },
        **({"versions": versions} if versions else {}),
    }
