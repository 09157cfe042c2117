"""Trains weights on this machine with TRL (and PEFT, for LoRA), in a process of its own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmconf.errors import TrainError
from lmconf.schema import Choice, Duration, Integer, Number
from lmconf.schema.declaration import field_names, fields
from lmconf.system.paths import with_home
from lmconf.trainers import checkpoints, process
from lmconf.trainers.specs import TrainSpec
from lmconf.trainers.trainer_protocol import (
    FORMATS,
    ApiAccess,
    Format,
    JobStatus,
    Trainer,
    TrainingOrder,
    TrainingResult,
)

__all__ = ["TRAINER", "LocalTrainer"]

PACKAGES = ("torch", "transformers", "trl")
WORKER = Path(__file__).with_name("local_worker.py")
SETTINGS = field_names(
    TrainSpec,
    lambda field: (
        "local" in field.kinds and isinstance(field.shape, Choice | Duration | Integer | Number)
    ),
)
"""What the worker is given as it stands; of blocks, paths and variables it is made something else."""


class LocalTrainer:
    """Fine-tunes a folder of weights in the format of transformers, wholly or by LoRA."""

    formats: tuple[Format, ...] = FORMATS
    least_rows = 1

    def fault(self, format: Format, row: Mapping[str, Any]) -> str:
        """Say what of a conversation is not text: it would be lost on the way to the tokenizer."""
        if row.get("tools") or row.get("functions"):
            return "training on this machine takes conversations without tools"
        if format == "preference":
            asked = row["input"]
            if asked.get("tools"):
                return "training on this machine takes conversations without tools"
            groups = [asked["messages"], row["preferred_output"], row["non_preferred_output"]]
        else:
            groups = [row.get("messages", ())]
        for message in (message for group in groups for message in group):
            if message.get("tool_calls") or message.get("function_call"):
                return "training on this machine takes conversations without tools"
            if not isinstance(message.get("content"), str):
                return "training on this machine takes messages whose content is text"
        return ""

    def check(self, order: TrainingOrder) -> None:
        """See that the packages and the weights are there.

        Raises:
            TrainError: something is missing, or what comes out could not be served.
        """
        wanted = [*PACKAGES, *(["peft"] if order.spec.lora else [])]
        gguf = order.served_by == "llama_cpp"
        wanted += ["gguf"] if gguf else []
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        if missing:
            raise TrainError(
                f"training on this machine needs {', '.join(missing)}: pip install 'lmconf-runtime[train]'"
            )
        process.environment(order)
        weights = _weights(order)
        if gguf:
            self._check_export(order, weights)

    @staticmethod
    def _check_export(order: TrainingOrder, weights: str) -> None:
        """See that a GGUF can be made afterwards: better said now than after hours."""
        if not order.served or not with_home(order.served).is_file():
            raise TrainError(
                "the server of this LM loads a GGUF file, and `launch_kwargs.weights` names none"
                " that is there: tokenizer and template of the new one are taken from it"
            )
        config = Path(weights) / "config.json"
        if not config.is_file():
            return
        kind = json.loads(config.read_text("utf-8")).get("model_type")
        if kind != "llama":
            raise TrainError(
                f"weights of the kind {kind!r} cannot be written as GGUF here, which `llama_cpp`"
                " serves: state another kind of server, and convert them with llama.cpp's own"
                " script if you like"
            )

    def advance(
        self,
        order: TrainingOrder,
        kept: Mapping[str, str],
        keep: Callable[[Mapping[str, str]], None],
        reach: Callable[[], ApiAccess],
    ) -> JobStatus:
        """Start the training, or look how it is doing."""
        if "started" not in kept:
            keep({**kept, "started": "yes"})
            env, hidden = process.environment(order)
            env.setdefault("TOKENIZERS_PARALLELISM", "false")
            program = process.Program(
                argv=(sys.executable, "-I", str(WORKER)),
                env=env,
                hidden=hidden,
                input=json.dumps(_settings(order, kept)) + "\n",
                cwd=order.folder,
            )
            return process.start_program(order, program, kept.get("said", ""))
        ended = process.check_program(order)
        told = process.progress(order)
        if ended is None:
            return JobStatus(status="running", progress=told)
        if ended.well:
            return _result(order, told)
        return process.failure(order, ended, _next_step(order, ended))

    def resume(self, order: TrainingOrder, kept: Mapping[str, str]) -> Mapping[str, str]:
        """Go on after the last checkpoint, or begin again where none was kept.

        Raises:
            TrainError: the weights or the libraries are others than those it was begun with.
        """
        self.check(order)
        found = checkpoints.newest(process.checkpoints(order))
        if found is None:
            return {"said": "no checkpoint was kept: begun again"}
        path, mark = found
        changed = [
            f"{name} {was} (now {_version(name)})"
            for name, was in sorted(mark["versions"].items())
            if was != _version(name)
        ]
        if changed:
            raise TrainError(
                f"the training {order.id} was begun with {', '.join(changed)}: install what it was"
                " begun with, or begin another with `lmconf train`"
            )
        if mark["base"] != _digest_of(_weights(order)):
            raise TrainError(
                f"the weights that the training {order.id} was begun with have changed since:"
                f" {_weights(order)}"
            )
        said = f"goes on after step {mark['step']} of {mark['steps']}"
        return {"resume": str(path), "said": said}

    def cancel(
        self, order: TrainingOrder, kept: Mapping[str, str], reach: Callable[[], ApiAccess]
    ) -> JobStatus:
        """End the training; what it wrote so far is removed."""
        process.end_program(order)
        return JobStatus(status="cancelled")


def _weights(order: TrainingOrder) -> str:
    """Return the folder, or the name of the model, that is trained.

    Raises:
        TrainError: nothing names it, or it is no folder of weights.
    """
    stated = order.spec.weights or _folder(order.served)
    stated = stated or order.model
    path = with_home(stated)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise TrainError(f"{path} holds no weights in the format of transformers: config.json")
        return str(path.absolute())
    if path.is_file() or stated.startswith((".", "/", "~")):
        what = "is a file" if path.is_file() else "does not exist"
        raise TrainError(
            f"the weights {stated} {what}: `train_kwargs.weights` names a folder in the format of"
            " transformers, or a model"
        )
    return stated


def _folder(served: str | None) -> str | None:
    return served if served and with_home(served).is_dir() else None


def _digest_of(weights: str) -> str:
    """Return what changes with the files of a folder of weights; nothing for a model's name.

    It is told by their names, sizes and times: they may be too large to be read for that.
    """
    path = Path(weights)
    if not path.is_dir():
        return ""
    files = [(file.name, file.stat()) for file in sorted(path.iterdir()) if file.is_file()]
    told = [(name, found.st_size, found.st_mtime_ns) for name, found in files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _next_step(order: TrainingOrder, ended: process.ProgramExit) -> str:
    """Say how one may go on with a training that did not end well; no half checkpoint is left."""
    folder = process.checkpoints(order)
    found = checkpoints.newest(folder)
    checkpoints.sweep(folder, found and found[0])
    resume = f"`lmconf jobs resume {order.id[-6:]}`"
    if found is not None:
        return f"{resume} goes on after step {found[1]['step']} of {found[1]['steps']}"
    return f"{resume} begins it again" if ended.cut else ""


def _settings(order: TrainingOrder, kept: Mapping[str, str]) -> dict[str, Any]:
    spec = order.spec
    said = {name: getattr(spec, name) for name in SETTINGS}
    lora = spec.lora
    return {
        **{name: value for name, value in said.items() if value is not None},
        "lora": lora and {name: getattr(lora, name) for name in fields(type(lora))},
        "weights": _weights(order),
        "base": _digest_of(_weights(order)),
        "path": [entry for entry in sys.path if entry],
        "format": order.format,
        "data": str(order.data),
        "validation": str(order.validation) if order.validation else None,
        "partial": str(process.partial(order)),
        "checkpoints": str(process.checkpoints(order)),
        "resume": kept.get("resume"),
        "progress": str(order.folder / "progress.json"),
        "gguf": order.served if order.served_by == "llama_cpp" else None,
    }


def _result(order: TrainingOrder, told: Mapping[str, Any]) -> JobStatus:
    """Take over what was written; a look that was cut short goes on here."""
    grown, output = process.partial(order), order.output
    if grown.exists() and not output.exists():
        grown.replace(output)
    try:
        versions = json.loads((output / "versions.json").read_text("utf-8"))
    except (OSError, ValueError):
        return JobStatus(
            status="failed", error=f"the training ended well, and {output} is not whole"
        )
    gguf = output / "model.gguf"
    made = TrainingResult(
        weights=str(output / "weights"),
        gguf=str(gguf) if gguf.exists() else None,
        versions=versions,
    )
    return JobStatus(status="succeeded", progress=told, made=made)


TRAINER: Trainer = LocalTrainer()
