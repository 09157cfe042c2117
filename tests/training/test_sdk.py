"""The peer is no fiction of ours: the official SDK does the same with it, and reads every answer."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

from tests.training.openai_peer import KEY, Peer


@pytest.fixture
def client(peer: Peer) -> Iterator[openai.OpenAI]:
    """The SDK, which takes no answer that is not as its types say."""
    with openai.OpenAI(
        base_url=peer.base, api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


def sent(client: openai.OpenAI, rows: list[dict[str, Any]]) -> FileObject:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return client.files.create(file=("train.jsonl", io.BytesIO(text)), purpose="fine-tune")


def started(client: openai.OpenAI, rows: list[dict[str, Any]]) -> FineTuningJob:
    return client.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18",
        training_file=sent(client, rows).id,
        suffix="sdk",
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        metadata={"lmconf_job": "by-sdk"},
    )


def test_a_job_lives_as_the_sdk_expects(client: openai.OpenAI, rows: list[dict[str, Any]]) -> None:
    job = started(client, rows)
    assert job.status == "validating_files"
    assert job.method is not None
    assert client.files.retrieve(job.training_file).status == "processed"
    assert [each.id for each in client.fine_tuning.jobs.list()] == [job.id]
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.trained_tokens) == ("succeeded", 4321)
    assert done.fine_tuned_model == "ft:gpt-4o-mini-2024-07-18:peer:sdk:000001"
    events = list(client.fine_tuning.jobs.list_events(job.id))
    assert events[0].message == "The job has successfully completed"
    answer = client.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": "Hello"}]
    )
    assert answer.choices[0].message.content == "trained"
    assert client.files.delete(job.training_file).deleted


def test_a_failed_and_a_cancelled_job_are_read(
    client: openai.OpenAI, peer: Peer, rows: list[dict[str, Any]]
) -> None:
    peer.ending = "failed"
    job = started(client, rows)
    client.fine_tuning.jobs.retrieve(job.id)
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert failed.error is not None
    assert failed.error.code == "invalid_file"
    peer.hold = True
    job = started(client, rows)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="already completed"):
        client.fine_tuning.jobs.cancel(job.id)


def test_what_is_wrong_is_told_as_the_sdk_expects(
    client: openai.OpenAI, peer: Peer, rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(openai.BadRequestError, match="must have at least 10"):
        started(client, rows[:3])
    with pytest.raises(openai.NotFoundError, match="Could not find fine tune"):
        client.fine_tuning.jobs.retrieve("ftjob-none")
    with pytest.raises(openai.BadRequestError, match="invalid training_file"):
        client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-none")
    other = openai.OpenAI(base_url=peer.base, api_key="wrong", max_retries=0)
    with other, pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        other.files.retrieve("file-1")


def test_azures_paths_are_those_of_the_sdk(peer: Peer, rows: list[dict[str, Any]]) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=peer.address, api_key=KEY, api_version="2024-10-21", max_retries=0
    ) as azure:
        file = sent(azure, rows)
        assert str(file.status) == "pending"  # which is Azure's, and not in the SDK's types
        assert azure.files.retrieve(file.id).status == "processed"
        job = azure.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
        assert azure.fine_tuning.jobs.retrieve(job.id).status == "running"
