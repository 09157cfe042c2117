"""Trains by OpenAI's fine-tuning API, or Azure's: files and jobs, as their references describe.

https://platform.openai.com/docs/api-reference/fine-tuning
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from lmconf.errors import TrainError
from lmconf.providers.catalogue import PROVIDERS, record_of
from lmconf.system.durations import format_duration
from lmconf.trainers import http
from lmconf.trainers.trainer_protocol import (
    FINAL,
    FORMATS,
    ApiAccess,
    Format,
    JobStatus,
    Trainer,
    TrainingOrder,
    TrainingResult,
)

__all__ = ["TRAINER", "OpenAITrainer"]

Keep = Callable[[Mapping[str, str]], None]

UNDER_WAY = frozenset(("validating_files", "queued", "pending", "running", "paused", "notRunning"))
HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")
PROCESSED = 600.0
"""How long Azure may take to look at a file before a job may name it, in seconds."""


class OpenAITrainer:
    """Sends the data, starts the job, and asks how it is doing."""

    formats: tuple[Format, ...] = FORMATS
    least_rows = 10

    def fault(self, format: Format, row: Mapping[str, Any]) -> str:
        """Say nothing: these are the provider's own formats."""
        return ""

    def check(self, order: TrainingOrder) -> None:
        """See that the model is one of a provider with this API.

        Raises:
            TrainError: it is not.
        """
        if record_of(order.provider).trainer != "openai":
            having = [name for name, record in PROVIDERS.items() if record.trainer == "openai"]
            raise TrainError(
                f"`use: openai` trains models of {' and '.join(having)}, not of"
                f" {order.provider!r}: state another `train_kwargs.use`, or `finetuning_model`"
            )

    def advance(
        self,
        order: TrainingOrder,
        state: Mapping[str, str],
        keep: Keep,
        reach: Callable[[], ApiAccess],
    ) -> JobStatus:
        """Send what is not sent yet, or ask how the job is doing."""
        access = reach()
        notes = dict(state)

        def note(**more: str) -> None:
            notes.update(more)
            keep(dict(notes))

        if "job" not in notes:
            failed = self._submit(order, notes, note, access)
            if failed is not None:
                return failed
        return _look(order, notes, note, access)

    def cancel(
        self, order: TrainingOrder, state: Mapping[str, str], reach: Callable[[], ApiAccess]
    ) -> JobStatus:
        """Have the provider end the job; without one there is nothing to end but files."""
        access = reach()
        job = state.get("job") or _find_job(order, state, access)
        if job is None:
            _forget(state, access)
            return JobStatus(status="cancelled")
        refusal = _cancel_job(job, access)
        if refusal is None:
            return JobStatus(status="cancelled")
        # One that ended meanwhile cannot be cancelled: what it came to is not to be lost.
        look = _look(order, {**state, "job": job}, lambda **_: None, access)
        if look.status not in FINAL:
            raise refusal
        return look

    def resume(self, order: TrainingOrder, state: Mapping[str, str]) -> Mapping[str, str]:
        """Refuse: a job goes on at the provider by itself, and ended there.

        Raises:
            TrainError: always.
        """
        raise TrainError(
            f"the training {order.id} ended at its provider, which cannot go on with it: begin"
            " another with `lmconf train`"
        )

    def _submit(
        self,
        order: TrainingOrder,
        state: dict[str, str],
        note: Callable[..., None],
        access: ApiAccess,
    ) -> JobStatus | None:
        """Start the job; what an earlier try sent is used. Return how it failed, if it did."""
        reason = ""
        try:
            # An earlier try may have started it and ended before it could note that.
            job = _find_job(order, state, access) if state.get("asked") else None
            if job is None:
                self._send(order, state, note, access)
                note(asked="yes")
                data = http.post(access, "fine_tuning/jobs", _request(order, state, access))
                job = _text(data, "id")
            note(job=job, since=str(int(time.time())))
        except http.TrainerRefused as refusal:
            # What is there already is not given up for a key that may be put right.
            if state and refusal.status in (401, 403):
                raise
            reason = str(refusal)
        if reason:
            _forget(state, access)
            return JobStatus(status="failed", error=reason)
        return None

    def _send(
        self,
        order: TrainingOrder,
        state: dict[str, str],
        note: Callable[..., None],
        access: ApiAccess,
    ) -> None:
        files = {"training_file": order.data}
        if order.validation is not None:
            files["validation_file"] = order.validation
        for name, path in files.items():
            if name not in state:
                data = http.upload(access, path, f"lmconf-{order.id}-{name}.jsonl")
                note(**{name: _text(data, "id")})
            if access.api_version is not None:
                _await_processed(access, state[name])


def _cancel_job(job: str, access: ApiAccess) -> http.TrainerRefused | None:
    """Ask for the end of `job`; return why it cannot be ended, if it cannot."""
    try:
        http.post(access, f"fine_tuning/jobs/{job}/cancel")
    except http.TrainerRefused as refusal:
        if refusal.status not in (400, 404, 409):
            raise
        return refusal
    return None


def _await_processed(access: ApiAccess, file: str) -> None:
    until = time.monotonic() + PROCESSED
    while True:
        data = http.get(access, f"files/{file}")
        status = data.get("status")
        if status in ("error", "failed", "deleted"):
            raise http.TrainerRefused(f"the file was refused: {data.get('status_details')}", 400)
        if status not in ("pending", "running", "notRunning"):
            return
        if time.monotonic() > until:
            raise http.TrainerUnreachable(f"the file {file} is still {status}")
        time.sleep(1.0)


