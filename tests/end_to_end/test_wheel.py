"""The wheel, installed where there is no checkout, is the whole of lmconf."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEIGHTS = "lmconf/_shipped/profiles/models/lmconf-tiny-f16.gguf"
MAX_SIZE = 5_000_000
"""Bytes; most of the wheel is the model's 1.8 MB."""

Lmconf = Callable[..., str]


def told(*command: str | Path, folder: Path | None = None) -> str:
    """Return what a command prints; it must succeed, and complain of nothing."""
    ran = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir")
    ran = subprocess.run([*build, out, ROOT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that has the wheel, and the tests' own packages after it."""
    assert importlib.util.find_spec("xllamacpp"), "the call needs the extra `local`"
    folder = tmp_path_factory.mktemp("environment")
    told(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    told(
        *(sys.executable, "-m", "pip", "--python", python, "install", wheel),
        *("--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"),
    )
    site = Path(
        told(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    # What a .pth file adds comes last, and .pth files in there (an editable lmconf) do not count.
    others = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site / "others.pth").write_text("\n".join(sorted(others)) + "\n")
    return folder


@pytest.fixture
def lmconf(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lmconf:
    """The installed command, run in an empty folder."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PATH", f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "empty"
    folder.mkdir()
    return lambda *words: told(installed / "bin/lmconf", *words, folder=folder)


def test_the_wheel_is_typed_small_and_holds_the_model(wheel: Path) -> None:
    sys.stdout.write(f"{wheel.name}: {wheel.stat().st_size:,} bytes\n")
    with zipfile.ZipFile(wheel) as archive:
        assert "lmconf/py.typed" in archive.namelist()
        assert archive.read(WEIGHTS).startswith(b"GGUF")
    assert wheel.stat().st_size < MAX_SIZE


def test_everything_shipped_is_found_inside_the_installed_package(
    lmconf: Lmconf, installed: Path
) -> None:
    names = {path.stem for path in (ROOT / "profiles").glob("*.yaml")}
    listed = json.loads(lmconf("list", "--format", "json"))
    assert {found["name"] for found in listed} == names
    assert {found["place"] for found in listed} == {"shipped"}
    assert all(found["valid"] for found in listed)
    assert all(Path(found["path"]).is_relative_to(installed.resolve()) for found in listed)
    assert lmconf("validate", "demo").endswith("_shipped/profiles/demo.yaml is valid\n")
    schema = lmconf("schema")
    assert schema == (ROOT / "schemas/lmconf.v1.json").read_text(encoding="utf-8")


def test_the_demo_answers_from_the_installed_package_alone(lmconf: Lmconf) -> None:
    answer = lmconf("call", "demo", "What is the capital of Japan?")
    assert answer == "The capital of Japan is Tokyo.\n"
