"""Writes the files that follow from declarations and catalogues; `--check` names stale ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from lmconf.schema.json_schema import Schema
from lmconf.spec.document_schemas import authored_schema, resolved_schema
from tools.generate_commands import commands_page
from tools.generate_diagnostics import codes_reference
from tools.generate_keywords import keywords_module
from tools.generate_providers import providers_page
from tools.generate_reference import reference, untrusted_fields

ROOT = Path(__file__).resolve().parent.parent


def as_text(schema: Schema) -> str:
    """Return `schema` as the file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def format_page() -> str:
    """Return the page about the format: its hand-written part, then the reference."""
    written = (ROOT / "tools/format.md").read_text(encoding="utf-8")
    written = written.replace("<!-- untrusted -->", untrusted_fields())
    return f"{written.rstrip()}\n\n{reference()}"


def diagnostics_page() -> str:
    """Return the page about diagnostics: its hand-written part, then a section for each code."""
    written = (ROOT / "tools/diagnostics.md").read_text(encoding="utf-8")
    return f"{written.rstrip()}\n\n{codes_reference()}"


GENERATED: dict[str, Callable[[], str]] = {
    "schemas/lmconf.v1.json": lambda: as_text(authored_schema()),
    "schemas/lmconf.resolved.v1.json": lambda: as_text(resolved_schema()),
    "docs/commands.md": commands_page,
    "docs/format.md": format_page,
    "docs/providers.md": providers_page,
    "docs/diagnostics.md": diagnostics_page,
    "lmconf/spec/keywords.py": keywords_module,
}
"""Each generated file, from the repository's root, and what it must hold."""


def stale(root: Path = ROOT) -> list[str]:
    """Return the generated files below `root` that do not hold what they must."""
    return [
        name
        for name, text in GENERATED.items()
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != text()
    ]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write every generated file, or with `--check` say which are stale; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is stale")
    checking = parser.parse_args(arguments).check
    old = stale(root)
    for name in old:
        if checking:
            print(f"{name} is stale: run `make generate`", file=sys.stderr)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(GENERATED[name](), encoding="utf-8")
            print(f"wrote {name}")
    return 1 if checking and old else 0


if __name__ == "__main__":
    sys.exit(main())
