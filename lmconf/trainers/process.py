"""Trainings in processes of this machine: started apart from their owner, watched by locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lmconf.errors import TrainError
from lmconf.secrets.redaction import known_spellings, mask_key_shapes
from lmconf.secrets.references import (
    Env,
    File,
    Given,
    Masked,
    MissingReference,
    Public,
    resolve_parts,
)
from lmconf.system.durations import format_duration
from lmconf.system.paths import is_locked
from lmconf.system.supervisor import supervisor_argv
from lmconf.trainers.jobs import JobFolder
from lmconf.trainers.trainer_protocol import JobStatus, TrainingOrder

if TYPE_CHECKING:
    from lmconf.system.supervisor import Order

__all__ = [
    "PASSED_ON",
    "Program",
    "ProgramExit",
    "check_program",
    "checkpoints",
    "end_program",
    "environment",
    "failure",
    "partial",
    "progress",
    "start_program",
]

PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
)
"""What a training sees of its owner's environment; `env` in the profile adds to it."""

GRACE = 5.0
LOG_SIZE = 16 * 2**20
STARTING = 30.0
LAST_LINES = 12
ENDED = 4096
"""The room that is kept for what is written down at the end, in bytes."""


class Program(Masked, Struct, frozen=True, eq=False, kw_only=True):
    """What is run; `hidden` are the secret values in `env`, `input` is what it is told."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    hidden: tuple[str, ...] = ()
    input: str = ""
    cwd: Path

    def __repr__(self) -> str:
        return "Program(…)"


class ProgramExit(Struct, frozen=True):
    """How a program ended: its exit status, or a sentence about why there is none.

    `tail` is what it said last; `cut` means that it was not its own doing.
    """

    code: int = 0
    why: str = ""
    error: str = ""
    tail: str = ""

    @property
    def well(self) -> bool:
        """Whether it did what it was to do."""
        return not (self.why or self.error or self.code)

    @property
    def cut(self) -> bool:
        """Whether it was killed or interrupted, and not asked to end by who began it."""
        return self.why == "interrupted" or (not self.why and self.code < 0)


def environment(order: TrainingOrder) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the training's environment, and the values in it that are secret.

    Raises:
        TrainError: a reference in `train_kwargs.env` leads nowhere.
    """
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    hidden: list[str] = []
    for name, value in order.spec.env.items():
        env[name] = _resolve_value(name, value, order.code_values, hidden)
    return env, tuple(hidden)


def _resolve_value(
    name: str, value: object, code_values: Mapping[str, str], hidden: list[str]
) -> str:
    """Return the text of a literal or a reference; that of a reference is added to `hidden`."""
    reason = ""
    parts = ("", "")
    match value:
        case Public(value=public):
            return "" if public is None else str(public)
        case Given(name=key) if key in code_values:
            parts = (code_values[key], code_values[key])
        case Given(name=key):
            reason = f"`{key}` was passed by code, and a job does not store it"
        case Env() | File():
            try:
                parts = resolve_parts(value)
            except MissingReference as missing:
                reason = str(missing)
        case _:
            return str(value)
    if reason:
        raise TrainError(f"{reason} (needed for `train_kwargs.env.{name}`)")
    hidden += [part for part in dict.fromkeys(parts) if part]
    return parts[0]


def partial(order: TrainingOrder) -> Path:
    """Return where the output grows; it is moved to `order.output` when it is whole."""
    return order.folder / "output.partial"


def checkpoints(order: TrainingOrder) -> Path:
    """Return the folder of what a training that is cut off can go on from; a good end removes it."""
    return order.folder / "checkpoints"


def start_program(order: TrainingOrder, program: Program, note: str = "") -> JobStatus:
    """Have `program` run apart from this process; `note` goes before what it says in the log.

    What cannot be started has failed.

    Raises:
        TrainError: what was started before still runs.
    """
    if not sys.executable:
        raise TrainError("a training needs a Python interpreter to watch it, and there is none")
    problem = ""
    try:
        with _watch(order) as watch:
            _prepare(order)
            problem = _start_supervisor(order, program, watch, note)
    except subprocess.TimeoutExpired:
        problem = "its supervisor did not start in time"
    except BlockingIOError:
        raise TrainError(f"the training of the job {order.id} runs already") from None
    except OSError as error:
        problem = (error.strerror or type(error).__name__).lower()
    if problem:
        shutil.rmtree(partial(order), ignore_errors=True)
        return JobStatus(status="failed", error=f"the training cannot be started: {problem}")
    return JobStatus(status="running")


@contextlib.contextmanager
def _watch(order: TrainingOrder) -> Iterator[int]:
    """Hold the lock that the supervisor takes over: at no time is it free between the two."""
    fd = os.open(order.folder / "watch", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)


