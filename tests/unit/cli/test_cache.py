"""`lmconf cache`: what is kept of answers, and looking after it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lmconf.caches.disk import DiskCache
from lmconf.caches.store import Entry
from tests.loopback import chat
from tests.unit.cli.running import Lmconf

KEYS = [f"{number:064x}" for number in range(1, 4)]


def put(folder: Path, *texts: str, age: float = 0.0, ttl: float | None = None) -> None:
    store = DiskCache(folder)
    now = time.time() - age
    for key, text in zip(KEYS, texts, strict=False):
        value = json.dumps(chat(text)).encode()
        store.put_all([Entry(key, value, now, None if ttl is None else now + ttl)])
        now += 1
    store.close()


@pytest.fixture
def default(machine: Path) -> Path:
    """The folder of the default store."""
    return machine / ".cache/lmconf"


def test_nothing_is_told_of_a_store_that_was_never_used(lmconf: Lmconf, default: Path) -> None:
    assert lmconf("cache", "stats").out == f"{default}: 0 answers, 0 bytes\n"
    assert "nothing is kept" in lmconf("cache", "list").err
    assert not default.exists()


def test_answers_are_listed_newest_first_and_shown(lmconf: Lmconf, default: Path) -> None:
    put(default, "One.", "Two\nlines.", "Three.", ttl=7200)
    told = lmconf("cache", "list")
    lines = told.out.splitlines()
    assert [line.split()[0] for line in lines] == [key[:12] for key in reversed(KEYS)]
    assert "Two lines." in lines[1] and "tiny" in lines[1] and "2h left" in lines[1]
    assert lmconf("cache", "list", "--limit", "1").out == f"{lines[0]}\n"
    listed = lmconf("cache", "list", "--json").json
    assert listed[0]["key"] == KEYS[2] and listed[0]["words"] == "Three."
    assert lmconf("cache", "show", KEYS[1]).out == "Two\nlines.\n"
    assert lmconf("cache", "show", KEYS[1], "--json").json == chat("Two\nlines.")


def test_a_key_that_is_none_or_not_clear_is_told(lmconf: Lmconf, default: Path) -> None:
    put(default, "One.", "Two.")
    for key, told in (("abc", "no answer under abc"), ("000", "2 answers begin with 000")):
        ran = lmconf("cache", "show", key)
        assert ran.code == 1
        assert told in ran.err


def test_a_profiles_store_and_a_folder_can_be_named(lmconf: Lmconf, project: Path) -> None:
    put(project / "profiles/answers", "One.")
    assert "1 answers" in lmconf("cache", "stats", "support:gpt").out
    assert lmconf("cache", "stats", "--path", "profiles/answers", "--json").json["entries"] == 1
    both = lmconf("cache", "stats", "support", "--path", "x")
    assert (both.code, "each name a store" in both.err) == (2, True)


def test_a_store_in_memory_is_told_to_be_none(lmconf: Lmconf, project: Path) -> None:
    (project / "profiles/m.yaml").write_text("model: openai/a\ncache: {store: {backend: memory}}\n")
    ran = lmconf("cache", "stats", "m")
    assert (ran.code, "are lost when their process ends" in ran.err) == (2, True)


def test_a_file_that_is_no_cache_is_told_and_left(lmconf: Lmconf, tmp_path: Path) -> None:
    (tmp_path / "answers.v1.sqlite3").write_text("notes")
    ran = lmconf("cache", "clear", "--yes", "--path", str(tmp_path))
    assert (ran.code, "not a cache of lmconf" in ran.err) == (1, True)
    assert (tmp_path / "answers.v1.sqlite3").read_text() == "notes"


def test_pruning_drops_what_is_old_and_what_is_too_much(lmconf: Lmconf, default: Path) -> None:
    put(default, "One.", "Two.", "Three.", age=3600)
    assert "3 answers" in lmconf("cache", "prune", "--older", "30min", "--dry-run").out
    assert "0 answers" in lmconf("cache", "prune", "--older", "2h").out
    size = len(json.dumps(chat("Three.")))
    assert "2 answers" in lmconf("cache", "prune", "--max-size", str(size)).out
    assert [each["words"] for each in lmconf("cache", "list", "--json").json] == ["Three."]
    assert "1 answers" in lmconf("cache", "prune", "--older", "30min").out
    wrong = lmconf("cache", "prune", "--older", "soon")
    assert (wrong.code, "30d" in wrong.err) == (2, True)


def test_clearing_asks_first(lmconf: Lmconf, default: Path) -> None:
    put(default, "One.", "Two.")
    refused = lmconf("cache", "clear")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert "2 answers" in lmconf("cache", "stats").out
    assert lmconf("cache", "clear", "--yes").code == 0
    assert "0 answers" in lmconf("cache", "stats").out


def test_an_export_comes_back_as_it_was(lmconf: Lmconf, default: Path, tmp_path: Path) -> None:
    put(default, "One.", "Two.", "Three.", ttl=7200)
    first = lmconf("cache", "export").out
    file = tmp_path / "answers.jsonl"
    assert lmconf("cache", "export", "-o", str(file)).code == 0
    assert file.read_text() == first
    assert "3 answers added" in lmconf("cache", "import", str(file), "--path", "other").out
    assert lmconf("cache", "export", "--path", "other").out == first
    again = lmconf("cache", "import", "-", "--path", "other", stdin=first.encode())
    assert "0 answers added, 3 were there already" in again.out


def test_what_is_kept_already_is_replaced_only_by_force(
    lmconf: Lmconf, default: Path, tmp_path: Path
) -> None:
    put(default, "Old.")
    file = tmp_path / "answers.jsonl"
    line = {"key": KEYS[0], "created": 1.0, "ttl": None, "response": chat("New.")}
    file.write_text(json.dumps(line))
    lmconf("cache", "import", str(file))
    assert lmconf("cache", "show", KEYS[0]).out == "Old.\n"
    lmconf("cache", "import", str(file), "--force")
    assert lmconf("cache", "show", KEYS[0]).out == "New.\n"


def test_lines_that_are_no_answers_are_told_with_their_numbers_and_nothing_is_kept(
    lmconf: Lmconf, default: Path, tmp_path: Path
) -> None:
    good = {"key": KEYS[0], "created": 1.0, "ttl": None, "response": chat()}
    bad = [
        "{",
        "[]",
        json.dumps({**good, "key": "abc"}),
        json.dumps({**good, "created": "today"}),
        json.dumps({**good, "ttl": True}),
        json.dumps({**good, "response": {}}),
        json.dumps({**good, "response": {"choices": [1]}}),
        json.dumps({**good, "response": {"choices": [{"message": {"content": 7}}]}}),
        json.dumps({**good, "more": 1}),
        json.dumps({"key": KEYS[0]}),
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join([json.dumps(good), *bad]))
    ran = lmconf("cache", "import", str(file))
    assert ran.code == 1
    assert f"{len(bad)} of its lines" in ran.err
    assert [f"line {number}:" in ran.err for number in range(1, 12)] == [False] + [True] * len(bad)
    assert not default.exists()


def test_what_is_no_answer_is_told_and_breaks_no_command(
    lmconf: Lmconf, default: Path, tmp_path: Path
) -> None:
    """It may come from a later version, or from who writes into the file by himself."""
    store = DiskCache(default)
    store.put(KEYS[0], json.dumps(chat("One.")).encode(), ttl=None)
    store.put(KEYS[1], b'{"choices": [1]}', ttl=None)
    store.put("9" * 64, b"no JSON", ttl=None)
    store.close()
    assert len(lmconf("cache", "list").out.splitlines()) == 3
    shown = lmconf("cache", "show", "999", "--json")
    assert (shown.code, "is not an answer" in shown.err) == (1, True)
    exported = lmconf("cache", "export", "-o", str(tmp_path / "answers.jsonl"))
    assert (exported.code, "1 answers written; 2 entries are not" in exported.err) == (0, True)
    assert "1 were there" in lmconf("cache", "import", str(tmp_path / "answers.jsonl")).out


def test_a_place_that_can_hold_no_store_is_told_once(
    lmconf: Lmconf, default: Path, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    line = {"key": KEYS[0], "created": 1.0, "ttl": None, "response": chat()}
    file.write_text(json.dumps(line))
    for command in (["stats"], ["list"], ["import", str(file)]):
        ran = lmconf("cache", *command, "--path", str(file))
        assert (ran.code, ran.out, "is not a folder" in ran.err) == (1, "", True)
    (tmp_path / "answers.v1.sqlite3").write_text("notes")
    ran = lmconf("cache", "import", str(file), "--path", str(tmp_path))
    assert (ran.code, ran.out, ran.err.count("not a cache of lmconf")) == (1, "", 1)


def test_what_has_expired_is_neither_exported_nor_imported(
    lmconf: Lmconf, default: Path, tmp_path: Path
) -> None:
    put(default, "One.", age=100, ttl=50)
    assert lmconf("cache", "export").out == ""
    file = tmp_path / "answers.jsonl"
    line = {"key": KEYS[0], "created": 1.0, "ttl": 5, "response": chat()}
    file.write_text(json.dumps(line))
    assert (
        "0 answers added, 0 were there already, 1 have expired"
        in lmconf("cache", "import", str(file)).out
    )


def test_an_export_holds_nothing_that_looks_like_a_credential(
    lmconf: Lmconf, default: Path
) -> None:
    put(default, "Use sk-abcdefghijklmnop0123456789 there.")
    exported = lmconf("cache", "export").out
    assert "sk-abcdef" not in exported
    assert "Use" in json.loads(exported)["response"]["choices"][0]["message"]["content"]


def test_a_wrong_command_is_told_with_a_near_one(lmconf: Lmconf) -> None:
    ran = lmconf("cache", "stat")
    assert (ran.code, "Did you mean `stats`?" in ran.err) == (2, True)


@pytest.mark.parametrize("name", ["stats", "list", "show", "prune", "clear", "export", "import"])
def test_every_command_has_help_with_examples(lmconf: Lmconf, name: str) -> None:
    assert f"lmconf cache {name}" in lmconf("cache", name, "--help").out


@pytest.mark.parametrize("what", ["stats", "list", "show 3f", "prune", "clear --yes", "export"])
def test_a_folder_that_is_not_there_is_no_empty_store(lmconf: Lmconf, what: str) -> None:
    ran = lmconf("cache", *what.split(), "--path", "nowhere")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: there is no folder nowhere: ")
