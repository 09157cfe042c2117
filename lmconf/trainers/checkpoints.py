"""Checkpoints of a training on this machine: the last whole one is kept, and known by its mark.

The worker, which runs apart from lmconf, loads this file by its path: nothing of lmconf is imported.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

__all__ = ["keeper", "newest", "sweep"]

MARK = "whole.json"
"""Written into a checkpoint once all else of it is on the disk."""
SHARE = 10.0
"""So many times as long as a checkpoint took is trained before the next one."""


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the last whole checkpoint in `folder` and what its mark says, if there is one."""
    marks = []
    for path in folder.glob("checkpoint-*"):
        mark = _mark(path)
        if mark is not None:
            marks.append((mark["step"], path, mark))
    if not marks:
        return None
    _, path, mark = max(marks, key=lambda each: each[0])
    return path, mark


def _mark(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads((path / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("step"), int) else None


def sweep(folder: Path, keep: Path | None) -> None:
    """Remove every checkpoint in `folder` but `keep`, the half-written ones, too."""
    for path in folder.glob("checkpoint-*"):
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


def keeper(every: float, facts: dict[str, Any]) -> Any:
    """Return a callback for transformers' trainer that keeps a checkpoint each `every` seconds.

    `facts` is said in the mark beside the step. At most a tenth of the time is spent on it.
    """
    import transformers

    class Keeper(transformers.TrainerCallback):  # type: ignore[misc]
        last = begun = time.monotonic()
        cost = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
            self.begun = time.monotonic()
            due = self.begun - self.last >= max(every, SHARE * self.cost)
            if due and state.global_step < state.max_steps:
                control.should_save = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            folder = Path(args.output_dir)
            path = folder / f"checkpoint-{state.global_step}"
            _seal(path, {**facts, "step": state.global_step, "steps": state.max_steps})
            sweep(folder, path)
            self.last = time.monotonic()
            self.cost = self.last - self.begun

    return Keeper()


def _seal(path: Path, mark: dict[str, Any]) -> None:
    """Mark a checkpoint as whole, once it would outlive a machine that stops at once."""
    for file in path.rglob("*"):
        if file.is_file():
            _to_disk(file)
    beside = path / f".{MARK}"
    beside.write_text(json.dumps(mark), "utf-8")
    _to_disk(beside)
    beside.replace(path / MARK)
    for folder in (path, path.parent):
        _to_disk(folder)


def _to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