def _request(order: TrainingOrder, state: Mapping[str, str], access: ApiAccess) -> dict[str, Any]:
    spec = order.spec
    hyperparameters: dict[str, Any] = {
        name: getattr(spec, name) for name in HYPERPARAMETERS if getattr(spec, name) is not None
    }
    body: dict[str, Any] = {"model": order.model, "training_file": state["training_file"]}
    if "validation_file" in state:
        body["validation_file"] = state["validation_file"]
    if spec.suffix is not None:
        body["suffix"] = spec.suffix
    if spec.seed is not None:
        body["seed"] = spec.seed
    if order.format == "preference":
        beta = {} if spec.beta is None else {"beta": spec.beta}
        body["method"] = {"type": "dpo", "dpo": {"hyperparameters": {**hyperparameters, **beta}}}
    elif access.api_version is not None:
        # Azure's stable versions have no `method` for supervised training.
        body["hyperparameters"] = hyperparameters
    else:
        body["method"] = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
    if access.api_version is None:
        body["metadata"] = {"lmconf_job": order.id}
    return body


def _find_job(order: TrainingOrder, state: Mapping[str, str], access: ApiAccess) -> str | None:
    """Return the job that was started for `order` by someone who could not note its id.

    It is the one that was given the file, which no other job knows.
    """
    if "training_file" not in state:
        return None
    # Azure knows no metadata, and lists the newest first.
    query = {} if access.api_version is not None else {"metadata[lmconf_job]": order.id}
    jobs = http.get(access, "fine_tuning/jobs", {"limit": "100", **query}).get("data")
    for job in jobs if isinstance(jobs, list) else ():
        if isinstance(job, dict) and job.get("training_file") == state["training_file"]:
            return _text(job, "id")
    return None


def _forget(state: Mapping[str, str], access: ApiAccess) -> None:
    """Remove the files of a job that never was, as far as the server lets us."""
    for name in ("training_file", "validation_file"):
        if name in state:
            try:
                http.delete(access, f"files/{state[name]}")
            except (http.TrainerRefused, http.TrainerUnreachable):
                continue


def _look(
    order: TrainingOrder, state: dict[str, str], note: Callable[..., None], access: ApiAccess
) -> JobStatus:
    job = state["job"]
    try:
        data = http.get(access, f"fine_tuning/jobs/{job}")
    except http.TrainerRefused as refusal:
        if refusal.status != 404:
            raise
        return JobStatus(status="failed", error=f"the server knows no job {job} any more")
    _log_events(order, state, note, access)
    status = data.get("status")
    progress: dict[str, Any] = {"job": job, "stage": str(status)}
    for name in ("trained_tokens", "estimated_finish"):
        if isinstance(data.get(name), int):
            progress[name] = data[name]
    if status == "succeeded":
        model = data.get("fine_tuned_model")
        if not isinstance(model, str) or not model:
            return JobStatus(status="failed", error=f"the job {job} succeeded and names no model")
        return JobStatus(status="succeeded", progress=progress, result=TrainingResult(model=model))
    if status == "failed":
        return JobStatus(status="failed", progress=progress, error=_why(data, job))
    if status in ("cancelled", "canceled"):
        return JobStatus(status="cancelled", progress=progress)
    if status not in UNDER_WAY:
        raise TrainError(f"the job {job} is {status!r}, which is not known here")
    late = (
        order.spec.timeout is not None and time.time() > float(state["since"]) + order.spec.timeout
    )
    if late and _cancel_job(job, access) is None:
        error = f"the job {job} took longer than its `timeout` of {format_duration(order.spec.timeout or 0)}, and was"
        return JobStatus(status="failed", progress=progress, error=f"{error} cancelled")
    return JobStatus(status="running", progress=progress)


def _why(data: Mapping[str, Any], job: str) -> str:
    error = data.get("error")
    if not isinstance(error, Mapping) or not error.get("message"):
        return f"the job {job} failed, and the server does not say why"
    about = [str(error[name]) for name in ("code", "param") if error.get(name)]
    return f"the job {job} failed: {error['message']}" + (f" ({', '.join(about)})" if about else "")


def _log_events(
    order: TrainingOrder, state: dict[str, str], note: Callable[..., None], access: ApiAccess
) -> None:
    """Append what the server has told since the last look to the log."""
    try:
        listing = http.get(access, f"fine_tuning/jobs/{state['job']}/events", {"limit": "50"})
    except (http.TrainerRefused, http.TrainerUnreachable):
        return  # they are for people, and the job's own state is told elsewhere
    data = listing.get("data")
    events = [e for e in data if isinstance(e, dict)] if isinstance(data, list) else []
    fresh = []
    for event in events:  # the newest first
        if event.get("id") == state.get("event"):
            break
        fresh.append(event)
    if not fresh:
        return
    lines = [f"{e.get('level', 'info')}: {e.get('message', '')}\n" for e in reversed(fresh)]
    with contextlib.suppress(OSError):  # a full disk does not keep the job's own state from us
        with order.log.open("a", encoding="utf-8") as log:
            log.writelines(http.show_text(access, line) for line in lines)
        order.log.chmod(0o600)
    note(event=str(fresh[0].get("id", "")))


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise http.TrainerUnreachable(f"the server's answer has no `{name}`")
    return value


TRAINER: Trainer = OpenAITrainer()
