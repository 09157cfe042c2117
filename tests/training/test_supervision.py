"""What watches over a training of this machine: nothing is lost between two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.errors import TrainError
from lmconf.system.paths import is_locked
from lmconf.system.supervisor import fit_exit
from lmconf.trainers import process
from lmconf.training.job import TrainingJob
from tests.watching import parent, until

Rows = list[dict[str, Any]]


def training(script: str, rows: Rows, **train_kwargs: Any) -> TrainingJob:
    command = [sys.executable, "-c", script, "{output}"]
    lm = lmconf.LM("openai/a", train_kwargs={"use": "command", "command": command, **train_kwargs})
    return lm.finetune(rows)


def test_the_lock_is_held_before_the_supervisor_runs(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, held = subprocess.run, []

    def watched(*arguments: Any, **settings: Any) -> Any:
        held.append(is_locked(Path(settings["cwd"]) / "watch"))
        return run(*arguments, **settings)

    monkeypatch.setattr(subprocess, "run", watched)
    job = training("import time; time.sleep(600)", rows)
    assert held == [True]
    assert is_locked(job.folder / "watch")
    assert job.cancel()
    assert not is_locked(job.folder / "watch")


def test_a_shutdown_of_the_machine_is_no_cancelling(rows: Rows) -> None:
    job = training("import time; time.sleep(600)", rows)
    until(lambda: bool(read(job.folder / "pid")))
    os.kill(parent(int(read(job.folder / "pid"))), signal.SIGTERM)
    with pytest.raises(TrainError, match="stopped, for example by a shutdown"):
        job.result(30)
    assert job.status() == "failed"
    assert not list(job.folder.glob("output*"))


def test_a_secret_that_crosses_a_cut_is_in_no_log(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line ends before 64 KiB, and the pieces that are read end within the secret."""
    monkeypatch.setenv("ACME", 'Zq7vR-unseen "marker"/93kd')
    script = r"""
import json, os, sys, time
from urllib.parse import quote
told = os.environ["TOKEN"]                      # as it is formatted, and the part within
for form in (told, told[7:], json.dumps(told)[1:-1], quote(told[7:], safe="")):
    for room in (65536, 2048):
        for before in range(room - len(form) - 2, room, 9):
            text = (b"x" * before + form.encode() + b"y" * 65536)[:131072]
            within = min(before + 9, 65536)
            for piece in (text[:within], text[within:65536], text[65536:]):
                os.write(1, piece)
                time.sleep(0.001)
os.write(1, b"\n" + told[:20].encode())         # it ends within the secret
sys.exit(3)
"""
    job = training(script, rows, env={"TOKEN": {"$env": "ACME", "format": "Bearer {}"}})
    with pytest.raises(TrainError, match="with status 3") as raised:
        job.result(120)
    log = (job.folder / "log").read_text()
    ended = (job.folder / "ended.json").read_text()
    assert log.count("***") > 20
    for shown in (log, ended, str(raised.value), job.log()):
        for part in ("Zq7vR-un", "unseen", "marker", "93kd"):
            assert part not in shown


def test_what_was_said_last_is_told_also_where_the_log_is_full(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOG_SIZE", 100)
    script = "import sys; print('x' * 200, flush=True); sys.exit('no room for the weights')"
    job = training(script, rows)
    with pytest.raises(TrainError, match="no room for the weights"):
        job.result(30)
    assert len(read(job.folder / "log")) == 100


def test_the_log_holds_no_part_of_a_secret_that_begins_as_another_does(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRST", "hunter")
    monkeypatch.setenv("SECOND", "hunter2-and-more")
    monkeypatch.setenv("ODD", "a\udcffb")  # a variable may hold bytes that are no UTF-8
    script = "import os, sys; sys.exit(os.environ['A'] + ' ' + os.environ['B'])"
    env = {name: {"$env": said} for name, said in {"A": "FIRST", "B": "SECOND", "C": "ODD"}.items()}
    job = training(script, rows, env=env)
    with pytest.raises(TrainError, match="with status 1"):
        job.result(30)
    assert job.log() == "*** ***\n"


def test_the_end_always_fits_into_the_room_that_is_kept_for_it() -> None:
    text = fit_exit({"code": 1, "why": "", "tail": "\x00" * 2048}, 4096)
    assert len(text) == 4096
    assert json.loads(text)["code"] == 1
    assert json.loads(fit_exit({"error": "none"}, 4096)) == {"error": "none"}


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
