"""What a new process pays: importing lmconf, and validating one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Row, processes

ROUNDS = 9


def rows() -> Iterator[Row]:
    ours, bare = processes(["-c", "import lmconf"], ["-c", "pass"], rounds=ROUNDS)
    yield Row("import lmconf", ours * 1e3, "ms", "bare Python", bare * 1e3, "<= 50 ms more")

    names = "import lmconf; lmconf.LM, lmconf.load, lmconf.Profile"
    ours, theirs = processes(["-c", names], ["-c", "import litellm"], rounds=3)
    yield Row("import lmconf, every name used", ours * 1e3, "ms", "import litellm", theirs * 1e3)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.yaml"
        path.write_text("model: openai/gpt-4o-mini\ntemperature: 0.2\nnum_retries: 4\n")
        ours, theirs = processes(
            ["-m", "lmconf", "validate", str(path)],
            ["-c", f"import yaml; yaml.safe_load(open({str(path)!r}))"],
            rounds=ROUNDS,
        )
    yield Row(
        "lmconf validate, one file", ours * 1e3, "ms", "yaml.safe_load", theirs * 1e3, "<= 400 ms"
    )
