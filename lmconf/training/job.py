"""`TrainingJob`: a fine-tuning under way, which any process can look after, and what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lmconf import trainers
from lmconf.errors import CallError, Error, TrainError
from lmconf.runtime import LM
from lmconf.spec import build
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.rules.training import trainer_of
from lmconf.spec.state import dump_lm
from lmconf.system.tracebacks import hide_frames, strip_frames
from lmconf.trainers import jobs, training_data
from lmconf.trainers.http import TrainerUnreachable
from lmconf.trainers.jobs import JobFolder, JobRecord
from lmconf.trainers.specs import TRAIN
from lmconf.trainers.trainer_protocol import FINAL, ApiAccess, JobStatus, Status, TrainingOrder
from lmconf.training.order import access_of, order_of
from lmconf.training.result import make_trained_lm

if TYPE_CHECKING:
    from lmconf.trainers.trainer_protocol import Trainer

__all__ = ["TrainingJob", "job", "start_job"]

POLL = 10.0
"""Seconds between two questions to a provider, unless `train_kwargs.poll` says otherwise."""
LOOK = 0.2
"""Seconds between two looks at a training on this machine."""


class TrainingJob:
    """A fine-tuning that was begun: by this process, or by another one.

        job = lm.finetune("train.jsonl", "chat")
        trained = job.result()               # an LM, ready to be called

    It goes on when this process ends; `lmconf jobs`, or `lmconf.job(id)`, find it again. Several
    threads and processes may look after one job at once.
    """

    def __init__(self, folder: JobFolder, compiled: CompiledLM | None = None) -> None:
        record = folder.read()
        self._folder = folder
        self._compiled = compiled or build.make_from_stated(record.state, name=record.lm)
        self._trainer = trainers.trainer(record.kind)
        self._record = record
        self._trouble: Error | None = None
        self._asked = 0.0

    def __repr__(self) -> str:
        return f"<TrainingJob {self.id}: {self._record.status}>"

    @property
    def id(self) -> str:
        """The job's name, which `lmconf jobs` lists."""
        return self._folder.id

    @property
    def folder(self) -> Path:
        """The job's private folder: its record, data, log and output."""
        return self._folder.path

    @property
    def record(self) -> JobRecord:
        """What is known of the job, as it was at the last look."""
        return self._record

    @property
    def progress(self) -> Mapping[str, Any]:
        """How far it is, as its trainer tells: `step`, `loss`, `trained_tokens` and the like."""
        return dict(self._record.progress)

    @hide_frames
    def log(self) -> str:
        """Return the end of the job's log."""
        return self._folder.log_text()

    @property
    def trouble(self) -> Error | None:
        """Why the last look could not tell how it is doing; None where it could."""
        return self._trouble

    @hide_frames
    def wait_until_begun(self) -> None:
        """Return once the training is under way, or has ended at once."""
        while not self.done() and self._record.status == "queued":
            if self._trouble is not None and not isinstance(self._trouble, TrainerUnreachable):
                raise strip_frames(self._trouble)
            time.sleep(LOOK)

    @hide_frames
    def status(self) -> Status:
        """Say how the job is doing now: `queued`, `running`, `succeeded`, `failed`, `cancelled`.

        Raises:
            TrainError: that cannot be told now; the job itself goes on.
        """
        self._look(again=True)
        if self._trouble is not None and self._record.status not in FINAL:
            raise strip_frames(self._trouble)
        return self._record.status

    @hide_frames
    def done(self) -> bool:
        """Say whether it succeeded, failed or was cancelled."""
        self._look()
        return self._record.status in FINAL

    @hide_frames
    def cancel(self) -> bool:
        """End the job; False where it had ended before.

        Raises:
            TrainError: it cannot be ended now.
        """
        if self.done():
            return False
        self._folder.ask_to_cancel()
        while not self.done():
            if self._trouble is not None:
                raise strip_frames(self._trouble)
            time.sleep(0.05)
        return self._record.status == "cancelled"

    @hide_frames
    def resume(self) -> None:
        """Go on with a training that failed: after its last checkpoint, where one was kept.

        It is for what was cut off by a restart of the machine, a kill or a full disk, and is never
        done unasked. The data, the arguments, the weights and the libraries' versions must be those
        that it was begun with.

        Raises:
            TrainError: it did not fail, or cannot go on; the message says why. It stays as it was.
        """
        self.done()  # what was killed unseen is told to have failed now
        with self._folder.turn(wait=True):
            self._record = record = self._folder.read()
            if record.status != "failed":
                raise TrainError(
                    f"there is nothing to resume: the training {self.id} {_is(record)}"
                )
            self._folder.see_that_data_is(record.digest)
            kept = self._trainer.resume(self._order(), record.kept)
            self._folder.forget_to_cancel()
            # From here on it is a job that waits to be begun: any process would do it.
            self._keep(status="queued", error="", ended=None, kept=dict(kept))
            self._advance(to_end=False)
        if self._trouble is not None:
            raise strip_frames(self._trouble)

    @hide_frames
    def wait(self, timeout: float | None = None) -> Status:
        """Return once the job has ended; how, is what is returned.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds. It goes on.
            TrainError: nobody can tell how it is doing: a key that is refused, for instance.
        """
        until = None if timeout is None else time.monotonic() + timeout
        pause = LOOK
        while not self.done():
            if self._trouble is not None and not isinstance(self._trouble, TrainerUnreachable):
                raise strip_frames(self._trouble)
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"the job {self.id} is still {self._record.status}")
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 1.3, 2.0)
        return self._record.status

    @hide_frames
    def result(self, timeout: float | None = None) -> LM:
        """Return the trained LM, once the job has succeeded.

        Raises:
            TrainError: the job failed or was cancelled; the message says why.
            TimeoutError: it has not ended within `timeout` seconds. It goes on.
        """
        status = self.wait(timeout)
        if status == "failed":
            raise TrainError(f"the training {self.id} failed: {self._record.error}")
        if status == "cancelled":
            raise TrainError(f"the training {self.id} was cancelled")
        return LM.of(make_trained_lm(self._compiled, self._record))

    @hide_frames
    def exception(self, timeout: float | None = None) -> TrainError | None:
        """Return what `result` would raise of a job that has ended; None where it succeeded.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
        """
        try:
            self.result(timeout)
        except TrainError as error:
            return strip_frames(error)
        return None

    @hide_frames
    def save_as(self, profile: str, name: str) -> None:
        """Note where the trained LM is to be declared: `lmconf jobs wait` does it.

        Raises:
            TrainError: that cannot be written down.
        """
        with self._folder.turn(wait=True):
            self._keep(save=(profile, name), saved=False)

    @hide_frames
    def note_saved(self) -> None:
        """Note that the trained LM was declared."""
        with self._folder.turn(wait=True):
            self._keep(saved=True)

    def _look(self, *, again: bool = False) -> None:
        """Move the job on by one step, unless someone else does, and read how it is doing."""
        self._record = self._folder.read()
        if self._record.status in FINAL:
            return
        poll = self._order().spec.poll or (POLL if self._record.kind == "openai" else 0.0)
        now = time.monotonic()
        to_end = self._folder.is_to_end
        if not (again or to_end) and self._asked and now - self._asked < poll:
            return
        # Whoever has the turn may be sending a large file: nobody waits for that here.
        with self._folder.turn() as mine:
            if mine:
                self._asked = now
                self._record = self._folder.read()
                if self._record.status not in FINAL:
                    self._advance(to_end)

    def _advance(self, to_end: bool) -> None:
        trouble: Error | None = None
        order, kept = self._order(), self._record.kept
        try:
            if to_end:
                self._take(self._trainer.cancel(order, kept, self._reach))
                return
            self._take(self._trainer.advance(order, kept, self._keep_kept, self._reach))
        except Error as error:
            trouble = strip_frames(error)
            if isinstance(error, CallError):
                told = str(error).removeprefix(f"{self._record.lm}: ")
                trouble = TrainError(f"{self._record.lm} cannot be reached: {told}")
            if not self._folder.read().kept and not isinstance(error, TrainerUnreachable):
                # Nothing was begun, and nothing will be by trying again.
                self._take(JobStatus(status="failed", error=str(trouble)))
        finally:
            self._trouble = trouble

    def _take(self, look: JobStatus) -> None:
        progress = dict(look.progress) or self._record.progress
        changes: dict[str, Any] = {"status": look.status, "progress": progress}
        if look.status in FINAL:
            changes |= {"error": look.error, "made": look.made, "ended": time.time()}
        if any(getattr(self._record, name) != value for name, value in changes.items()):
            self._keep(**changes)

    def _keep_kept(self, kept: Mapping[str, str]) -> None:
        self._keep(kept=dict(kept))

    def _keep(self, **changes: Any) -> None:
        current = self._folder.read()
        record = msgspec.structs.replace(current, **changes, updated=time.time())
        self._folder.write(record)
        self._record = record

    def _order(self) -> TrainingOrder:
        return order_of(self._compiled, self._folder.path, self._record.format, self._record.rows)

    def _reach(self) -> ApiAccess:
        return access_of(self._compiled)


