"""`lmconf jobs prune`: what has ended goes, whole; what runs, is needed or was not asked for stays."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lmconf
from lmconf.cli import run
from lmconf.errors import TrainError
from lmconf.trainers import jobs, removal
from lmconf.trainers.jobs import JobFolder
from lmconf.training.job import TrainingJob

Rows = list[dict[str, Any]]

WEIGHTS = "import pathlib, sys; (pathlib.Path(sys.argv[1]) / 'm.gguf').write_bytes(bytes(100_000))"
SCRIPTS = {
    "succeeded": WEIGHTS,
    "failed": "import sys; sys.exit('no')",
    "running": "import time; time.sleep(600)",
}


@pytest.fixture
def made(rows: Rows) -> Any:
    def made(status: str, days: float = 0, **changes: Any) -> TrainingJob:
        script = SCRIPTS.get(status, SCRIPTS["running"])
        command = [sys.executable, "-c", script, "{output}"]
        job = lmconf.LM("openai/a", train_kwargs={"use": "command", "command": command}).finetune(
            rows
        )
        if status == "cancelled":
            job.cancel()
        elif status != "running":
            assert job.wait(30) == status
        folder = JobFolder(job.folder)
        record = folder.read()
        if days:
            changes["ended"] = time.time() - days * 86400
        folder.write(msgspec.structs.replace(record, **changes))
        return job

    return made


@pytest.fixture
def prune(capsys: pytest.CaptureFixture[str]) -> Any:
    def pruned(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["jobs", "prune", *arguments])
        return (code, *capsys.readouterr())

    return pruned


def broken(path: Path, ignore_errors: bool = False) -> None:
    if not ignore_errors:
        raise OSError(5, "I/O error")


def left() -> list[str]:
    return [job.id for job in jobs.all_jobs()]


def test_failed_and_cancelled_jobs_go_and_others_stay(made: Any, prune: Any) -> None:
    failed, cancelled = made("failed"), made("cancelled")
    kept = [made("succeeded"), made("running")]
    code, out, err = prune("--dry-run")
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[:2]] == [
        [failed.id, "failed"],
        [cancelled.id, "cancelled"],
    ]
    assert out.splitlines()[2].startswith("2 jobs would be removed, ")
    assert len(left()) == 4
    code, out, _ = prune()
    assert (code, out.splitlines()[-1].split(",")[0]) == (0, "2 jobs removed")
    assert left() == sorted(job.id for job in kept)
    assert sorted(path.name for path in jobs.jobs_folder().iterdir()) == left()
    assert kept[1].cancel()


def test_age_number_and_state_choose(made: Any, prune: Any) -> None:
    for days in (40, 20, 3):
        made("failed", days)
    made("cancelled", 50)
    assert prune("--older", "30d", "--state", "failed")[1].splitlines()[-1].startswith("1 job ")
    assert prune("--keep", "2")[1].splitlines()[-1].startswith("1 job ")
    assert len(left()) == 2
    assert prune("--older", "soon")[0] == 2


def test_weights_go_only_when_they_are_asked_for(made: Any, prune: Any) -> None:
    job = made("succeeded")
    code, out, err = prune("--state", "succeeded")
    assert (code, out.splitlines()) == (0, ["0 jobs removed, 0 B freed"])
    assert "it contains trained weights: --weights removes them" in err
    code, out, _ = prune("--state", "succeeded", "--weights")
    assert "1 job removed, 1" in out  # 100 KB and a little
    assert "KiB freed" in out
    assert not job.folder.exists()
    assert prune("--weights")[0] == 2


def test_what_a_profile_declares_or_waits_for_stays(made: Any, prune: Any, tmp_path: Path) -> None:
    profile = tmp_path / "lmconf.yaml"
    waiting = made("succeeded", save=(str(profile), "ours"))
    declared = made("succeeded", save=(str(profile), "ours"), saved=True)
    profile.write_text(f"lms: {{a: {{launch_kwargs: {{weights: {declared.folder}/output}}}}}}")
    code, out, err = prune("--state", "succeeded", "--weights")
    assert (code, out) == (0, "0 jobs removed, 0 B freed\n")
    assert f"wait {waiting.id[-6:]}` to declare `ours` in {profile}: --older removes it" in err
    assert f"kept {declared.id}: {profile} declares its weights" in err
    profile.unlink()
    assert prune("--state", "succeeded", "--weights")[1].splitlines()[-1].startswith("1 job ")
    assert left() == [waiting.id]
    assert prune("--state", "succeeded", "--weights", "--older", "0s")[1].startswith(waiting.id)


def test_what_can_be_resumed_goes_only_by_its_age(made: Any, prune: Any) -> None:
    job = made("failed", 2)
    (job.folder / "checkpoints/checkpoint-7").mkdir(parents=True)
    assert "it can be resumed: --older removes it" in prune()[2]
    assert prune("--older", "1d")[1].startswith(job.id)
    assert left() == []


def test_a_job_that_is_looked_after_or_needed_is_not_removed(made: Any) -> None:
    job = made("failed")
    folder = JobFolder(job.folder)
    with folder.turn(), pytest.raises(TrainError, match="in use by another process"):
        removal.remove(folder)
    running = made("running")
    with pytest.raises(TrainError, match="was kept: it is running"):
        removal.remove(JobFolder(running.folder))
    assert running.cancel()


def test_a_removal_that_was_cut_short_is_finished_by_the_next(
    made: Any, prune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = made("failed")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", broken)
        code, out, err = prune()
    assert (code, out) == (1, "0 jobs removed, 0 B freed\n")
    assert f"the job {job.id} cannot be removed: i/o error" in err
    assert left() == []
    (unfinished := jobs.jobs_folder() / "20200101-000000-abcdef").mkdir()
    os.utime(unfinished, (0, 0))
    assert prune()[1].startswith("0 jobs removed, ")
    assert list(jobs.jobs_folder().iterdir()) == []


def test_a_record_that_is_damaged_is_told_and_left(made: Any, prune: Any) -> None:
    job = made("failed")
    (job.folder / "job.json").write_text("{")
    code, _, err = prune()
    assert (code, f"kept {job.id}: it cannot be read" in err) == (0, True)
    assert job.folder.exists()


def test_without_jobs_there_is_nothing_to_remove(prune: Any) -> None:
    assert prune() == (0, "0 jobs removed, 0 B freed\n", "")