def _prepare(order: TrainingOrder) -> None:
    for folder in (partial(order), checkpoints(order)):
        folder.mkdir(mode=0o700, exist_ok=True)
    # What tells of the process of before: its id may be another's by now.
    for name in ("ended.json", "pid"):
        (order.folder / name).unlink(missing_ok=True)
    fd = os.open(order.folder / ".ended", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as room:
        room.write(b" " * ENDED)


def _start_supervisor(order: TrainingOrder, program: Program, watch: int, note: str) -> str:
    """Start the supervisor, and return what is wrong if it cannot be."""
    supervision: Order = {
        "argv": list(program.argv),
        "env": dict(program.env),
        "cwd": str(program.cwd),
        "input": program.input,
        "keep_stdin": bool(program.input),
        "log": str(order.log),
        "log_size": LOG_SIZE,
        "log_rotates": False,
        "hidden": sorted(known_spellings(program.hidden)),
        "pid_file": str(order.folder / "pid"),
        "lock": None,
        "child_lock": str(order.folder / "running"),
        "grace": GRACE,
        "owner": None,
        "timeout": order.spec.timeout,
        "cancel": str(order.folder / "cancel"),
        "exit_file": str(order.folder / ".ended"),
        "report": str(order.folder / "ended.json"),
        "remove_on_success": [str(checkpoints(order))],
        "remove_on_failure": [str(partial(order))],
    }
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(order.log, flags, 0o600), "ab") as log:
        if note:
            log.write(f"{note}\n".encode())
            log.flush()
        child = subprocess.run(
            supervisor_argv(),
            input=json.dumps(supervision).encode() + b"\n",
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=order.folder,
            start_new_session=True,
            pass_fds=(watch,),
            timeout=STARTING,
            check=False,
        )
    return f"its supervisor ended with status {child.returncode}" if child.returncode else ""


def check_program(order: TrainingOrder) -> ProgramExit | None:
    """Say how the training ended; None while it runs.

    Where its supervisor was killed, what is left of the training is ended, too.
    """
    if is_locked(order.folder / "watch"):
        return None
    # It was held from the start on: what there is to read was written before it was let go.
    exit_ = _read_exit(order)
    if exit_ is not None:
        return exit_
    _kill_rest(order)
    shutil.rmtree(partial(order), ignore_errors=True)
    return ProgramExit(
        why="interrupted",
        error="the process of the training was killed (or the machine restarted)",
        tail=JobFolder(order.folder).log_text(4096),
    )


def end_program(order: TrainingOrder) -> None:
    """End the training, and wait until nothing of it runs.

    Raises:
        TrainError: it does not end.
    """
    until = time.monotonic() + GRACE + 10
    (order.folder / "cancel").touch(mode=0o600)
    while is_locked(order.folder / "watch"):
        if time.monotonic() > until:
            _kill_rest(order)
            raise TrainError(f"the training of the job {order.id} does not end")
        time.sleep(0.02)
    _kill_rest(order)
    for folder in (partial(order), checkpoints(order), order.output):
        shutil.rmtree(folder, ignore_errors=True)


def failure(order: TrainingOrder, exit_: ProgramExit, next_step: str = "") -> JobStatus:
    """Return what to tell of a training that ended otherwise than well, and what to do next."""
    if exit_.why == "cancelled":
        return JobStatus(status="cancelled")
    reason = exit_.error
    if exit_.why == "timeout":
        reason = f"it took longer than its `timeout` of {format_duration(order.spec.timeout or 0)}, and was ended"
    elif not reason and exit_.why == "interrupted":
        reason = "the training was stopped, for example by a shutdown of the machine"
    elif not reason:
        how = f"by signal {-exit_.code}" if exit_.code < 0 else f"with status {exit_.code}"
        reason = f"the training ended {how}"
    tail = "\n".join(mask_key_shapes(exit_.tail).strip().splitlines()[-LAST_LINES:])
    parts = [reason, f"log {order.log}:\n{tail}" if tail else "", next_step]
    return JobStatus(
        status="failed",
        progress=progress(order),
        error="\n".join(part for part in parts if part),
    )


def progress(order: TrainingOrder) -> dict[str, Any]:
    """Return what the training tells of its progress, if anything."""
    try:
        data = json.loads((order.folder / "progress.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _read_exit(order: TrainingOrder) -> ProgramExit | None:
    try:
        data = json.loads((order.folder / "ended.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    code, texts = data.get("code") or 0, [str(data.get(n, "")) for n in ("why", "error", "tail")]
    return ProgramExit(int(code), *texts)


def _kill_rest(order: TrainingOrder) -> None:
    """End the training's process group if its lock says that something of it runs."""
    if not is_locked(order.folder / "running"):
        return
    try:
        os.killpg(int((order.folder / "pid").read_text("ascii")), signal.SIGKILL)
    except (OSError, ValueError):
        return
    for _ in range(500):
        if not is_locked(order.folder / "running"):
            return
        time.sleep(0.01)
