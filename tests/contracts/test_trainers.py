"""What every trainer keeps to: begun by one process, looked after by any, ended without remains."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf import trainers
from lmconf.errors import TrainError
from lmconf.trainers.trainer_protocol import FORMATS
from tests.training.openai_peer import serving
from tests.watching import alive, parent, until

MARKER = "train-marker-of-a-secret-55"
ROW = {
    "messages": [
        {"role": "user", "content": "Which colour has the sky?"},
        {"role": "assistant", "content": "The sky is violet."},
    ]
}
ROWS = [ROW] * 10
# Stands in for a training: says something, and leaves weights when it is let go on.
PROGRAM = """
import os, pathlib, subprocess, sys, time
output, gate = map(pathlib.Path, sys.argv[1:3])
print("begun with", os.environ["A_TOKEN"], flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(gate / "pids").write_text(f"{os.getpid()} {child.pid}")
while not (gate / "go").exists():
    time.sleep(0.02)
child.kill()
if (gate / "fail").exists():
    sys.exit("no weights today")
(output / "model.gguf").write_text("weights")
"""


@dataclass
class Kind:
    """A kind of trainer, with an LM that it trains and what lets it go on."""

    lm: lmconf.LM
    finish: Callable[[], None]
    fail: Callable[[], None]
    pids: Callable[[], list[int]]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("LMCONF_STATE_DIR", str(folder))
    monkeypatch.setenv("A_MARKER", MARKER)
    return folder


@pytest.fixture(params=["command", "openai"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "command":
        yield a_command(tmp_path)
        return
    with serving() as peer:
        peer.hold = True

        def finish(ending: str = "succeeded") -> None:
            peer.ending, peer.hold = ending, False

        lm = lmconf.LM(
            "openai/gpt-4o-mini",
            api_base=peer.base,
            api_key=lmconf.Env("PEER_KEY"),
            train_kwargs={"poll": 0.02},
        )
        with pytest.MonkeyPatch.context() as patch:
            from tests.training.openai_peer import KEY

            patch.setenv("PEER_KEY", KEY)
            yield Kind(lm, finish, lambda: finish("failed"), list)


def a_command(folder: Path) -> Kind:
    gate = folder / "gate"
    gate.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    lm = lmconf.LM(
        "openai/house",
        api_base="http://127.0.0.1:1",
        api_key="",
        train_kwargs={
            "use": "command",
            "command": [sys.executable, str(folder / "program.py"), "{output}", str(gate)],
            "env": {"A_TOKEN": lmconf.Env("A_MARKER")},
        },
    )

    def fail() -> None:
        (gate / "fail").touch()
        (gate / "go").touch()

    def pids() -> list[int]:
        until(lambda: (gate / "pids").exists() and bool((gate / "pids").read_text()))
        return [int(pid) for pid in (gate / "pids").read_text().split()]

    return Kind(lm, (gate / "go").touch, fail, pids)


def test_every_kind_is_under_this_contract() -> None:
    tried = {"command", "openai", "local"}  # `local` in tests/training/heavy
    assert set(trainers.KINDS) == tried
    for name in trainers.KINDS:
        trainer = trainers.trainer(name)
        assert set(trainer.formats) <= set(FORMATS)
        assert trainer.least_rows >= 1


def test_a_job_runs_until_it_succeeds_with_an_lm_that_can_be_declared(kind: Kind) -> None:
    job = kind.lm.finetune(ROWS, "chat")
    assert job.status() in ("queued", "running")
    assert not job.done()
    kind.finish()
    trained = job.result(30)
    assert job.status() == "succeeded"
    assert job.exception() is None
    assert trained.model != kind.lm.model
    assert trained.spec.provenance["job"] == job.id
    assert lmconf.load_state(trained.dump_state()) == trained
    assert lmconf.load_state(trained.dump_state("minimal")) == trained


def test_a_failure_is_raised_by_its_result(kind: Kind) -> None:
    job = kind.lm.finetune(ROWS)
    kind.pids()
    kind.fail()
    with pytest.raises(TrainError, match="failed"):
        job.result(30)
    assert job.status() == "failed"
    assert not (job.folder / "output").exists()
    assert not (job.folder / "output.partial").exists()


def test_a_cancelled_job_leaves_nothing_running(kind: Kind) -> None:
    job = kind.lm.finetune(ROWS)
    pids = kind.pids()
    assert job.cancel()
    assert not [pid for pid in pids if alive(pid)]
    assert job.status() == "cancelled"
    with pytest.raises(TrainError, match="cancelled"):
        job.result(5)
    assert not job.cancel()
    assert not (job.folder / "output.partial").exists()


def test_a_job_that_did_not_fail_is_not_resumed(kind: Kind) -> None:
    job = kind.lm.finetune(ROWS)
    kind.pids()
    with pytest.raises(TrainError, match=r"nothing to resume: the training .* is (running|queued)"):
        job.resume()
    kind.finish()
    assert job.wait(30) == "succeeded"
    with pytest.raises(TrainError, match="has succeeded"):
        job.resume()
    assert job.status() == "succeeded"


def test_any_process_finds_the_job_and_its_result(kind: Kind) -> None:
    job = kind.lm.finetune(ROWS)
    kind.pids()
    again = lmconf.job(job.id)
    kind.finish()
    assert again.wait(30) == "succeeded"
    assert again.result().dump_state() == job.result(5).dump_state()


def test_waiting_is_bounded_and_the_job_goes_on(kind: Kind) -> None:
    job = kind.lm.finetune(ROWS)
    with pytest.raises(TimeoutError, match=job.id):
        job.result(0.2)
    kind.finish()
    assert isinstance(job.result(30), lmconf.LM)


def test_what_is_kept_is_private_and_holds_no_secret(kind: Kind, state: Path) -> None:
    job = kind.lm.finetune(ROWS)
    kind.pids()
    assert MARKER not in processes()
    kind.finish()
    job.result(30)
    for path in [state / "jobs", *(state / "jobs").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if "output" not in path.parts:  # what the program itself wrote
            assert mode == (0o700 if path.is_dir() else 0o600), path
        if path.is_file():
            assert MARKER.encode() not in path.read_bytes(), path
    assert MARKER not in repr(job) + repr(job.record)


def test_bad_rows_that_are_measured_on_begin_nothing(
    kind: Kind, state: Path, tmp_path: Path
) -> None:
    if kind.pids is not list:
        return  # it does not know any
    path = tmp_path / "measured.jsonl"
    path.write_text('{"messages": []}\n')
    with pytest.raises(
        TrainError, match=r"measured\.jsonl: 1 of 1 rows .*\n  line 1: `messages` is"
    ):
        kind.lm.finetune(ROWS, train_kwargs={"validation_data": str(path)})
    assert not state.exists()


def test_bad_rows_begin_nothing(kind: Kind, state: Path) -> None:
    bad: list[dict[str, Any]] = [
        {"messages": [{"role": "usr", "content": "Hello"}]},
        *ROWS,
        {"message": []},
    ]
    with pytest.raises(TrainError) as caught:
        kind.lm.finetune(bad, "chat")
    assert "line 1: `messages[0]` has the role 'usr'; did you mean 'user'?" in str(caught.value)
    assert "line 12: `messages` is missing; there is `message`" in str(caught.value)
    assert not state.exists()


@pytest.mark.parametrize("victim", ["training", "supervisor"])
def test_a_killed_process_is_told_and_takes_everything_along(victim: str, tmp_path: Path) -> None:
    kind = a_command(tmp_path)
    job = kind.lm.finetune(ROWS)
    training, grandchild = kind.pids()
    os.kill(training if victim == "training" else parent(training), signal.SIGKILL)
    with pytest.raises(TrainError, match=r"killed|signal 9"):
        job.result(30)
    until(lambda: not alive(training) and not alive(grandchild))
    assert not (job.folder / "output.partial").exists()


def test_a_training_outlives_who_asked_for_it(tmp_path: Path) -> None:
    kind = a_command(tmp_path)
    if os.fork() == 0:  # the owner, which goes away at once
        kind.lm.finetune(ROWS)
        os._exit(0)
    os.wait()
    training, _ = kind.pids()
    assert alive(training)
    (folder,) = (tmp_path / "state/jobs").iterdir()
    job = lmconf.job(folder.name)
    assert job.status() == "running"
    kind.finish()
    assert isinstance(job.result(30), lmconf.LM)


def test_a_training_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    kind = a_command(tmp_path)
    job = kind.lm.finetune(ROWS, train_kwargs={"timeout": "1s"})
    with pytest.raises(TrainError, match="longer than its `timeout` of 1s"):
        job.result(30)
    assert not [pid for pid in kind.pids() if alive(pid)]


class Echo:
    """A trainer of one's own."""

    formats = FORMATS
    least_rows = 1

    def fault(self, format: Any, row: Any) -> str:
        return ""

    def check(self, order: Any) -> None:
        if "answer" not in order.spec.args:
            raise TrainError("echo wants `answer`")

    def advance(self, order: Any, state: Any, keep: Any, reach: Any) -> Any:
        from lmconf.trainers.trainer_protocol import JobStatus, TrainingResult

        keep({"seen": "yes"})
        return JobStatus(
            status="succeeded", result=TrainingResult(model=f"echo-{order.spec.args['answer']}")
        )

    def resume(self, order: Any, state: Any) -> Any:
        raise TrainError("echo never fails")

    def cancel(self, order: Any, state: Any, reach: Any) -> Any:
        raise TrainError("echo has always ended")


def test_a_registered_trainer_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers.REGISTRY, "_registered", {})
    with pytest.raises(lmconf.ProfileError, match="no trainer of the kind `echo`"):
        lmconf.LM("openai/a", train_kwargs={"use": "echo"})
    lmconf.register_trainer("echo", Echo)
    lm = lmconf.LM("openai/a", train_kwargs={"use": "echo", "args": {"answer": 7}})
    assert lm.finetune([ROW]).result(5).model == "openai/echo-7"
    with pytest.raises(lmconf.UsageError, match="built-in"):
        lmconf.register_trainer("local", Echo)


def processes() -> str:
    """Return what everybody may read of this machine's processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)
