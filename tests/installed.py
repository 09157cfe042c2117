"""Packages that are installed for one test: modules with a real `dist-info` folder beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["install"]


def install(
    site: Path,
    package: str,
    entry_points: Mapping[str, Mapping[str, str]],
    files: Mapping[str, str],
) -> None:
    """Install `package`, such as `acme-lm`, into the folder `site` of the path.

    Args:
        site: A folder on `sys.path`.
        package: The name of the distribution.
        entry_points: For each group, the values by their names.
        files: The texts of its files by their paths in `site`.
    """
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="utf-8")
    about = site / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines: list[str] = []
    for group, values in entry_points.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
