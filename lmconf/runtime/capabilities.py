"""What rooms above the runtime carry out for an LM: DSPy and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmconf.system.lazy import load_name
from lmconf.system.tracebacks import hide_frames

if TYPE_CHECKING:
    from lmconf.spec.compiled import CompiledLM
    from lmconf.trainers.training_data import TrainData
    from lmconf.training.job import TrainingJob

__all__ = ["CAPABILITIES", "CapabilitiesMixin"]

CAPABILITIES = {
    "as_dspy": "lmconf.dspy:adapt",
    "infer_adapter": "lmconf.dspy:infer_adapter",
    "finetune": "lmconf.training.job:start_job",
}
"""The function that carries out each method; it is imported when the method is first called."""


class CapabilitiesMixin:
    """The methods of an LM that rooms above the runtime carry out."""

    _compiled: CompiledLM

    # Inside DSPy

    @hide_frames
    def as_dspy(self, **settings: Any) -> Any:
        """Return this LM as a `dspy.LM`, as `lmconf.dspy.adapt` does.

        Args:
            settings: keyword arguments for `lmconf.dspy.adapt`.
        """
        adapt: Any = load_name(CAPABILITIES["as_dspy"])
        return adapt(self, **settings)

    def infer_adapter(self) -> Any:
        """Return the adapter that is set in DSPy, else a `dspy.ChatAdapter`."""
        infer: Any = load_name(CAPABILITIES["infer_adapter"])
        return infer()

    # Fine-tuning

    @hide_frames
    def finetune(
        self,
        train_data: TrainData,
        train_data_format: str | None = None,
        train_kwargs: Mapping[str, Any] | None = None,
    ) -> TrainingJob:
        """Return a job that fine-tunes this LM (its `finetuning_model`, if it names one).

            trained = lm.finetune("train.jsonl", "chat").result()

        The data is checked before anything is sent or started. The job continues when this
        process ends.

        Args:
            train_data: the path of a JSONL file, or the rows themselves.
            train_data_format: `chat`, `completion` or `preference`; by default it is detected
                from the first row.
            train_kwargs: settings that override the `train_kwargs` of the profile.

        Raises:
            TrainError: the data is not valid (the message lists each bad line), or the training
                cannot be started.
            ProfileError: `train_kwargs` are not valid.
            NotCarriedOut: this version has no such trainer.
        """
        start: Any = load_name(CAPABILITIES["finetune"])
        job: TrainingJob = start(self._compiled, train_data, train_data_format, train_kwargs)
        return job
