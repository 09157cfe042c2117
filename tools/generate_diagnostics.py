"""The page of diagnostics in Markdown: a section for each code, from the list of codes."""

from __future__ import annotations

from collections.abc import Sequence

from lmconf.diagnostics.codes import SECTIONS, Code, all_codes

__all__ = ["codes_reference"]


def codes_reference() -> str:
    """Return a table of codes for each part, and below it a section for each code."""
    return "\n".join(_part(SECTIONS[key], codes) for key, codes in all_codes().items())


def _part(heading: str, codes: Sequence[Code]) -> str:
    rows = [f"| [`{code.name}`](#{code.name}) | {code.title} |" for code in codes]
    table = "\n".join(["| Code | Meaning |", "| --- | --- |", *rows])
    return "\n".join([f"## {heading}\n", table, "", *map(_section, codes)])


def _section(code: Code) -> str:
    parts = [f"### {code.name}", f"{code.title}. {code.explanation}"]
    if code.example:
        parts.append(f"```yaml\n{code.example.strip()}\n```")
    if code.when:
        parts.append(f"Raised when {code.when}.")
    return "\n\n".join([*parts, f"Fix: {code.fix}"]) + "\n"
