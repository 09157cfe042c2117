"""What is true of every job: nobody waits for who sends, damage is told, the docs hold."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.errors import TrainError
from lmconf.trainers import http
from tests.training.openai_peer import Peer

GGUF = Path(__file__).parents[2] / "profiles/models/lmconf-tiny-f16.gguf"
DOCS = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")


def test_nobody_waits_for_who_sends_the_data(
    peer: Peer, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, go_on = threading.Event(), threading.Event()
    upload = http.upload

    def slowly(*arguments: Any) -> dict[str, Any]:
        sending.set()
        assert go_on.wait(20)
        return upload(*arguments)

    monkeypatch.setattr(http, "upload", slowly)
    lm = lmconf.LM(
        "openai/gpt-4o-mini",
        api_base=peer.base,
        api_key=lmconf.Env("PEER_KEY"),
        train_kwargs={"poll": 0.02},
    )
    job = lm.finetune(rows)
    assert sending.wait(20)
    assert job.status() == "queued"
    assert lmconf.job(job.id).status() == "queued"
    with pytest.raises(TimeoutError):
        job.result(0.1)
    go_on.set()
    assert job.wait(20) == "succeeded"
    assert len(peer.files) == 1


def test_a_pool_is_not_trained(rows: list[dict[str, Any]]) -> None:
    profile = lmconf.load(
        {"lms": {"a": {"model": "openai/a"}, "b": {"model": "openai/b"}, "p": {"pool": ["a", "b"]}}}
    )
    with pytest.raises(TrainError, match="is a pool of LMs: train one of them"):
        profile["p"].finetune(rows)


def test_what_was_made_is_served_beside_what_it_was_made_of(rows: list[dict[str, Any]]) -> None:
    script = "import pathlib, sys; (pathlib.Path(sys.argv[1]) / 'm.gguf').write_text('weights')"
    lm = lmconf.LM(
        "openai/house",
        launch_kwargs={"use": "llama_cpp", "weights": "w.gguf", "port": 7501, "ttl": "1h"},
        train_kwargs={"use": "command", "command": [sys.executable, "-c", script, "{output}"]},
    )
    launch = lm.finetune(rows).result(30).spec.launch_kwargs
    assert launch is not None
    assert (launch.use, launch.ttl, launch.port) == ("llama_cpp", 3600, 0)
    assert Path(launch.weights or "").read_text() == "weights"


def test_a_result_is_launched_at_once_beside_what_it_was_made_of(
    rows: list[dict[str, Any]],
) -> None:
    script = f"import shutil, sys; shutil.copy({str(GGUF)!r}, sys.argv[1] + '/model.gguf')"
    lm = lmconf.LM(
        "openai/lmconf-tiny",
        max_tokens=12,
        cache=False,
        launch_kwargs={"use": "llama_cpp", "weights": str(GGUF), "args": {"threads": 1}},
        train_kwargs={"use": "command", "command": [sys.executable, "-c", script, "{output}"]},
    )
    trained = lm.finetune(rows).result(30)
    with lm, trained:
        asked = "What is the colour of the sky?"
        assert lm(asked) == trained(asked)
        assert (lm.server and lm.server.url) != (trained.server and trained.server.url)


def test_weights_that_a_command_names_must_be_there(rows: list[dict[str, Any]]) -> None:
    script = (
        "import pathlib, sys\n"
        "(pathlib.Path(sys.argv[1]) / 'result.json').write_text('{\"weights\": \"none\"}')"
    )
    command = [sys.executable, "-c", script, "{output}"]
    job = lmconf.LM("openai/a", train_kwargs={"use": "command", "command": command}).finetune(rows)
    with pytest.raises(TrainError, match=r"names weights that are not there: .*/output/none"):
        job.result(30)


def test_a_damaged_record_is_told(state: Path) -> None:
    folder = state / "jobs/20260101-000000-abcdef"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text('{"id": 1')
    with pytest.raises(TrainError, match=r"the record of the job .* is damaged: .*job\.json"):
        lmconf.job("abcdef")
    with pytest.raises(TrainError, match="there is no job 'zzz'"):
        lmconf.job("zzz")


@pytest.mark.parametrize(
    "block", re.findall(r"^```yaml\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
)
def test_the_profiles_in_the_docs_are_valid(block: str, tmp_path: Path) -> None:
    path = tmp_path / "lmconf.yaml"
    path.write_text(block)
    profile = lmconf.load(path)
    kinds = {name: profile[name].spec.train_kwargs for name in profile}
    assert {name: kind and kind.use for name, kind in kinds.items()} == {
        "gpt": "openai",
        "tiny": "local",
        "own": "command",
    }
