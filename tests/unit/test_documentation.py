"""The map of the code leads where it says: every path and name in the pages for contributors is there.

Every link of every page leads to a file and a heading that are there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import structure

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted((ROOT / "docs/contributing").glob("*.md"))
LINKED = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def homes(path: str) -> list[Path]:
    """Return where a path in a page may lead: from the root, from the package, or to a room's file."""
    return [ROOT / path, ROOT / "lmconf" / path]


def prose(page: Path) -> str:
    """Return the text of a page without its code blocks, where a `#` is a comment."""
    return re.sub(r"(?ms)^ *```.*?^ *```", "", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page make."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def broken_links(page: Path) -> list[str]:
    """Return the links of a page to a file or a heading that is not there."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# One `two`\n```\n# three\n```\n")
    page.write_text("[a](other.md#one-two) [b](other.md#three) [c](none.md) [d](#e) [f](https://g)")
    assert broken_links(page) == ["other.md#three", "none.md", "#e"]


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
