"""These tests run with the release of DSPy that they are meant for, and use nothing deprecated."""

from __future__ import annotations

import re
from pathlib import Path

import dspy

LOCK = Path(__file__).parents[2] / "requirements/dev.txt"


def test_the_release_is_the_one_meant() -> None:
    locked = re.search(r"^dspy==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    assert locked is not None
    assert dspy.__version__ == locked[1]


def test_warnings_of_what_goes_away_are_errors_here(request: object) -> None:
    """Whoever implements `forward` is warned by DSPy 3.4 with each call; this package is not."""
    filters = request.config.getini("filterwarnings")  # type: ignore[attr-defined]
    assert filters[0] == "error"
    assert not [one for one in filters if "dspy" in one]
