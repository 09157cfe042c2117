"""The map of the code leads where it says: every path and name in the pages for contributors is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import structure

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted((ROOT / "docs/contributing").glob("*.md"))


def homes(path: str) -> list[Path]:
    """Return where a path in a page may lead: from the root, from the package, or to a room's file."""
    return [ROOT / path, ROOT / "lmconf" / path]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_in_a_page_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = set(re.findall(r"`([a-z_./]+/[a-z_./]*|[a-z_/]+\.py)`", text))
    paths |= set(re.findall(r"`([a-z_/]+\.py): ", text))
    rooms = [folder for folder in (ROOT / "lmconf").iterdir() if folder.is_dir()]
    missing = [
        path
        for path in paths
        if not any(home.exists() for home in homes(path))
        and not any((room / path).exists() for room in rooms)
        and "NAME" not in path
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_function_named_beside_its_file_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, name in re.findall(r"`([a-z_/]+\.py): (\w+)`", text):
        source = next(home for home in homes(path) if home.exists()).read_text(encoding="utf-8")
        assert re.search(rf"(?m)^(?:async )?(?:def|class) {name}\b", source), (path, name)


def test_every_room_stands_on_the_map() -> None:
    page = PAGES[0].read_text(encoding="utf-8")
    rooms = {path.name for path in (ROOT / "lmconf").iterdir() if (path / "__init__.py").exists()}
    assert [room for room in sorted(rooms) if f"`{room}/`" not in page] == []


def test_the_structure_keeps_its_bounds() -> None:
    found = {what: len(names) for what, names in structure.measure().items()}
    exceeded = {what: count for what, count in found.items() if count > structure.BOUNDS[what]}
    assert exceeded == {}


def test_what_is_counted_is_found(tmp_path: Path) -> None:
    package = tmp_path / "lmconf"
    (package / "room").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "carrying.py": "from lmconf import kept\nfrom lmconf.room import kept\ndef told(): ...\n",
        "kept.py": "import os\ndef f():\n    from lmconf import carrying\n",
        "room/__init__.py": "",
        "room/kept.py": '_FIELDS = frozenset("model temperature max_tokens".split())\n'
        + "\n" * 400,
    }
    for name, text in files.items():
        (package / name).write_text(text)
    counts = {what: len(names) for what, names in structure.measure(tmp_path).items()}
    assert counts == dict.fromkeys(structure.BOUNDS, 1)


def test_every_open_module_is_imported_by_another_room() -> None:
    graph = structure.imports(structure.modules())
    used = {target for _, target in structure.open_imports(graph)}
    assert structure.open_modules() - used == set()


def test_every_exception_from_lists_of_fields_is_still_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exceptions = structure.OTHER_NAMES
    monkeypatch.setattr(structure, "OTHER_NAMES", {})
    found = [*structure.field_lists(structure.modules(), structure.fields_of_specs())]
    stale = [prefix for prefix in exceptions if not any(x.startswith(prefix) for x in found)]
    assert stale == []
    assert all(each.startswith(tuple(exceptions)) for each in found)