def start_job(
    compiled: CompiledLM,
    data: training_data.TrainData,
    format: str | None,
    train_kwargs: Mapping[str, Any] | None,
) -> TrainingJob:
    """Return the job that trains the LM `compiled` on `data`; the training is under way.

    Raises:
        TrainError: the data is not right, or nothing can be begun; nothing is left then.
        ProfileError: `train_kwargs` do not fit.
        NotCarriedOut: this version has no such trainer.
    """
    if train_kwargs:
        compiled = build.change_lm(compiled, {"train_kwargs": train_kwargs})
    spec = compiled.spec
    if spec.pool:
        raise TrainError(f"{compiled.name} is a pool of LMs: train one of them")
    kind = trainer_of(
        {
            "model": spec.model,
            "finetuning_model": spec.finetuning_model,
            "provider": spec.provider,
            "launch_kwargs": spec.launch_kwargs,
            "train_kwargs": {} if spec.train_kwargs is None else TRAIN.write(spec.train_kwargs),
        }
    )
    if kind is None:
        raise TrainError(
            f"nothing says by what {compiled.name} is trained: add `train_kwargs: {{use: …}}`"
        )
    chosen: Trainer = trainers.trainer(kind)
    shaped, rows = training_data.check_training_data(
        data, format, chosen.formats, chosen.least_rows, chosen.fault
    )
    validation: list[Mapping[str, Any]] = []
    if spec.train_kwargs is not None and spec.train_kwargs.validation_data is not None:
        measured = spec.train_kwargs.validation_data
        validation = training_data.check_training_data(
            measured, shaped, chosen.formats, 1, chosen.fault
        )[1]
    chosen.check(order_of(compiled, Path("unnamed"), shaped, len(rows)))
    record = JobRecord(
        id="",
        kind=kind,
        lm=compiled.name,
        model=spec.finetuning_model or spec.model,
        format=shaped,
        rows=len(rows),
        digest="",
        state=_state_of(compiled),
        created=time.time(),
    )
    begun = TrainingJob(jobs.create(record, rows, validation), compiled)
    if kind == "openai":
        # Sending takes a while; whoever looks after the job later finds it done, or does it.
        threading.Thread(target=begun.done, name=f"lmconf-{begun.id}", daemon=True).start()
        return begun
    try:
        begun.done()
    except Error:
        # Nothing waits to be begun of which its owner was told that it cannot be.
        jobs.discard_unbegun(begun.folder)
        raise
    return begun


def _is(record: JobRecord) -> str:
    left = ", and nothing of it is left" if record.status == "cancelled" else ""
    verb = "has" if record.status == "succeeded" else "was" if left else "is"
    return f"{verb} {record.status}{left}"


def _state_of(compiled: CompiledLM) -> dict[str, Any]:
    """Return what any process can make the LM of again; callbacks that are objects stay behind."""
    state = dump_lm(msgspec.structs.replace(compiled, live=()), "minimal")
    return {name: value for name, value in state.items() if name != "lmconf"}


@hide_frames
def job(id: str) -> TrainingJob:
    """Return the job `id`, begun by whichever process; the beginning of the id will do.

    Raises:
        TrainError: there is no such job, or its record is damaged.
    """
    return TrainingJob(jobs.find(id))
