"""The examples and the shipped profiles do what they say, with the real model that ships."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
QUESTION = "What is the capital of Japan?"


@pytest.fixture(autouse=True)
def _checkout(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder; without the local server nothing here means anything."""
    assert importlib.util.find_spec("xllamacpp"), "the examples need the extra `local`"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = machine / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


def python(*arguments: str) -> str:
    """Return what a Python process prints; what it says besides must be nothing."""
    ran = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    return ran.stdout


def lmconf(*arguments: str) -> str:
    return python("-m", "lmconf", *arguments)


def example(name: str, *arguments: str) -> list[str]:
    return python(str(ROOT / "examples" / name), *arguments).splitlines()


def checkout_files() -> set[Path]:
    """Return every file of the examples and the profiles, ignored ones too."""
    folders = (ROOT / "examples", ROOT / "profiles")
    found = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if "__pycache__" not in path.parts}


# The examples


@pytest.mark.slow
def test_the_demo_tells_its_story(machine: Path) -> None:
    before = checkout_files()
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples/demo.py")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    shown = ran.stdout.splitlines()
    assert [line for line in shown if line.startswith("$ ")] == [
        "$ lmconf validate demo",
        "$ lmconf validate misspelt.yaml",
        "$ lmconf show demo --origin",
        f'$ lmconf call demo "{QUESTION}" --verbose',
    ]
    assert " | ^^^^^^^^^ did you mean `max_tokens`?" in ran.stdout
    assert shown[shown.index(f'$ lmconf call demo "{QUESTION}" --verbose') + 1] == (
        "The capital of Japan is Tokyo."
    )
    assert ran.stderr.startswith("demo (lmconf-tiny), 20 + 13 tokens, ")
    assert [line for line in shown if line.startswith("(")] == [
        "('The capital of Japan is Tokyo.', True)",
        "('3 + 4 = 7.', False)",
        "('The capital of Japan is Tokyo.', True)",
    ]
    assert shown[shown.index(">>> same.spec == lm.spec") + 1] == "True"
    assert shown[-1].startswith("Every server that was started has ended.")
    assert checkout_files() == before
    assert [path for path in machine.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_named_profiles_are_asked_in_their_roles() -> None:
    before = checkout_files()
    assert example("named_profiles.py") == [
        "LMs: answerer, terse",
        "main: team:answerer with max_tokens 80",
        "['The capital of France is Paris.']",
        "['3 + 4 = 7.']",
        "['The capital of France is Paris.']",
        "calls of answerer: 2 of terse: 1",
        "the callback `audit` recorded: team:answerer, team:answerer, team:terse",
        "with other values: temperature 0.3 max_tokens 20",
    ]
    assert checkout_files() == before


@pytest.mark.slow
def test_an_experiment_is_repeated_from_its_kept_state(tmp_path: Path) -> None:
    before = checkout_files()
    kept = tmp_path / "kept"
    assert example("experiment.py", str(kept)) == [
        "temperature 0.0: answers from the kept state are the same",
        "temperature 0.7: answers from the kept state are the same",
        f"results and states are in {kept}",
    ]
    assert [path.name for path in sorted(kept.iterdir())] == [
        "t0.0.results.json",
        "t0.0.state.yaml",
        "t0.7.results.json",
        "t0.7.state.yaml",
    ]
    results = json.loads((kept / "t0.0.results.json").read_text())
    assert [result["answer"] for result in results] == [
        "The capital of Italy is Rome.",
        "2 + 5 = 7.",
        "The opposite of hot is cold.",
    ]
    assert "temperature: 0.7\n" in (kept / "t0.7.state.yaml").read_text()
    assert checkout_files() == before


def test_an_lm_of_ones_own_is_called_like_any_other() -> None:
    before = checkout_files()
    assert example("custom_lm.py") == [
        "saw a mat . | tokens: 4",
        "kept: True",
        "in pieces: ['.']",
        "async: ['cat sat on a mat .']",
        "'moon' is in no rhyme",
        "state: bigrams",
        "fake: ['twinkle'] ['little star']",
        "asked: ['the cat', 'the dog', 'the dog']",
    ]
    assert checkout_files() == before


@pytest.mark.slow
def test_a_dspy_program_takes_its_lm_from_a_profile() -> None:
    before = checkout_files()
    assert example("dspy_program.py") == [
        "asked: Tokyo (The capital of Japan is Tokyo.)",
        "streamed: The capital of France is Paris.",
        "scored: 100.0",
        "loaded: 7, with max_tokens 60",
        "asked again, from the cache: no tokens",
    ]
    assert checkout_files() == before


def test_every_profile_of_the_repository_is_valid() -> None:
    files = [ROOT / folder for folder in ("examples", "profiles")]
    count = sum(len(list(folder.rglob("*.yaml"))) for folder in files)
    assert lmconf("validate", "--strict", *map(str, files)) == f"{count} profiles, all valid\n"


def test_a_deployment_tells_which_file_says_what() -> None:
    production = ROOT / "examples/deployment/production.yaml"
    told = {
        line.split("  # ")[0].strip(): line.split("  # ")[1]
        for line in lmconf("show", f"{production}:support", "--origin").splitlines()
        if "  # " in line
    }
    assert told["model: openai/gpt-4o"].startswith(str(production.with_name("base.yaml")))
    assert told["deadline: 2min"].startswith(str(production))
    assert told["cache_in_memory: true"] == "default"


# The shipped profiles


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_is_explained_and_needs_no_variable_to_be_shown(name: str) -> None:
    lines = (ROOT / "profiles" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../schemas/lmconf.v1.json"
    assert lines[2].startswith(f"# {name}: ")
    assert lines[2].endswith(".")
    assert any(line.startswith(f"#   lmconf call {name} ") for line in lines)
    # The isolated home has no variable that a profile could read, and no folder `profiles`.
    assert lmconf("show", name).startswith("lmconf: 1\n")


# What a call leaves behind


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="reads the table of processes"
)


def processes_of(home: Path) -> list[int]:
    """Return the processes whose environment holds `home`: those that this test brought about."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or is another user's
            continue
        if f"HOME={home}".encode() in environment:
            found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


def server_pids(home: Path) -> list[int]:
    """Return the process ids that the supervisors of this home noted for their servers."""
    return [int(path.read_text()) for path in home.rglob("servers/*/pid")]


@needs_proc
@pytest.mark.slow
def test_a_call_leaves_no_process_behind(machine: Path) -> None:
    assert lmconf("call", "demo", QUESTION) == "The capital of Japan is Tokyo.\n"
    assert len(server_pids(machine)) == 1
    assert processes_of(machine) == []


@needs_proc
@pytest.mark.slow
def test_a_call_that_is_killed_leaves_no_process_behind(machine: Path) -> None:
    """Nothing of the killed process runs any code: the supervisor sees it by itself."""
    endless = ("--set", "max_tokens=100000", "--set", "extra={ignore_eos: true}")
    process = subprocess.Popen(
        [sys.executable, "-m", "lmconf", "call", "demo", QUESTION, "--stream", *endless],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.read(1) == b"T"
        (server,) = server_pids(machine)
        running = processes_of(machine)
        assert {process.pid, server} < set(running), "the server or its supervisor is not seen"
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    end = time.monotonic() + 2
    while (left := processes_of(machine)) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == []
