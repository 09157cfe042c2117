"""Trains by a program of one's own, which is told where the data is and where the result goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmconf.errors import TrainError
from lmconf.system.paths import with_home
from lmconf.trainers import process
from lmconf.trainers.trainer_protocol import (
    FORMATS,
    ApiAccess,
    Format,
    JobStatus,
    Trainer,
    TrainingOrder,
    TrainingResult,
)

__all__ = ["TRAINER", "CommandTrainer"]

PLACES = ("{data}", "{model}", "{output}", "{checkpoints}")


class CommandTrainer:
    """Runs `command`, with `{data}`, `{model}`, `{output}` and `{checkpoints}` in its words filled in.

    It trains well when it ends with status 0 and leaves in `{output}` a folder of weights
    (`config.json`), one GGUF file, or `result.json` with `{"model": …}` or `{"weights": …}`. What
    it leaves in `{checkpoints}` is there until it has trained well: it may be run again.
    """

    formats: tuple[Format, ...] = FORMATS
    least_rows = 1

    def fault(self, format: Format, row: Mapping[str, Any]) -> str:
        """Say nothing: what the command can learn from is its own affair."""
        return ""

    def check(self, order: TrainingOrder) -> None:
        """See that there is a command, and that it names the output.

        Raises:
            TrainError: there is none, or the environment cannot be had.
        """
        if not order.spec.command:
            raise TrainError("`use: command` needs the command: state `train_kwargs.command`")
        process.environment(order)

    def advance(
        self,
        order: TrainingOrder,
        state: Mapping[str, str],
        keep: Callable[[Mapping[str, str]], None],
        reach: Callable[[], ApiAccess],
    ) -> JobStatus:
        """Start the command, or look how it is doing."""
        if "started" not in state:
            cwd = state.get("cwd") or str(Path.cwd())
            keep({**state, "started": "yes", "cwd": cwd})
            (order.folder / "progress.json").unlink(missing_ok=True)
            env, hidden = process.environment(order)
            program = process.Program(
                argv=_fill_placeholders(order), env=env, hidden=hidden, cwd=Path(cwd)
            )
            return process.start_program(order, program, state.get("said", ""))
        exit_ = process.check_program(order)
        if exit_ is None:
            return JobStatus(status="running", progress=process.progress(order))
        if exit_.well:
            return _result(order)
        again = f"`lmconf jobs resume {order.id[-6:]}` runs the command again" if exit_.cut else ""
        return process.failure(order, exit_, again)

    def resume(self, order: TrainingOrder, state: Mapping[str, str]) -> Mapping[str, str]:
        """Run the command again, in the folder that it was run in.

        Raises:
            TrainError: the folder is gone, or the environment cannot be had.
        """
        self.check(order)
        cwd = state.get("cwd", "")
        if cwd and not Path(cwd).is_dir():
            raise TrainError(f"the folder that the command was run in is not there: {cwd}")
        return {"cwd": cwd, "said": "run again"}

    def cancel(
        self, order: TrainingOrder, state: Mapping[str, str], reach: Callable[[], ApiAccess]
    ) -> JobStatus:
        """End the command and everything it started."""
        process.end_program(order)
        return JobStatus(status="cancelled")


def _fill_placeholders(order: TrainingOrder) -> tuple[str, ...]:
    values = {
        "{data}": str(order.data),
        "{model}": order.spec.weights or order.model,
        "{output}": str(process.partial(order)),
        "{checkpoints}": str(process.checkpoints(order)),
    }
    words = []
    for word in order.spec.command or ():
        text = word
        for place in PLACES:
            text = text.replace(place, values[place])
        words.append(text)
    return (str(with_home(words[0])), *words[1:])


def _result(order: TrainingOrder) -> JobStatus:
    """Take over what the command left; a look that was cut short goes on here."""
    grown, output = process.partial(order), order.output
    if grown.exists() and not output.exists():
        grown.replace(output)
    data: object = None
    try:
        data = json.loads((output / "result.json").read_text("utf-8"))
    except FileNotFoundError:
        data = {}
    except (OSError, ValueError):
        return JobStatus(status="failed", error=f"{output / 'result.json'} cannot be read as JSON")
    data = data if isinstance(data, dict) else {}
    ggufs = sorted(output.glob("*.gguf"))
    if isinstance(data.get("model"), str):
        result = TrainingResult(model=data["model"])
    elif isinstance(data.get("weights"), str):
        weights = output / data["weights"]
        if not weights.exists():
            error = f"result.json names weights that are not there: {weights}"
            return JobStatus(status="failed", error=error)
        result = TrainingResult(weights=str(weights))
    elif len(ggufs) == 1:
        weights = str(output) if (output / "config.json").exists() else None
        result = TrainingResult(gguf=str(ggufs[0]), weights=weights)
    elif (output / "config.json").exists():
        result = TrainingResult(weights=str(output))
    else:
        return JobStatus(
            status="failed",
            error="the command succeeded but left no weights in {output}: a folder with"
            " config.json, one *.gguf, or result.json",
        )
    return JobStatus(status="succeeded", progress=process.progress(order), result=result)


TRAINER: Trainer = CommandTrainer()
