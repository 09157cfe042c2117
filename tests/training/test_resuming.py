"""A training that was cut off goes on where it was: after its last checkpoint, when it is asked to."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.cli import run
from lmconf.errors import TrainError
from lmconf.system.paths import is_locked
from lmconf.trainers import checkpoints, local
from lmconf.training.job import TrainingJob
from tests.training.openai_peer import Peer
from tests.watching import parent, until

Rows = list[dict[str, Any]]

# Stands in for the training itself, in all that it and lmconf tell each other: ten steps, a
# checkpoint after each second one, half a checkpoint when it is cut off; it waits before step 7.
WORKER = """
import json, os, pathlib, sys, time
told = json.loads(sys.stdin.readline())
folder, partial = pathlib.Path(told["checkpoints"]), pathlib.Path(told["partial"])
gate = pathlib.Path(told["weights"]).with_name("gate")
done = int(told["resume"].rpartition("-")[2]) if told["resume"] else 0
for step in range(done + 1, 11):
    while step == 7 and not (gate / "go").exists():
        time.sleep(0.01)
    print("step", step, flush=True)
    beside = pathlib.Path(told["progress"] + ".new")
    beside.write_text(json.dumps({"step": step, "steps": 10, "loss": 1 / step}))
    beside.replace(told["progress"])
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    if step % 2 == 0:
        mark = {"step": step, "steps": 10, "versions": VERSIONS, "base": told["base"]}
        (path / "whole.json").write_text(json.dumps(mark))
if (gate / "fail").exists():
    sys.exit("no room for the weights")
(partial / "weights").mkdir()
(partial / "versions.json").write_text("{}")
"""


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder; a training goes beyond its sixth step when `go` is in it, and fails with `fail`."""
    folder, base = tmp_path / "gate", tmp_path / "base"
    folder.mkdir()
    base.mkdir()
    (base / "config.json").write_text("{}")
    worker = tmp_path / "worker.py"
    versions = {"msgspec": importlib.metadata.version("msgspec")}
    worker.write_text(WORKER.replace("VERSIONS", repr(versions)))
    monkeypatch.setattr(local, "WORKER", worker)
    monkeypatch.setattr(local, "PACKAGES", ())
    return folder


def begun(gate: Path, rows: Rows) -> TrainingJob:
    lm = lmconf.LM(
        "openai/a", train_kwargs={"use": "local", "weights": str(gate.with_name("base"))}
    )
    job = lm.finetune(rows)
    until(lambda: job.status() != "running" or job.progress.get("step") == 6)
    return job


def cut_off(job: TrainingJob, victim: str = "training") -> None:
    pid_file = job.folder / "pid"
    until(lambda: pid_file.exists() and pid_file.read_text() != "")
    pid = int(pid_file.read_text())
    os.kill(pid if victim == "training" else parent(pid), signal.SIGKILL)
    assert job.wait(30) == "failed"


def steps(job: TrainingJob) -> list[int]:
    lines = (job.folder / "log").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("step")]


@pytest.mark.parametrize("victim", ["training", "supervisor"])
def test_a_killed_training_goes_on_after_its_last_whole_checkpoint(
    victim: str, gate: Path, rows: Rows
) -> None:
    job = begun(gate, rows)
    cut_off(job, victim)
    assert f"`lmconf jobs resume {job.id[-6:]}` continues after step 6 of 10" in job.record.error
    assert kept(job) == ["checkpoint-6"]  # nothing half-written, and nothing older
    (gate / "go").touch()
    again = lmconf.job(job.id)
    again.resume()
    trained = again.result(30)
    assert trained.model.endswith(job.id[-6:])
    assert steps(job) == list(range(1, 11))
    assert "continues after step 6 of 10" in job.log()
    assert (job.status(), job.record.error) == ("succeeded", "")
    assert kept(job) == []


def test_what_failed_by_itself_goes_on_only_when_it_is_asked_to(gate: Path, rows: Rows) -> None:
    (gate / "go").touch()
    (gate / "fail").touch()
    job = begun(gate, rows)
    assert job.wait(30) == "failed"
    assert "no room for the weights" in job.record.error
    assert lmconf.job(job.id).wait(1) == "failed"
    assert steps(job) == list(range(1, 11))
    (gate / "fail").unlink()
    job.resume()
    job.result(30)
    assert steps(job) == list(range(1, 11))


