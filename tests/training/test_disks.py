"""A full disk is one clear error; nothing is half-written and nothing is left running."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

import lmconf
from lmconf.loader.add_lm import add_to_profile
from lmconf.trainers.jobs import JobFolder, JobRecord

FULL = "No space left on device"


def full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, FULL)


def test_no_job_is_begun_where_its_data_cannot_be_written(
    state: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = lmconf.LM("openai/a", train_kwargs={"use": "command", "command": ["false"]})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(lmconf.TrainError, match=FULL):
        lm.finetune(rows)
    assert list((state / "jobs").iterdir()) == []


def test_nothing_waits_to_be_begun_where_its_start_cannot_be_noted(
    state: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = lmconf.LM("openai/a", train_kwargs={"use": "command", "command": ["false"]})
    write = JobFolder.write
    written: list[JobRecord] = []

    def once(folder: JobFolder, record: JobRecord) -> None:
        if written:
            raise lmconf.TrainError(FULL)
        written.append(record)
        write(folder, record)

    monkeypatch.setattr(JobFolder, "write", once)
    with pytest.raises(lmconf.TrainError, match=FULL):
        lm.finetune(rows)
    assert list((state / "jobs").iterdir()) == []


def test_a_training_that_cannot_save_fails_and_leaves_no_output(rows: list[dict[str, Any]]) -> None:
    # A file of that size is refused as on a full disk.
    script = (
        "import pathlib, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "(path / 'config.json').write_text('{}')\n"
        "(path / 'model.safetensors').write_bytes(bytes(10**6))\n"
    )
    command = [sys.executable, "-c", script, "{output}"]
    lm = lmconf.LM("openai/a", train_kwargs={"use": "command", "command": command})
    job = lm.finetune(rows)
    with pytest.raises(lmconf.TrainError, match="File too large"):
        job.result(30)
    assert sorted(path.name for path in job.folder.glob("output*")) == []


def test_a_profile_that_cannot_be_written_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "lmconf.yaml"
    profile.write_text("lms:\n  a:\n    model: openai/a\n")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=FULL):
        add_to_profile(profile, "b", lmconf.LM("openai/b"))
    assert profile.read_text() == "lms:\n  a:\n    model: openai/a\n"
    assert [path.name for path in tmp_path.glob("*.yaml")] == ["lmconf.yaml"]
    assert [path.name for path in tmp_path.glob(".*")] == []
