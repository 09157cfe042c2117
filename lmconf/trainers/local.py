"""Trains weights on this machine with TRL (and PEFT, for LoRA), in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmconf.errors import TrainError
from lmconf.spec.declaring import fields
from lmconf.trainers import supervising
from lmconf.trainers.contract import FORMATS, Access, Format, Look, Made, Order, Trainer

__all__ = ["TRAINER", "LocalTrainer"]

PACKAGES = ("torch", "transformers", "trl")
SETTINGS = ("n_epochs batch_size seed beta learning_rate max_steps max_length device dtype").split()


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

    def check(self, order: Order) -> None:
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
                f"training on this machine needs {', '.join(missing)}: pip install 'lmconf[train]'"
            )
        supervising.environment(order)
        weights = _weights(order)
        if gguf:
            self._check_export(order, weights)

    @staticmethod
    def _check_export(order: Order, weights: str) -> None:
        """See that a GGUF can be made afterwards: better said now than after hours."""
        if not order.served or not Path(order.served).expanduser().is_file():
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
        order: Order,
        kept: Mapping[str, str],
        keep: Callable[[Mapping[str, str]], None],
        reach: Callable[[], Access],
    ) -> Look:
        """Start the training, or look how it is doing."""
        if "started" not in kept:
            keep({"started": "yes"})
            env, hidden = supervising.environment(order)
            env.setdefault("TOKENIZERS_PARALLELISM", "false")
            worker = Path(__file__).with_name("local_worker.py")
            program = supervising.Program(
                argv=(sys.executable, "-I", str(worker)),
                env=env,
                hidden=hidden,
                input=json.dumps(_settings(order)) + "\n",
                cwd=order.folder,
            )
            supervising.start(order, program)
            return Look(status="running")
        ended = supervising.look(order)
        told = supervising.progress(order)
        if ended is None:
            return Look(status="running", progress=told)
        return supervising.failure(order, ended) or _result(order, told)

    def cancel(self, order: Order, kept: Mapping[str, str], reach: Callable[[], Access]) -> None:
        """End the training; what it wrote so far is removed."""
        supervising.end(order)


def _weights(order: Order) -> str:
    """Return the folder, or the name of the model, that is trained.

    Raises:
        TrainError: nothing names it, or it is no folder of weights.
    """
    stated = order.spec.weights or _folder(order.served)
    stated = stated or order.model
    path = Path(stated).expanduser()
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
    return served if served and Path(served).expanduser().is_dir() else None


def _settings(order: Order) -> dict[str, Any]:
    spec = order.spec
    said = {name: getattr(spec, name) for name in SETTINGS}
    lora = spec.lora
    return {
        **{name: value for name, value in said.items() if value is not None},
        "lora": lora and {name: getattr(lora, name) for name in fields(type(lora))},
        "weights": _weights(order),
        "format": order.format,
        "data": str(order.data),
        "validation": str(order.validation) if order.validation else None,
        "partial": str(supervising.partial(order)),
        "progress": str(order.folder / "progress.json"),
        "gguf": order.served if order.served_by == "llama_cpp" else None,
        "exporter": str(Path(__file__).with_name("gguf_export.py")),
    }


def _result(order: Order, told: Mapping[str, Any]) -> Look:
    """Take over what was written; a look that was cut short goes on here."""
    grown, output = supervising.partial(order), order.output
    if grown.exists() and not output.exists():
        grown.replace(output)
    try:
        versions = json.loads((output / "versions.json").read_text("utf-8"))
    except (OSError, ValueError):
        return Look(status="failed", error=f"the training ended well, and {output} is not whole")
    gguf = output / "model.gguf"
    made = Made(
        weights=str(output / "weights"),
        gguf=str(gguf) if gguf.exists() else None,
        versions=versions,
    )
    return Look(status="succeeded", progress=told, made=made)


TRAINER: Trainer = LocalTrainer()
