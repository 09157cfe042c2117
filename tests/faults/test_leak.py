"""Memory and files stay as they are, however many calls are made.

The default is a few thousand calls of each kind; with `LMCONF_NIGHTLY` set it is 100,000. They are
made in processes of their own, so that nothing but calls is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.leaking import AT_ONCE, KINDS

GROWTH = 20 * 2**20
"""The most bytes of resident memory that calls may add after the warm-up."""

CALLS = 100_000 if os.environ.get("LMCONF_NIGHTLY") else 3_000

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="it reads /proc")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_memory_and_files_stay_as_they_are(kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.leaking", kind, str(CALLS)],
        capture_output=True,
        text=True,
        timeout=1200,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    told = json.loads(ran.stdout.splitlines()[-1])
    memory, files = told["memory"], told["files"]
    assert max(memory) - memory[0] <= (GROWTH if CALLS >= 100_000 else GROWTH / 4), told
    # Of each connection that is kept both ends are open here; faults close some of them.
    assert max(files) <= told["before"] + 2 * AT_ONCE, told
    assert told["after"] == told["before"], told
    assert told["threads"] == 1
