"""`lmconf train` and `lmconf jobs`, from the data to an LM that is declared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.cli import run
from tests.training.openai_peer import Peer

PROFILE = """\
# kept
lms:
  house:
    model: openai/gpt-4o-mini
    api_base: {base}
    api_key: {{$env: PEER_KEY}}
    cache: false
    train_kwargs: {{n_epochs: 2, poll: 0.02}}
  own:
    model: openai/own
    api_key: ""
    api_base: http://127.0.0.1:9
    train_kwargs:
      use: command
      command: [{python}, -c, "import sys, time; time.sleep(600)"]
main: house
"""


class Ran:
    """What one run of the command line came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def profile(tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "project/lmconf.yaml"
    (tmp_path / "project/.git").mkdir(parents=True)
    path.write_text(PROFILE.format(base=peer.base, python=sys.executable))
    monkeypatch.chdir(path.parent)
    return path


@pytest.fixture
def command(profile: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def ran(*arguments: str) -> Ran:
        code = run(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


def test_a_training_that_is_followed_ends_with_a_declared_lm(
    command: Any, profile: Path, file: Path
) -> None:
    ran = command("train", "lmconf", str(file), "--follow", "--save-as", "ours")
    assert ran.code == 0, ran.err
    assert "declared as `ours`" in ran.out
    assert "Fine-tuning job started" in ran.err
    assert profile.read_text().startswith("# kept\n")
    loaded = lmconf.load(profile)
    assert loaded["ours"]("Hello") == ["trained"]
    assert loaded["ours"].spec.provenance["rows"] == 12


def test_a_job_that_was_left_is_waited_for_and_declared_later(
    command: Any, profile: Path, file: Path, peer: Peer
) -> None:
    peer.hold = True
    ran = command("train", "lmconf:house", str(file), "--save-as", "later")
    assert ran.code == 0, ran.err
    job = ran.out.strip()
    assert f"{job}  running" in command("jobs", "list").out
    told = json.loads(command("jobs", "show", job, "--json").out)
    assert (told["status"], told["rows"]) == ("running", 12)
    assert "later" not in profile.read_text()
    peer.hold = False
    assert command("jobs", "wait", job[-6:]).code == 0
    assert lmconf.load(profile)["later"]("Hello") == ["trained"]
    again = command("jobs", "wait", job)
    assert again.code == 0
    assert f"{job} succeeded" in again.out
    assert "error" not in again.err


def test_a_command_beside_its_profile_is_found_from_every_folder(
    command: Any, profile: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = profile.parent / "train.sh"
    program.write_text('#!/bin/sh\necho \'{"model": "openai/made"}\' >"$1/result.json"\n')
    program.chmod(0o755)
    profile.write_text(
        profile.read_text().replace(
            f'[{sys.executable}, -c, "import sys, time; time.sleep(600)"]',
            '[./train.sh, "{output}"]',
        )
    )
    monkeypatch.chdir(tmp_path)
    ran = command("train", f"{profile}:own", str(file), "--follow")
    assert ran.code == 0, ran.err
    assert "succeeded: openai/made" in ran.out


def test_data_that_is_not_there_is_wrong_input(command: Any) -> None:
    ran = command("train", "lmconf", "nowhere.jsonl")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: nowhere.jsonl cannot be read: no such file or directory\n"
    assert command("jobs", "list").err == "there are no jobs\n"


def test_a_key_that_is_missing_is_told_once(
    command: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PEER_KEY")
    ran = command("train", "lmconf", str(file), "--follow")
    assert ran.code == 5
    assert "lmconf:house cannot be reached: environment variable " in ran.err
    assert ran.err.count("lmconf:house") == 1


def test_a_failed_job_is_exit_code_5(command: Any, file: Path, peer: Peer) -> None:
    peer.ending = "failed"
    ran = command("train", "lmconf", str(file), "--follow", "--save-as", "ours")
    assert ran.code == 5
    assert "invalid training file" in ran.err


def test_a_job_is_cancelled(command: Any, file: Path) -> None:
    job = command("train", "lmconf:own", str(file)).out.strip()
    assert command("jobs", "cancel", job).out == f"{job} cancelled\n"
    assert command("jobs", "cancel", job).out == f"{job} has already ended: cancelled\n"
    assert "status:   cancelled" in command("jobs", "show", job).out
    assert command("jobs", "wait", job).code == 5


def test_bad_data_is_exit_code_1_and_begins_nothing(
    command: Any, tmp_path: Path, peer: Peer, state: Path
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"messages": []}\n{broken\n')
    ran = command("train", "lmconf", str(bad))
    assert ran.code == 1
    assert "line 1: `messages` is empty" in ran.err
    assert "line 2: broken JSON" in ran.err
    assert (peer.requests, state.exists()) == ([], False)


def test_wrong_names_are_told(command: Any, file: Path) -> None:
    assert "there is no job 'zzz'" in command("jobs", "show", "zzz").err
    taken = command("train", "lmconf", str(file), "--save-as", "own")
    assert (taken.code, "it has an LM named 'own' already" in taken.err) == (2, True)
    assert command("jobs", "wait", "x", "--save-as", "y").code == 2


def test_what_cannot_be_declared_is_told_before_anything_is_begun(
    command: Any, profile: Path, file: Path, peer: Peer, state: Path
) -> None:
    named = command("train", "lmconf", str(file), "--save-as", "a b")
    assert (named.code, "'a b' is not a valid name for an LM" in named.err) == (2, True)
    profile.with_name("one.yaml").write_text("model: openai/a\n")
    one = command("train", "./one.yaml", str(file), "--save-as", "ours")
    assert (one.code, "is a profile of one LM" in one.err) == (2, True)
    assert "Without it the trained LM is printed." in one.err
    profile.chmod(0o444)
    assert "is read-only" in command("train", "lmconf", str(file), "--save-as", "ours").err
    assert (peer.requests, state.exists()) == ([], False)


def test_a_profile_that_changed_meanwhile_stays_what_it_is(
    command: Any, profile: Path, file: Path, peer: Peer
) -> None:
    peer.hold = True
    job = command("train", "lmconf", str(file), "--save-as", "ours").out.strip()
    profile.write_text("model: openai/a\n")
    peer.hold = False
    ran = command("jobs", "wait", job)
    assert (ran.code, "is a profile of one LM" in ran.err) == (1, True)
    assert ran.out.splitlines()[1:3] == ["ours:", '  model: "openai/ft:gpt-4o-mini:peer::000001"']
    assert profile.read_text() == "model: openai/a\n"


def test_two_that_wait_declare_once_and_another_place_may_be_named_later(
    command: Any, profile: Path, file: Path, peer: Peer, state: Path
) -> None:
    job = command("train", "lmconf", str(file), "--save-as", "ours", "--follow").out.split()[0]
    path = state / "jobs" / job / "job.json"
    text = profile.read_text()
    path.write_text(path.read_text().replace('"saved": true', '"saved": false'))
    again = command("jobs", "wait", job)  # as one whose first declaring was not noted
    assert (again.code, profile.read_text()) == (0, text)
    other = profile.with_name("other.yaml")
    other.write_text("lms:\n  a:\n    model: openai/a\n")
    assert command("jobs", "wait", job, "--save-as", "x", "--profile", str(other)).code == 0
    assert "x" in lmconf.load(other)


def test_the_waiting_ends_and_the_job_goes_on(command: Any, file: Path, peer: Peer) -> None:
    peer.hold = True
    job = command("train", "lmconf", str(file)).out.strip()
    ran = command("jobs", "wait", job, "--timeout", "300ms")
    assert (ran.code, ran.err.splitlines()[-1]) == (6, f"the job {job} is still running")
    assert "`10min`" in command("jobs", "wait", job, "--timeout", "soon").err
    assert command("jobs", "cancel", job).code == 0


def test_a_key_that_is_refused_ends_the_waiting(
    command: Any, file: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.hold = True
    job = command("train", "lmconf", str(file)).out.strip()
    monkeypatch.setenv("PEER_KEY", "another")
    ran = command("jobs", "wait", job)
    assert (ran.code, "Incorrect API key" in ran.err) == (1, True)


def test_a_long_log_is_shown_to_its_end(command: Any, profile: Path, file: Path) -> None:
    said = "import sys; [print('line', n, 'x' * 100) for n in range(2000)]; sys.exit('the end')"
    text = profile.read_text()
    profile.write_text(text.replace("import sys, time; time.sleep(600)", said))
    ran = command("train", "lmconf:own", str(file), "--follow")
    assert ran.code == 5
    shown = [line.split()[1] for line in ran.err.splitlines() if line.startswith("line ")]
    assert shown[:2000] == [str(number) for number in range(2000)]


def test_a_job_whose_name_is_mistyped_is_guessed(command: Any, file: Path) -> None:
    job = command("train", "lmconf:own", str(file)).out.strip()
    wrong = job[:-1] + ("0" if job[-1] != "0" else "1")
    ran = command("jobs", "show", wrong)
    assert (ran.code, f"did you mean {job!r}?" in ran.err) == (1, True)
    assert command("jobs", "cancel", job).code == 0
