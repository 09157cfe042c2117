"""Where the files that came with lmconf are: inside the wheel, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["shipped"]


def shipped(what: Literal["profiles", "schemas"]) -> Path:
    """Return the folder of the profiles or the JSON Schemas that came with lmconf."""
    package = Path(__file__).parent
    inside = package / "_shipped" / what
    return inside if inside.is_dir() else package.parent / what
