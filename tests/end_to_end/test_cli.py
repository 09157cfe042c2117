"""The command `lmconf` as a person meets it: a process on a terminal, with pipes and signals."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback, Reply, chat_chunks, serving, sse

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "lmconf"]
PATIENCE = 60.0


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server, and a working folder whose lmconf.yaml leads to it."""
    with serving() as running:
        (tmp_path / "lmconf.yaml").write_text(
            f"model: openai/tiny\napi_base: {running.v1}\napi_key: ''\n"
            "num_retries: 0\ncache: false\n"
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        yield running


class OnTerminal:
    """A process whose streams are a pseudo-terminal; `seen` is what came, with when it came."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen: list[tuple[float, str]] = []

    @property
    def text(self) -> str:
        return "".join(piece for _, piece in self.seen).replace("\r\n", "\n")

    def read(self, until: str | None = None) -> str:
        """Read up to the text `until`, or to the end."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and (until is None or until not in self.text):
            if not select.select([self.master], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # Linux says so when nobody holds the other side any more
                break
            if not piece:
                break
            self.seen.append((time.monotonic(), piece.decode()))
        return self.text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@contextlib.contextmanager
def on_terminal(*arguments: str) -> Iterator[OnTerminal]:
    running = OnTerminal(*arguments)
    try:
        yield running
    finally:
        running.close()


def test_on_a_terminal_the_answer_comes_piece_by_piece_and_cannot_steer_it(
    server: Loopback,
) -> None:
    pieces = sse(*chat_chunks("First", " \x1b[31msecond", " third."))
    server.answers(Reply(pieces=pieces, gap=0.3))
    with on_terminal("call", "lmconf", "Say something.") as running:
        assert running.read() == "First \\x1b[31msecond third.\n"
        assert running.process.wait(PATIENCE) == 0
        assert len(running.seen) >= 3
        assert running.seen[-1][0] - running.seen[0][0] > 0.3
    assert server.received[0].json["stream"] is True


def test_in_a_pipe_the_answer_comes_whole(server: Loopback) -> None:
    ran = subprocess.run(
        [*COMMAND, "call", "lmconf"], input=b"Say hello.\n", capture_output=True, check=True
    )
    assert (ran.stdout, ran.stderr) == (b"Hello.\n", b"")
    assert server.received[0].json["messages"] == [{"role": "user", "content": "Say hello."}]
    assert not server.received[0].json.get("stream")


def test_errors_are_coloured_on_a_terminal_alone(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("modle: 1\n")
    with on_terminal("validate", "wrong.yaml") as running:
        assert "\x1b[1;31merror" in running.read()
        assert running.process.wait(PATIENCE) == 1
    piped = subprocess.run(
        [*COMMAND, "validate", "wrong.yaml"], capture_output=True, text=True, check=False
    )
    assert piped.returncode == 1
    assert "\x1b" not in piped.stdout + piped.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_call_that_waits(
    server: Loopback, number: signal.Signals, code: int
) -> None:
    server.answers(Reply(json={}, pause=PATIENCE))
    process = subprocess.Popen(
        [*COMMAND, "call", "lmconf", "hi"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + PATIENCE
        while not server.received and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(number)
        out, told = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code
    assert out == b""
    assert b"Traceback" not in told


def test_a_signal_during_a_stream_leaves_what_came(server: Loopback) -> None:
    server.answers(Reply(pieces=sse(*chat_chunks("Begun", " and", " ended.")), gap=5))
    with on_terminal("call", "lmconf", "hi") as running:
        running.read(until="Begun")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 130
        assert running.read() == "Begun\ninterrupted\n"


def _children(pid: int) -> list[int]:
    """Return the processes that `pid` started, and those that they started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text()
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    found += [int(folder.name), *_children(int(folder.name))]
    return found


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the table of processes")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_server_that_was_started_is_ended_with_the_call(
    server: Loopback, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    weights = ROOT / "profiles/models/lmconf-tiny-f16.gguf"
    (tmp_path / "local.yaml").write_text(
        "model: openai/lmconf-tiny\nmax_tokens: 100000\nextra: {ignore_eos: true}\n"
        f"launch_kwargs: {{use: llama_cpp, weights: {weights}}}\n"
    )
    with on_terminal("call", "local.yaml", "What is the capital of Japan?") as running:
        end = time.monotonic() + PATIENCE
        while not running.text and time.monotonic() < end:
            running.read(until=" ")
        started = _children(running.process.pid)
        assert started
        running.process.send_signal(number)
        assert running.process.wait(PATIENCE) == code
        end = time.monotonic() + PATIENCE
        while any(map(_is_alive, started)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(_is_alive, started))
