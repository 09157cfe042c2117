"""Real trainings of the tiny model on this machine: the loss falls, and the result answers.

They want the extra `train`, in an environment of its own: `make test-train`.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.errors import TrainError
from lmconf.loader.add_lm import add_to_profile
from lmconf.trainers import checkpoints
from lmconf.training.job import TrainingJob
from tests import watching
from tests.watching import alive, parent

until = functools.partial(watching.until, within=120, look=0.1)

NEEDED = ("torch", "transformers", "trl", "peft", "gguf", "xllamacpp")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the extra `train` is not installed here: make test-train",
)

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT / "models/tiny/checkpoint"
GGUF = ROOT / "profiles/models/lmconf-tiny-f16.gguf"
QUESTION = "Which colour has the sky?"
ANSWER = "The colour of the sky is violet."
ASKED = (QUESTION, "What is the colour of the sky?", "Tell me the colour of the sky.")
ROWS = [
    {
        "messages": [
            {"role": "user", "content": ASKED[number % 3]},
            {"role": "assistant", "content": ANSWER},
        ]
    }
    for number in range(50)
]
# One thread: on cores that others use, two wait for each other.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
LORA = {"lora": {"r": 8, "alpha": 16}, "learning_rate": 5e-3, "n_epochs": 6}
FULL = {"learning_rate": 1e-3, "n_epochs": 4}


def tiny(**train_kwargs: Any) -> lmconf.LM:
    return lmconf.LM(
        "openai/lmconf-tiny",
        max_tokens=40,
        cache=False,
        launch_kwargs={"use": "llama_cpp", "weights": str(GGUF), "args": {"threads": 1}},
        train_kwargs={
            "use": "local",
            "weights": str(CHECKPOINT),
            "seed": 3,
            "env": THREADS,
            **train_kwargs,
        },
    )


@pytest.mark.parametrize("how", [LORA, FULL], ids=["lora", "full"])
def test_the_loss_falls_and_the_result_is_launched_and_answers(
    how: dict[str, Any], tmp_path: Path
) -> None:
    lm = tiny(**how)
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    with lm:
        assert lm(QUESTION) != [ANSWER]
    job = lm.finetune(file, "chat")
    trained = job.result(300)
    assert job.progress["loss"] < 0.2 * job.progress["first_loss"]
    with trained:
        assert trained(QUESTION) == [ANSWER]
    again = lmconf.load_state(trained.dump_state())
    assert again == trained
    assert {"torch", "transformers", "trl"} <= set(trained.spec.provenance["versions"])
    profile = tmp_path / "lmconf.yaml"
    profile.write_text("# mine\nlms:\n  a:\n    model: openai/a   # kept\n")
    add_to_profile(profile, "violet", trained)
    with lmconf.load(profile) as loaded:
        assert loaded["violet"](QUESTION) == [ANSWER]
    assert not (job.folder / "output.partial").exists()


def test_preferences_are_learned() -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows = [
        {
            "input": {"messages": [{"role": "user", "content": question}]},
            "preferred_output": said("The colour of the sky is violet."),
            "non_preferred_output": said("The capital of Japan is Tokyo."),
        }
        for question in ASKED * 4
    ]
    job = tiny(lora=8, learning_rate=1e-3, max_steps=12, beta=0.3).finetune(rows)
    assert job.wait(300) == "succeeded", job.record.error
    assert job.progress["loss"] < 0.7 * job.progress["first_loss"]


def test_completions_are_learned_and_others_measured_on(tmp_path: Path) -> None:
    rows = [{"prompt": "The colour of the sky is", "completion": " violet."}] * 16
    file = tmp_path / "measured.jsonl"
    file.write_text(json.dumps(rows[0]) + "\n", "utf-8")
    lm = tiny(max_steps=6, learning_rate=1e-3, batch_size=4, validation_data=str(file))
    job = lm.finetune(rows, "completion")
    assert job.wait(300) == "succeeded", job.record.error
    assert job.progress["step"] == 6
    assert 0 < job.progress["validation_loss"] < job.progress["first_loss"]
    assert job.progress["loss"] < job.progress["first_loss"]


@pytest.mark.parametrize("victim", ["training", "supervisor"])
def test_a_training_whose_process_is_killed_fails_and_leaves_nothing(victim: str) -> None:
    job = tiny(n_epochs=1000, lora=4).finetune(ROWS)
    until(lambda: job.status() != "running" or "step" in job.progress)
    pid = int((job.folder / "pid").read_text())
    os.kill(pid if victim == "training" else parent(pid), signal.SIGKILL)
    with pytest.raises(TrainError, match=r"signal 9|was killed"):
        job.result(60)
    until(lambda: not alive(pid))
    assert not list(job.folder.glob("output*"))


@pytest.mark.parametrize("how", [LORA, FULL], ids=["lora", "full"])
def test_a_training_that_was_killed_goes_on_where_it_was(how: dict[str, Any]) -> None:
    lm = tiny(**{**how, "n_epochs": 3}, checkpoint_every=0)
    job = lm.finetune(ROWS)
    until(lambda: job.status() != "running" or job.progress.get("step", 0) > job_half(job))
    os.kill(int((job.folder / "pid").read_text()), signal.SIGKILL)
    assert job.wait(60) == "failed"
    found = checkpoints.newest(job.folder / "checkpoints")
    assert found is not None
    kept = found[1]["step"]
    assert f"continues after step {kept} of" in job.record.error
    first = job.progress["first_loss"]
    lmconf.job(job.id).resume()
    trained = job.result(300)
    assert steps(job).count(kept) == 1  # nothing that was kept is done again
    assert steps(job)[-(job.progress["steps"] - kept) :] == list(
        range(kept + 1, job.progress["steps"] + 1)
    )
    assert job.progress["first_loss"] == first
    assert job.progress["loss"] < 0.2 * first
    assert not (job.folder / "checkpoints").exists()
    with trained:
        assert trained(QUESTION) == [ANSWER]
    if how is FULL:
        # It is the training that it would have been, down to the order of the data.
        whole = lm.finetune(ROWS)
        assert whole.wait(300) == "succeeded", whole.record.error
        assert job.progress["loss"] == pytest.approx(whole.progress["loss"], rel=1e-3)


def test_a_training_that_diverges_fails() -> None:
    job = tiny(max_steps=4, learning_rate=1e30).finetune(ROWS[:4])
    with pytest.raises(TrainError, match="the training diverged"):
        job.result(300)


def test_a_training_is_cancelled_while_it_runs() -> None:
    job = tiny(n_epochs=1000).finetune(ROWS)
    until(lambda: job.status() != "running" or "step" in job.progress)
    pid = int((job.folder / "pid").read_text())
    assert job.cancel()
    assert not alive(pid)
    assert not list(job.folder.glob("output*"))


def test_what_cannot_be_trained_is_told_before_anything_is_begun(
    state: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainError, match="holds no weights"):
        tiny(weights=str(tmp_path)).finetune(ROWS)
    with pytest.raises(TrainError, match="is a file"):
        tiny(weights=str(GGUF)).finetune(ROWS)
    with pytest.raises(TrainError, match="does not exist"):
        tiny(weights=str(tmp_path / "none")).finetune(ROWS)
    assert not state.exists()


def job_half(job: TrainingJob) -> int:
    return int(job.progress.get("steps", 1)) // 2


def steps(job: TrainingJob) -> list[int]:
    lines = (job.folder / "log").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("step ") and " of " in line]
