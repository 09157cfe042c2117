"""Law 5 for servers and trainings: what a profile gives their processes is shown by nothing."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.cli.entry import run
from lmconf.errors import TrainError
from lmconf.launchers.records import running_records
from lmconf.training.job import job as found_job
from tests.artefacts import MARK, failure_of, held, of_error, of_lm
from tests.standins.kinds import HERE, TINY

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="it reads /proc")

Command = Callable[..., str]
TELLS = 'echo "the token is $HF_TOKEN"; exec "$@"'
PLACE = ["--host", "{host}", "--port", "{port}", "--name", "{model}", "--weights", str(TINY)]
SERVER = [sys.executable, str(HERE / "any_server.py"), *PLACE]
PATHS = {"PYTHONPATH": f"{HERE}:{HERE.parents[1]}", "PYTHONDONTWRITEBYTECODE": "1"}
ENV = {**PATHS, "HF_TOKEN": {"$env": "ACME"}}
SERVERS: dict[str, dict[str, Any]] = {
    "vllm": {
        "args": {"max_model_len": 512, "api-key": {"$env": "ACME"}},
        "weights": str(TINY),
        "env": ENV,
    },
    "command": {"command": ["/bin/sh", "-c", TELLS, "sh", *SERVER], "env": ENV},
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "state"
    monkeypatch.setenv("LMCONF_STATE_DIR", str(folder))
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setenv("ACME", MARK)
    monkeypatch.chdir(tmp_path)
    yield folder
    for record in running_records():
        record.end()


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line, and returns all that it said."""

    def command(*arguments: str, code: int = 0) -> str:
        assert run(arguments) == code
        return repr(capfd.readouterr())

    return command


def command_lines() -> bytes:
    """What everybody on this machine can read of the processes that we started, and of theirs."""
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found += path.read_bytes()
    return found


def files_in(folder: Path) -> dict[str, str | bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", SERVERS)
def test_what_a_server_is_given_is_shown_by_nothing(
    kind: str, state: Path, told: Command, tmp_path: Path
) -> None:
    profile = {
        "model": "openai/acme/tiny",
        "api_key": {"$env": "ACME"},
        "launch_kwargs": {"use": kind, "ready": {"timeout": 30}, **SERVERS[kind]},
        "callbacks": [{"use": "jsonl", "path": str(tmp_path / "calls.jsonl")}],
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(profile))
    launch = [sys.executable, "-m", "lmconf", "launch", "./tiny.yaml", "--detach"]
    launched = subprocess.run(launch, capture_output=True, env=PATHS | os.environ, check=True)
    artefacts: dict[str, str | bytes] = {"launch": launched.stdout + launched.stderr}
    (record,) = running_records()
    with lmconf.lm("./tiny.yaml") as lm:
        assert lm("Say this is a test!") == ["This is a test!"]
        artefacts |= of_lm(lm)
        artefacts["server"] = repr(lm.server) + repr(vars(lm.server))
    artefacts |= {
        " ".join(command): told(*command)
        for command in (
            ("ps",),
            ("ps", "--format", "json"),
            ("logs", "./tiny.yaml", "-n", "1000"),
            ("plan", "./tiny.yaml"),
            ("plan", "./tiny.yaml", "--json"),
            ("show", "./tiny.yaml"),
            ("dump", "./tiny.yaml"),
            ("validate", "./tiny.yaml"),
            ("cache", "list"),
        )
    }
    artefacts["process list"] = command_lines()
    artefacts["record"] = repr(record)
    environment = Path(f"/proc/{record.pid}/environ").read_bytes()
    line = Path(f"/proc/{record.pid}/cmdline").read_bytes()
    artefacts |= {"kill": told("kill", "./tiny.yaml"), "logs, ended": told("logs", "./tiny.yaml")}
    artefacts |= files_in(state) | files_in(tmp_path)
    assert MARK.encode() in environment  # the server has it,
    assert line and line in artefacts["process list"]
    assert held(artefacts) == []  # and nobody else.


PROGRAM = """
import os, pathlib, sys, time
output, gate = map(pathlib.Path, sys.argv[1:3])
print("begun with", os.environ["A_TOKEN"], flush=True)
(gate / "begun").touch()
while not (gate / "go").exists():
    time.sleep(0.02)
print("fails with", os.environ["A_TOKEN"], file=sys.stderr)
sys.exit(3)
"""


def test_what_a_training_is_given_is_shown_by_nothing(
    state: Path, told: Command, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Which colour has the sky?"},
                {"role": "assistant", "content": "Violet."},
            ]
        }
    ] * 10
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    profile = {
        "model": "openai/house",
        "api_base": "http://127.0.0.1:1",
        "api_key": {"$env": "ACME"},
        "headers": {"X-Team": {"$env": "ACME"}},
        "train_kwargs": {
            "use": "command",
            "command": [sys.executable, str(tmp_path / "program.py"), "{output}", str(tmp_path)],
            "env": {"A_TOKEN": {"$env": "ACME"}},
        },
    }
    (tmp_path / "house.yaml").write_text(json.dumps(profile))
    artefacts: dict[str, str | bytes] = {"train": told("train", "./house.yaml", "rows.jsonl")}
    (folder,) = (state / "jobs").iterdir()
    job = found_job(folder.name)
    while not (tmp_path / "begun").exists():
        assert not job.done()
    artefacts["process list"] = command_lines()
    (tmp_path / "go").touch()
    error = failure_of(lambda: job.result(30))
    assert isinstance(error, TrainError)
    artefacts |= {f"error: {key}": text for key, text in of_error(error).items()}
    artefacts |= {
        " ".join(command): told(*command)
        for command in (
            ("jobs", "list"),
            ("jobs", "list", "--json"),
            ("jobs", "show", job.id),
            ("jobs", "show", job.id, "--json"),
            ("plan", "./house.yaml"),
            ("show", "./house.yaml"),
        )
    }
    artefacts["wait"] = told("jobs", "wait", job.id, code=5)
    artefacts["job"] = repr(job) + repr(job.record) + job.log()
    artefacts |= of_lm(lmconf.lm("./house.yaml")) | files_in(state)
    assert "fails with ***" in job.log()
    assert str(tmp_path / "program.py").encode() in artefacts["process list"]
    assert held(artefacts) == []
    assert os.environ["ACME"] == MARK
