"""What the page about LMs of one's own shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import lmconf
from lmconf.testing import TransportContract
from lmconf.transports import REGISTRY, Request
from lmconf.transports.transport import Connection, Phases
from tests.pages import with_assertions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/custom-lms.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_shown_runs_and_comes_to_what_is_shown(tmp_path: Path) -> None:
    script = "".join(map(with_assertions, blocks("python")))
    assert script.count("assert repr(") == PAGE.count("# -> ") > 0
    (tmp_path / "test_shown.py").write_text(script, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shown.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    owed = [name for name in dir(TransportContract) if name.startswith("test_")]
    assert ran.returncode == 0, ran.stdout
    assert f"{len(owed) - 2} passed, 2 skipped" in ran.stdout


def test_the_profile_shown_is_valid(tmp_path: Path) -> None:
    class Echo:
        def complete(self, request: Request) -> str:
            return ""

    lmconf.register_transport("echo", Echo)
    try:
        for number, block in enumerate(blocks("yaml")):
            path = tmp_path / f"{number}.yaml"
            path.write_text(block, encoding="utf-8")
            assert lmconf.load(path).lm.spec.transport.use == "echo"
    finally:
        lmconf.unregister_transport("echo")


def test_the_entry_point_shown_is_of_the_group_that_is_read() -> None:
    (block,) = blocks("toml")
    assert tomllib.loads(block)["project"]["entry-points"] == {
        REGISTRY.group: {"acme": "acme_lm:Transport"}
    }


def test_every_field_of_a_request_is_told() -> None:
    table = PAGE.partition("## What it is given")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", table))
    fields = {*Request.__struct_fields__, *Phases.__struct_fields__}
    assert fields <= named
    assert {"base", "key", "headers"} <= set(Connection.__struct_fields__) & named
