"""Real servers for the tests of this folder, each started once and ended with its last test.

Where one is missing its tests are skipped, with the reason; with CI in the environment they fail.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "profiles/models/lmconf-tiny-f16.gguf"
AIMOCK = ROOT / ".peers/node_modules/@copilotkit/aimock/dist/cli.js"
FIXTURES = Path(__file__).with_name("aimock.json")
KEY = "peer-key-0123456789"
SECONDS = 60


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The address of llama.cpp's own server, with the model that ships; it wants `KEY`."""
    if importlib.util.find_spec("xllamacpp") is None:
        missing("xllamacpp is not installed (the extra `local`)")
    script = Path(__file__).with_name("llama_cpp.py")
    with _serving([sys.executable, str(script), str(WEIGHTS), KEY]) as address:
        yield address


@pytest.fixture(scope="session")
def aimock() -> Iterator[str]:
    """The address of aimock, which answers as `aimock.json` says to whoever knows `KEY`."""
    chosen = ROOT / ".peers/node"
    if not AIMOCK.exists() or not chosen.exists():
        missing("aimock is not installed: run `make peers`")
    node = chosen.read_text(encoding="utf-8").strip()
    command = [node, str(AIMOCK), "--port", "0", "--strict", "--fixtures", str(FIXTURES)]
    with _serving(command, AIMOCK_API_KEYS=KEY) as address:
        yield address


def missing(reason: str) -> None:
    """Skip what asked for a server that is not there, or fail it where nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _serving(command: Sequence[str], **variables: str) -> Iterator[str]:
    """Yield the address that `command` prints, and end it afterwards."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**kept, **variables},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(SECONDS, process.kill)
        late.start()
        try:
            address = ""
            for line in process.stdout:
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
                if found:
                    address = found[0]
                    break
            late.cancel()
            assert address, f"{command[0]} said no address within {SECONDS} s"
            # A server that no one reads from would stop when the pipe is full.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield address
        finally:
            late.cancel()
            process.stdin.close()
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
