"""Fine-tuning at aimock, whose files and jobs live as OpenAI's do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lmconf
from tests.peers.conftest import KEY

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {number} + 1?"},
            {"role": "assistant", "content": f"{number + 1}"},
        ]
    }
    for number in range(10)
]


def an_lm(address: str, **train_kwargs: Any) -> lmconf.LM:
    return lmconf.LM(
        "openai/gpt-4o-mini-2024-07-18",
        api_base=f"{address}/v1",
        api_key=KEY,
        train_kwargs={"suffix": "house", "poll": 0.05, **train_kwargs},
    )


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))


def test_a_training_succeeds_with_a_model_of_its_own(aimock: str) -> None:
    job = an_lm(aimock, n_epochs=2, seed=7).finetune(ROWS, "chat")
    trained = job.result(30)
    assert trained.model.startswith("openai/ft:gpt-4o-mini-2024-07-18:aimock:house:")
    assert "Training started" in job.log()
    assert lmconf.load_state(trained.dump_state("minimal")).dump_state() == trained.dump_state()


def test_a_job_is_cancelled(aimock: str) -> None:
    job = an_lm(aimock, poll="1h").finetune(ROWS)
    job.wait_until_begun()
    assert job.cancel()
    with pytest.raises(lmconf.TrainError, match="was cancelled"):
        job.result(30)
