"""Two batches that are given one output: one of them is refused, and the other loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmconf.cli.terminal import SoleWriter, Unwritable
from tests.loopback import Loopback, Received, Reply, chat, serving
from tests.unit.cli.running import Lmconf

ROOT = Path(__file__).parents[3]
LINES = 6


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """Answers are held back until this is set."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def server(project: Path, go_on: threading.Event) -> Iterator[Loopback]:
    def script(received: Received) -> Reply:
        go_on.wait(60)
        return Reply(json=chat("a" + received.json["messages"][-1]["content"]))

    with serving() as running:
        running.script = script
        (project / "lmconf.yaml").write_text(
            f"model: openai/tiny\napi_base: {running.v1}\napi_key: ''\ncache: false\n"
        )
        lines = [json.dumps(f"q{i}") for i in range(LINES)]
        (project / "in.jsonl").write_text("\n".join(lines))
        yield running


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lmconf", "batch", "lmconf", "in.jsonl", "-o", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("option", ["--resume", "--force"])
def test_a_second_batch_is_refused_while_the_first_writes(
    lmconf: Lmconf,
    *,
    server: Loopback,
    project: Path,
    go_on: threading.Event,
    option: str,
    linked: bool,
    there: bool,
) -> None:
    if there:
        go_on.set()
        lmconf("batch", "lmconf", "in.jsonl", "-o", "out.jsonl")
        go_on.clear()
        (project / "in.jsonl").write_text("\n".join(json.dumps(f"p{i}") for i in range(LINES)))
        server.received.clear()
    first = start(project, "out.jsonl", *(["--force"] if there else []))
    while not server.received:
        assert first.poll() is None, first.communicate()
    name = "out.jsonl"
    if linked:
        name = "link.jsonl"
        (project / name).symlink_to("out.jsonl")
    before = (project / "out.jsonl").read_bytes()
    second = lmconf("batch", "lmconf", "in.jsonl", "-o", name, option)
    assert second.code != 0
    assert f"{name} is being written by another process" in second.err
    assert "Traceback" not in second.err
    assert (project / "out.jsonl").read_bytes() == before
    go_on.set()
    _, told = first.communicate(timeout=60)
    assert first.returncode == 0, told
    rows = [json.loads(line) for line in (project / "out.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(LINES))
    assert len(server.received) == LINES


def test_of_many_at_once_one_writes(
    lmconf: Lmconf, server: Loopback, project: Path, go_on: threading.Event
) -> None:
    go_on.set()
    running = [start(project, "out.jsonl") for _ in range(4)]
    ended = [each.communicate(timeout=120) for each in running]
    codes = [each.returncode for each in running]
    assert codes.count(0) == 1, ended
    rows = [json.loads(line) for line in (project / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == [f"aq{i}" for i in range(LINES)]
    assert len(server.received) == LINES
    assert not any("Traceback" in told for _, told in ended)


def test_after_it_has_ended_the_next_may_write(
    lmconf: Lmconf, server: Loopback, project: Path, go_on: threading.Event
) -> None:
    go_on.set()
    for option in ([], ["--resume"], ["--force"]):
        assert lmconf("batch", "lmconf", "in.jsonl", "-o", "out.jsonl", *option).code == 0
    assert len(server.received) == 2 * LINES


def test_a_file_that_was_replaced_is_held_by_its_new_self(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with SoleWriter(path) as sole:
        (tmp_path / "new").write_text("x")
        (tmp_path / "new").replace(path)
        sole.renew()
        with pytest.raises(Unwritable, match="another process"), SoleWriter(path):
            pass
    with SoleWriter(path):
        assert path.read_text() == "x"


def test_what_was_made_is_removed_when_nothing_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(ValueError, match="no"), SoleWriter(path):
        raise ValueError("no")
    assert not path.exists()
    path.touch()
    with pytest.raises(ValueError, match="no"), SoleWriter(path):
        raise ValueError("no")
    assert path.exists()
