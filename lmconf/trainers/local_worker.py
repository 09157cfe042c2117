"""Fine-tunes weights with TRL: a program that reads its settings as one JSON line.

It runs apart from lmconf, with nothing but what the extra `train` installs. Its standard input
stays open as long as its supervisor lives: at its end, it ends.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def main() -> int:
    """Train, and leave weights, GGUF and versions in the folder that the settings name."""
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    # What its owner can import is what it was checked for.
    sys.path[:] = settings["path"]
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    partial = Path(settings["partial"])
    weights = partial / "weights"
    model, tokenizer = train(settings, read_rows(settings["data"]))
    _say("saving the weights")
    model.save_pretrained(weights)
    tokenizer.save_pretrained(weights)
    if settings["gguf"]:
        _say("writing them as GGUF")
        _beside("gguf_export").export(
            weights, Path(settings["gguf"]).expanduser(), partial / "model.gguf"
        )
    # Written last: it says that the rest is whole.
    (partial / "versions.json").write_text(json.dumps(_versions(settings)), "utf-8")
    return 0


def _end_with_the_supervisor() -> None:
    # Not through `sys.stdin`, whose lock the end of the interpreter waits for.
    while os.read(0, 4096):
        pass
    os._exit(1)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def read_rows(path: str) -> list[Row]:
    """Return the rows of a JSONL file; its lines end with a newline and with nothing else."""
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


def train(settings: dict[str, Any], rows: list[Row]) -> tuple[Any, Any]:
    """Return the trained model, adapters merged, and its tokenizer."""
    checkpoints = _beside("checkpoints")
    checkpoint = settings["resume"] and Path(settings["resume"])
    checkpoints.sweep(Path(settings["checkpoints"]), checkpoint)
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.set_seed(settings.get("seed", 0))
    device = _device(settings.get("device", "auto"), torch)
    dtype = getattr(torch, settings.get("dtype", "float32"))
    _say(f"loading {settings['weights']} ({dtype}, {device})")
    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["weights"])
    model = transformers.AutoModelForCausalLM.from_pretrained(settings["weights"], dtype=dtype)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    preferences = settings["format"] == "preference"
    parts = (
        _preference_trainer(settings, rows) if preferences else _supervised_trainer(settings, rows)
    )
    kind, config, rate, own, train_set, eval_set = parts
    trainer = kind(
        model=model,
        args=config(**_arguments(settings, device, rate), **own),
        train_dataset=train_set,
        eval_dataset=eval_set,
        processing_class=tokenizer,
        peft_config=_adapters(settings),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(_progress_callback(settings["progress"]))
    facts = {"versions": _versions(settings), "base": settings["base"]}
    trainer.add_callback(checkpoints.keeper(settings.get("checkpoint_every", 300.0), facts))
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    result = trainer.model
    if not all(bool(torch.isfinite(weight).all()) for weight in result.parameters()):
        sys.exit("the training diverged: weights are infinite or no numbers; lower learning_rate")
    if settings["lora"]:
        _say("merging what was added into the weights")
        result = result.merge_and_unload()
    return result, tokenizer


def _device(device: str, torch: Any) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _arguments(settings: dict[str, Any], device: str, default_rate: float) -> Row:
    steps = settings.get("max_steps")
    arguments: Row = {
        "output_dir": settings["checkpoints"],
        "per_device_train_batch_size": settings.get("batch_size", 8),
        "num_train_epochs": settings.get("n_epochs", 3),
        "learning_rate": settings.get("learning_rate", default_rate),
        "seed": settings.get("seed", 0),
        "max_length": settings.get("max_length", 1024),
        "use_cpu": device == "cpu",
        "bf16": False,  # the weights are loaded as the numbers that are asked for
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",  # when it is time: see `checkpoints`
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": device == "cuda",
    }
    if steps is not None:
        arguments["max_steps"] = steps
    if settings["validation"] is not None:
        arguments |= {"eval_strategy": "epoch" if steps is None else "steps"}
        arguments |= {"eval_steps": max(steps // 4, 1)} if steps is not None else {}
    return arguments


def _supervised_trainer(settings: dict[str, Any], rows: list[Row]) -> tuple[Any, ...]:
    """Return TRL's trainer, its configuration, the usual rate, more arguments, and the data."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rate = 2e-4 if settings["lora"] else 2e-5
    data = Dataset.from_list(_turns(rows))
    return SFTTrainer, SFTConfig, rate, {}, data, _evaluation_arguments(settings, _turns)


