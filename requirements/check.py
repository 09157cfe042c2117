"""The lock file pins every direct dependency of pyproject.toml at a version its range allows.

Only what can be seen offline is checked: a dependency that was added or tightened without
`make lock`, a pin without a hash, and an address of some index left in the file.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("local", "otel", "testing")
GROUP = "dev"


def direct_dependencies(pyproject: str) -> list[Requirement]:
    """Return what the project, the locked extras and the development group ask for."""
    data = tomllib.loads(pyproject)
    project = data["project"]
    stated: list[str] = [*data["build-system"]["requires"], *project["dependencies"]]
    for extra in EXTRAS:
        stated += project["optional-dependencies"][extra]
    stated += data["dependency-groups"][GROUP]
    return [Requirement(text) for text in stated]


def faults(pyproject: str, lock: str) -> list[str]:
    """Return what is wrong with the lock, one sentence each; empty when it is sound."""
    found: list[str] = []
    pins: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", lock)):
        pin = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block)
        if pin is None:
            found.append(f"not a pin: {block.splitlines()[0] if block else 'an empty file'}")
            continue
        pins.setdefault(canonicalize_name(pin[1]), []).append(pin[2])
        if "--hash=sha256:" not in block:
            found.append(f"{pin[1]} has no hash")
    if "://" in lock:
        found.append("it names an address: pins and hashes are enough")
    for wanted in direct_dependencies(pyproject):
        versions = pins.get(canonicalize_name(wanted.name))
        if versions is None:
            found.append(f"{wanted.name} is not pinned")
        elif outside := [v for v in versions if not wanted.specifier.contains(v, prereleases=True)]:
            found.append(
                f"{wanted.name} is pinned at {', '.join(outside)}, outside {wanted.specifier}"
            )
    return found


def peers_faults(wanted: str, npm_lock: str, node_lock: str) -> list[str]:
    """Return what is wrong with the locks of `make peers`, one sentence each.

    `wanted` is their package.json, `npm_lock` its lock, and `node_lock` that of Node.js.
    """
    found: list[str] = []
    packages = json.loads(npm_lock)["packages"]
    if packages[""].get("dependencies") != json.loads(wanted).get("dependencies"):
        found.append("package-lock.json locks other packages than package.json names")
    found += [
        f"{path} has no hash" for path, of in packages.items() if path and not of.get("integrity")
    ]
    if "://" in npm_lock + node_lock:
        found.append("a lock names an address: versions and hashes are enough")
    if "--hash=sha256:" not in node_lock:
        found.append("requirements/node.txt has no hash")
    return found


def main() -> int:
    """Print the faults of the lock files and return the exit status."""
    peers = ROOT / "tests/peers"
    of_peers = peers_faults(
        (peers / "package.json").read_text(encoding="utf-8"),
        (peers / "package-lock.json").read_text(encoding="utf-8"),
        (ROOT / "requirements/node.txt").read_text(encoding="utf-8"),
    )
    for fault in of_peers:
        print(f"tests/peers: {fault}", file=sys.stderr)
    found = faults(
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"),
    )
    for fault in found:
        print(f"requirements/dev.txt: {fault}; run `make lock`", file=sys.stderr)
    return 1 if found or of_peers else 0


if __name__ == "__main__":
    sys.exit(main())
