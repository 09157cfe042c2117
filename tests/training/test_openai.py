"""Training by OpenAI's API and Azure's, against a peer that the official SDK understands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.errors import TrainError
from lmconf.trainers import http
from lmconf.training.job import TrainingJob
from tests.training.openai_peer import KEY, Peer
from tests.watching import until

Rows = list[dict[str, Any]]


def an_lm(peer: Peer, **settings: Any) -> lmconf.LM:
    stated: dict[str, Any] = {
        "model": "openai/gpt-4o-mini-2024-07-18",
        "api_base": peer.base,
        "api_key": lmconf.Env("PEER_KEY"),
        "train_kwargs": {"n_epochs": 2, "suffix": "house", "poll": 0.02},
        "cache": False,
        "num_retries": 0,
    }
    stated.update(settings)
    return lmconf.LM(stated.pop("model"), **stated)


def test_a_training_ends_with_an_lm_that_answers(peer: Peer, rows: Rows) -> None:
    lm = an_lm(peer)
    job = lm.finetune(rows, "chat")
    trained = job.result(30)
    assert trained.model == "openai/ft:gpt-4o-mini-2024-07-18:peer:house:000001"
    assert trained("Which colour has the sky?") == ["trained"]
    assert lm("Which colour has the sky?") == ["untrained"]
    (sent,) = peer.jobs.values()
    assert sent["method"]["supervised"]["hyperparameters"]["n_epochs"] == 2
    assert job.progress["trained_tokens"] == 4321
    assert "Fine-tuning job started" in job.log()
    assert [json.loads(line) for line in peer.contents["file-00000001"].splitlines()] == rows


def test_a_trained_lm_comes_back_from_its_state(peer: Peer, rows: Rows) -> None:
    trained = an_lm(peer).finetune(rows).result(30)
    assert trained.spec.provenance["trained_from"] == "openai/gpt-4o-mini-2024-07-18"
    assert trained.spec.provenance["data"].startswith("sha256:")
    assert trained.spec.base_model == "openai/gpt-4o-mini-2024-07-18"
    for state in (trained.dump_state(), trained.dump_state("minimal")):
        again = lmconf.load_state(state)
        assert isinstance(again, lmconf.LM)
        assert again == trained
        assert again("Hello") == ["trained"]


def test_the_model_for_finetuning_is_the_one_that_is_trained(peer: Peer, rows: Rows) -> None:
    lm = an_lm(peer, model="openai/gpt-4o-mini", finetuning_model="openai/gpt-4.1-nano")
    assert lm.finetune(rows).result(30).model.startswith("openai/ft:gpt-4.1-nano:")


def test_a_model_for_finetuning_without_a_provider_is_one_of_the_lms(
    peer: Peer, rows: Rows
) -> None:
    lm = an_lm(peer, finetuning_model="gpt-4.1-nano")
    assert lm.finetune(rows).result(30).model.startswith("openai/ft:gpt-4.1-nano:")


def test_azure_is_asked_at_its_own_paths(peer: Peer, rows: Rows) -> None:
    lm = an_lm(peer, model="azure/gpt-4o-mini", api_base=peer.address, api_version="2024-10-21")
    trained = lm.finetune(rows).result(30)
    assert trained.model.startswith("azure/ft:gpt-4o-mini")
    assert all(" /openai/" in request for request in peer.requests)


def test_preferences_are_trained_by_dpo(peer: Peer) -> None:
    said = {"role": "assistant", "content": "Yes."}
    row = {
        "input": {"messages": [{"role": "user", "content": "Well?"}]},
        "preferred_output": [said],
        "non_preferred_output": [{**said, "content": "No."}],
    }
    an_lm(peer).finetune([row] * 10, train_kwargs={"beta": 0.2}).result(30)
    (sent,) = peer.jobs.values()
    assert sent["method"]["type"] == "dpo"
    assert sent["method"]["dpo"]["hyperparameters"]["beta"] == 0.2


def test_what_is_measured_on_is_checked_and_sent_beside_the_data(
    peer: Peer, rows: Rows, tmp_path: Path
) -> None:
    path = tmp_path / "measured.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(rows[0]).encode() + b"\r\n")
    job = an_lm(peer).finetune(rows, train_kwargs={"validation_data": str(path)})
    path.unlink()  # the job has its own
    job.result(30)
    (sent,) = peer.jobs.values()
    assert json.loads(peer.contents[sent["validation_file"]]) == rows[0]


def test_a_failed_job_raises_what_the_server_says(peer: Peer, rows: Rows) -> None:
    peer.ending = "failed"
    job = an_lm(peer).finetune(rows)
    with pytest.raises(TrainError, match=r"invalid training file\. \(invalid_file, training_file"):
        job.result(30)
    assert job.status() == "failed"
    assert isinstance(job.exception(), TrainError)


def test_a_cancelled_job_is_cancelled_at_the_server(peer: Peer, rows: Rows) -> None:
    peer.hold = True
    job = an_lm(peer).finetune(rows)
    until(lambda: bool(peer.jobs))
    assert job.cancel()
    assert next(iter(peer.jobs.values()))["status"] == "cancelled"
    with pytest.raises(TrainError, match="was cancelled"):
        job.result(30)
    assert not job.cancel()


def test_a_job_that_ended_before_it_was_cancelled_is_what_it_came_to(
    peer: Peer, rows: Rows
) -> None:
    peer.hold = True
    job = an_lm(peer, train_kwargs={"poll": "1h"}).finetune(rows)
    until(lambda: "job" in lmconf.job(job.id).record.kept)
    (sent,) = peer.jobs.values()
    sent |= {"status": "succeeded", "fine_tuned_model": "ft:done"}
    assert not job.cancel()
    assert job.result(5).model == "openai/ft:done"


def test_a_training_that_takes_too_long_is_cancelled_at_the_server(peer: Peer, rows: Rows) -> None:
    peer.hold = True
    job = an_lm(peer).finetune(rows, train_kwargs={"timeout": "500ms"})
    with pytest.raises(TrainError, match=r"took longer than its `timeout` of 0.5s, and was cancel"):
        job.result(30)
    assert next(iter(peer.jobs.values()))["status"] == "cancelled"


def test_a_key_that_is_refused_after_the_data_was_sent_gives_nothing_up(
    peer: Peer, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.drop_answer_to_job = True
    upload = http.upload

    def then_rotated(*arguments: Any) -> dict[str, Any]:
        told = upload(*arguments)
        monkeypatch.setenv("PEER_KEY", "another")
        return told

    monkeypatch.setattr(http, "upload", then_rotated)
    job = an_lm(peer).finetune(rows)
    until(lambda: (job.trouble is not None and "API key" in str(job.trouble)) or job.done())
    assert job.record.status == "queued"
    assert len(peer.files) == 1
    monkeypatch.setenv("PEER_KEY", KEY)
    assert job.result(30)("Hello") == ["trained"]
    assert (len(peer.files), len(peer.jobs)) == (1, 1)


def test_a_refused_job_leaves_no_file_at_the_server(peer: Peer, rows: Rows) -> None:
    peer.refuse_jobs = True
    job = an_lm(peer).finetune(rows)
    with pytest.raises(TrainError, match="is not available for fine-tuning"):
        job.result(30)
    assert peer.files == {}


def test_another_process_goes_on_with_a_job(peer: Peer, rows: Rows) -> None:
    peer.hold = True
    job = an_lm(peer).finetune(rows)
    until(lambda: "job" in lmconf.job(job.id).record.kept)
    peer.hold = False
    again = lmconf.job(job.id)
    assert again.result(30)("Hello") == ["trained"]
    assert len(peer.jobs) == 1


@pytest.mark.parametrize("azure", [False, True], ids=["openai", "azure"])
def test_an_answer_that_was_lost_starts_no_second_job(peer: Peer, rows: Rows, azure: bool) -> None:
    peer.drop_answer_to_job = True
    own = {"model": "azure/m", "api_base": peer.address, "api_version": "2024-10-21"}
    job = an_lm(peer, **(own if azure else {})).finetune(rows)
    assert ":peer:house:" in job.result(30).model
    assert len(peer.jobs) == 1


def test_a_server_that_is_down_for_a_while_is_asked_again(peer: Peer, rows: Rows) -> None:
    peer.hold = True
    job = an_lm(peer).finetune(rows)
    until(lambda: "job" in lmconf.job(job.id).record.kept)
    peer.hold, peer.down = False, 2
    assert job.result(30)("Hello") == ["trained"]


def test_a_wrong_key_is_told_and_shown_nowhere(
    peer: Peer, rows: Rows, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = "wrong-marker-of-a-key-987"
    monkeypatch.setenv("PEER_KEY", marker)
    job = an_lm(peer).finetune(rows)
    with pytest.raises(TrainError, match="Incorrect API key") as caught:
        job.result(30)
    assert marker in peer.keys
    assert marker not in str(caught.value) + repr(job.record) + everything_in(state)


def test_a_key_is_in_no_file_of_a_job(peer: Peer, rows: Rows, state: Path) -> None:
    lm = an_lm(peer, api_key=KEY)
    job = lm.finetune(rows)
    trained = job.result(30)
    assert trained("Hello") == ["trained"]
    assert KEY not in everything_in(state) + repr(job.record) + repr(trained.dump_state())
    for path in state.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    with pytest.raises(TrainError, match="value from code"):
        unfinished(job).status()


def test_too_few_rows_are_told_before_anything_is_sent(peer: Peer, rows: Rows, state: Path) -> None:
    with pytest.raises(TrainError, match="has 9 rows, and this trainer needs 10 or more"):
        an_lm(peer).finetune(rows[:9])
    assert peer.requests == []
    assert not state.exists()


def unfinished(job: TrainingJob) -> TrainingJob:
    """Return the job as a process finds it that knows nothing but its folder."""
    path = job.folder / "job.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "status": "running", "made": None}))
    return lmconf.job(job.id)


def everything_in(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode("utf-8", "replace") for path in files)