def _preference_trainer(settings: dict[str, Any], rows: list[Row]) -> tuple[Any, ...]:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rate = 1e-4 if settings["lora"] else 1e-6
    own = {"beta": settings.get("beta", 0.1)}
    data = Dataset.from_list(_preferences(rows))
    return DPOTrainer, DPOConfig, rate, own, data, _evaluation_arguments(settings, _preferences)


def _evaluation_arguments(settings: dict[str, Any], shape: Any) -> Any:
    from datasets import Dataset

    path = settings["validation"]
    return None if path is None else Dataset.from_list(shape(read_rows(path)))


def _adapters(settings: dict[str, Any]) -> Any:
    if not settings["lora"]:
        return None
    from peft import LoraConfig

    lora = settings["lora"]
    modules = list(lora["target_modules"])
    return LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules="all-linear" if modules == ["all-linear"] else modules,
        task_type="CAUSAL_LM",
    )


def _turns(rows: list[Row]) -> list[Row]:
    """Return one sample for each thing that the assistant says: what was before it, and it."""
    samples = []
    for row in rows:
        if "messages" not in row:
            samples.append({"prompt": row["prompt"], "completion": row["completion"]})
            continue
        turns = [_plain(message) for message in row["messages"]]
        for index, message in enumerate(row["messages"]):
            if message["role"] == "assistant" and message.get("weight", 1):
                samples.append({"prompt": turns[:index], "completion": [turns[index]]})
    return samples


def _preferences(rows: list[Row]) -> list[Row]:
    return [
        {
            "prompt": [_plain(message) for message in row["input"]["messages"]],
            "chosen": [_plain(message) for message in row["preferred_output"]],
            "rejected": [_plain(message) for message in row["non_preferred_output"]],
        }
        for row in rows
    ]


def _plain(message: Row) -> dict[str, str]:
    return {"role": message["role"], "content": message["content"]}


def _progress_callback(path: str) -> Any:
    """Return a callback that keeps the file at `path` up to date."""
    import transformers

    began = time.monotonic()

    class ProgressCallback(transformers.TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.first: float | None = None
            self.told: Row = {}

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            # What a training that goes on had learned before.
            losses = [float(each["loss"]) for each in state.log_history if "loss" in each]
            self.first = losses[0] if losses else None

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Row | None = None, **rest: Any
        ) -> None:
            eval_loss = (logs or {}).get("eval_loss")
            if eval_loss is not None:
                self._tell({"validation_loss": float(eval_loss)})
                _say(f"step {state.global_step}: loss {eval_loss:.4f} on the validation data")
            loss = (logs or {}).get("loss")
            if loss is None:
                return
            self.first = float(loss) if self.first is None else self.first
            self._tell(
                {
                    "step": state.global_step,
                    "steps": state.max_steps,
                    "epoch": round(float(state.epoch or 0), 3),
                    "loss": float(loss),
                    "first_loss": self.first,
                    "seconds": round(time.monotonic() - began, 2),
                }
            )
            _say(f"step {state.global_step} of {state.max_steps}: loss {loss:.4f}")

        def _tell(self, more: Row) -> None:
            self.told = {**self.told, **more}
            beside = Path(f"{path}.new")
            beside.write_text(json.dumps(self.told), "utf-8")
            beside.replace(path)

    return ProgressCallback()


def _beside(name: str) -> Any:
    """Return the module in the file `name` beside this one, which is no part of a package here."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _versions(settings: dict[str, Any]) -> dict[str, str]:
    names = ["torch", "transformers", "trl", *(["peft"] if settings["lora"] else [])]
    return {name: importlib.metadata.version(name) for name in names}


if __name__ == "__main__":
    sys.exit(main())
