"""What a kind of trainer must offer, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec import Struct

from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import HiddenValues, Masked
from lmconf.trainers.specs import TrainSpec

__all__ = [
    "DATA",
    "FINAL",
    "FORMATS",
    "VALIDATION",
    "ApiAccess",
    "Format",
    "JobStatus",
    "Status",
    "Trainer",
    "TrainingOrder",
    "TrainingResult",
]

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL: frozenset[Status] = frozenset(("succeeded", "failed", "cancelled"))
"""What a job stays once it is."""

Format = Literal["chat", "completion", "preference"]
FORMATS: tuple[Format, ...] = ("chat", "completion", "preference")

DATA = "data.jsonl"
VALIDATION = "validation.jsonl"


class TrainingOrder(Struct, frozen=True, eq=False, kw_only=True):
    """One fine-tuning that was asked for.

    `provider` and `model` are those of the model that is trained; `folder` is the job's own, with
    the data in `data.jsonl`; `served_by` is the kind of server that the LM is launched with, and
    `served_weights` what that server loads now. `code_values` are the values of `{$given: …}` in
    `spec`.
    """

    id: str
    folder: Path
    provider: str
    model: str
    spec: TrainSpec
    format: Format
    rows: int
    served_by: str | None = None
    served_weights: str | None = None
    code_values: Mapping[str, str] = HiddenValues()

    @property
    def data(self) -> Path:
        """The checked rows, one JSON object a line."""
        return self.folder / DATA

    @property
    def validation(self) -> Path | None:
        """The checked rows that are measured on and not learned from, if there are any."""
        return self.folder / VALIDATION if self.spec.validation_data is not None else None

    @property
    def log(self) -> Path:
        """The file that tells a person how it goes."""
        return self.folder / "log"

    @property
    def output(self) -> Path:
        """The folder of the trained weights; it is there when they are whole."""
        return self.folder / "output"


class ApiAccess(Masked, Struct, frozen=True, eq=False, kw_only=True):
    """How the provider's server is reached. No repr shows it, and it cannot be pickled."""

    base: str
    key: str = ""
    headers: Mapping[str, str] = HiddenValues()
    organization: str | None = None
    project: str | None = None
    api_version: str | None = None
    by_token: bool = False
    hidden: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Access(…)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an access holds credentials and is never pickled")


class TrainingResult(Struct, frozen=True, kw_only=True):
    """What a training came to: a provider's `model`, or `weights` on this machine.

    `gguf` are the same weights for llama.cpp. `versions` are those of the libraries that made it.
    """

    model: str | None = None
    weights: str | None = None
    gguf: str | None = None
    versions: Mapping[str, str] = FrozenMap()


class JobStatus(Struct, frozen=True, kw_only=True):
    """How a job is doing; `error` says why it failed, `result` what it came to."""

    status: Status
    progress: Mapping[str, Any] = FrozenMap()
    error: str = ""
    result: TrainingResult | None = None


class Trainer(Protocol):
    """A kind of trainer.

    Only one process at a time calls `advance` for a job. Everything that it must know the next
    time, in whatever process, it hands to `keep`; nothing secret.
    """

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats of data that it takes."""

    @property
    def least_rows(self) -> int:
        """How many rows it wants at least."""

    def fault(self, format: Format, row: Mapping[str, Any]) -> str:
        """Say what of a row, which is right as `format`, it cannot learn from; "" where it can."""

    def check(self, order: TrainingOrder) -> None:
        """See that `order` can be carried out here, before anything is begun.

        Raises:
            TrainError: it cannot; the message says why.
        """

    def advance(
        self,
        order: TrainingOrder,
        state: Mapping[str, str],
        keep: Callable[[Mapping[str, str]], None],
        reach: Callable[[], ApiAccess],
    ) -> JobStatus:
        """Begin the training, or go on with what `state` says was begun; tell how it is doing.

        Raises:
            TrainError: that cannot be told now. The job stays what it was.
        """

    def resume(self, order: TrainingOrder, state: Mapping[str, str]) -> Mapping[str, str]:
        """See that a training that failed can go on, and return what `advance` goes on with.

        Nothing is begun or changed. `state` is what it had handed to `keep`.

        Raises:
            TrainError: it cannot go on; the message says why.
        """

    def cancel(
        self, order: TrainingOrder, state: Mapping[str, str], reach: Callable[[], ApiAccess]
    ) -> JobStatus:
        """Have the training end; nothing of it runs on this machine afterwards.

        What is returned is `cancelled`, or what it came to where it had ended before.

        Raises:
            TrainError: it cannot be ended.
        """
