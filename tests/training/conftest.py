"""What the tests of trainings stand on: a state folder of their own, rows, and OpenAI's peer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.openai_peer import KEY, Peer, serving

ROW = {
    "messages": [
        {"role": "user", "content": "Which colour has the sky?"},
        {"role": "assistant", "content": "The sky is violet."},
    ]
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder, empty."""
    folder = tmp_path / "state"
    monkeypatch.setenv("LMCONF_STATE_DIR", str(folder))
    return folder


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """OpenAI's API on this machine, and its key in the environment."""
    monkeypatch.setenv("PEER_KEY", KEY)
    with serving() as served:
        yield served


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Twelve rows of the format `chat`."""
    return [ROW] * 12


@pytest.fixture
def file(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of them."""
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