def test_a_training_without_a_checkpoint_is_begun_again(gate: Path, rows: Rows) -> None:
    job = begun(gate, rows)
    cut_off(job)
    checkpoints.sweep(job.folder / "checkpoints", None)
    (gate / "go").touch()
    job.resume()
    job.result(30)
    assert steps(job) == [*range(1, 7), *range(1, 11)]
    assert "there is no checkpoint: started again" in job.log()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda job, _: (job.folder / "data.jsonl").write_text("{}\n"), "the data of the job"),
        (lambda job, _: (job.folder / "data.jsonl").unlink(), "cannot be read: No such file"),
        (
            lambda _, gate: (gate.with_name("base") / "config.json").write_text("{ }"),
            "weights .* have changed since",
        ),
        (lambda _, gate: (gate.with_name("base") / "config.json").unlink(), "holds no weights"),
        (
            lambda job, _: marked(job, versions={"msgspec": "0.1", "gone": "2"}),
            r"begun with gone 2 \(now missing\), msgspec 0.1 \(now ",
        ),
    ],
)
def test_nothing_is_resumed_with_other_data_weights_or_libraries(
    change: Any, told: str, gate: Path, rows: Rows
) -> None:
    job = begun(gate, rows)
    cut_off(job)
    before = job.record
    change(job, gate)
    with pytest.raises(TrainError, match=told):
        job.resume()
    assert lmconf.job(job.id).record == before
    assert kept(job) == ["checkpoint-6"]


def test_a_cancelled_training_leaves_nothing_to_resume(gate: Path, rows: Rows) -> None:
    job = begun(gate, rows)
    assert job.cancel()
    assert kept(job) == []
    with pytest.raises(TrainError, match="was cancelled, and nothing of it is left"):
        job.resume()


def test_a_resumed_training_can_be_cut_off_and_cancelled_again(gate: Path, rows: Rows) -> None:
    job = begun(gate, rows)
    for _ in range(2):
        cut_off(job)
        job.resume()
        assert job.status() == "running"
    assert job.cancel()
    assert steps(job) == list(range(1, 7))


def test_a_resumed_training_whose_owner_is_killed_at_once_goes_on(gate: Path, rows: Rows) -> None:
    job = begun(gate, rows)
    os.killpg(int((job.folder / "pid").read_text()), signal.SIGKILL)
    until(lambda: not is_locked(job.folder / "watch"))  # and nobody looked since
    (gate / "go").touch()
    if os.fork() == 0:
        lmconf.job(job.id).resume()
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    assert job.wait(30) == "succeeded"


def test_a_command_is_run_again_with_what_it_kept(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import os, pathlib, sys, time\n"
        "output, kept = map(pathlib.Path, sys.argv[1:])\n"
        "print('in', os.getcwd(), flush=True)\n"
        "if not (kept / 'half').exists():\n"
        "    (kept / 'half').touch()\n"
        "    os.kill(os.getpid(), 9)\n"
        "(output / 'model.gguf').write_text('weights')\n"
    )
    command = [sys.executable, "-c", script, "{output}", "{checkpoints}"]
    lm = lmconf.LM("openai/a", train_kwargs={"use": "command", "command": command})
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    job = lm.finetune(rows)
    with pytest.raises(TrainError, match=r"signal 9(.|\n)*resume \w+` runs the command again"):
        job.result(30)
    monkeypatch.chdir(tmp_path)
    lmconf.job(job.id).resume()
    assert isinstance(job.result(30), lmconf.LM)
    assert job.log().splitlines() == [f"in {place}", "run again", f"in {place}"]


def test_a_job_of_a_provider_ended_there(peer: Peer, rows: Rows) -> None:
    peer.ending = "failed"
    lm = lmconf.LM(
        "openai/gpt-4o-mini",
        api_base=peer.base,
        api_key=lmconf.Env("PEER_KEY"),
        train_kwargs={"poll": 0.02},
    )
    job = lm.finetune(rows)
    assert job.wait(30) == "failed"
    with pytest.raises(TrainError, match="ended at its provider"):
        job.resume()
    assert job.status() == "failed"


def test_the_command_line_resumes_and_says_how_it_ended(
    gate: Path, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    job = begun(gate, rows)
    assert run(["jobs", "resume", job.id]) == 1
    assert "nothing to resume" in capsys.readouterr().err
    cut_off(job)
    (gate / "go").touch()
    assert run(["jobs", "resume", job.id[-6:], "--follow"]) == 0
    captured = capsys.readouterr()
    assert f"{job.id} succeeded" in captured.out
    assert "continues after step 6" in captured.err


def kept(job: TrainingJob) -> list[str]:
    return sorted(path.name for path in (job.folder / "checkpoints").glob("*"))


def marked(job: TrainingJob, **mark: Any) -> None:
    """Have the last checkpoint's mark say something else."""
    found = checkpoints.newest(job.folder / "checkpoints")
    assert found is not None
    (found[0] / "whole.json").write_text(json.dumps({**found[1], **mark}))


def test_a_job_that_goes_on_names_no_process_of_before(
    gate: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id may be another's by now, and whoever is named there is killed with the training."""
    job = begun(gate, rows)
    cut_off(job)
    monkeypatch.setattr(sys, "executable", str(gate / "no-python"))
    with contextlib.suppress(TrainError):
        job.resume()
    assert not (job.folder / "pid").exists()
