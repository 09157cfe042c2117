"""What the tutorial and the how-to guides show is what happens, in the order of each page.

Each page has a project of its own. Its profiles are saved, its commands print what is shown, and its
Python comes to what is shown; no call leaves the process.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import NAMED, commands, lmconf, with_assertions

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_what_a_guide_shows_is_what_happens(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = guide.read_text(encoding="utf-8")
    (tmp_path / "profiles").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script, shown = "", 0
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        shown += 1
        if language == "yaml":
            named = NAMED.match(block)
            assert named is not None, "a profile of a guide has a file"
            (tmp_path / named[1]).write_text(block, encoding="utf-8")
        elif language == "console":
            for words, output in commands(block):
                if words[0] == "cat":
                    (tmp_path / words[1]).write_text(output, encoding="utf-8")
                else:
                    assert words[0] == "lmconf"
                    assert lmconf(*words[1:]) == output
        else:
            assert language == "python"
            # What came before holds for the next block, and runs again: a fake answers.
            script += with_assertions(block)
            run_script(script, tmp_path)
    assert shown > 0


def run_script(script: str, folder: Path) -> None:
    """Run `script` in `folder`, and see that it ends well and in silence."""
    (folder / "shown.py").write_text(script, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "shown.py"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
