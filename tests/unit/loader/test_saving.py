"""Files that are written whole or not at all, and states that load again as they stand."""

from __future__ import annotations

import os
import stat
import threading
import warnings
from pathlib import Path

import pytest

import lmconf
from lmconf.errors import UsageError
from lmconf.loader.api import ProfileWarning
from lmconf.system.files import write_atomically
from lmconf.system.paths import shipped_folder

SHIPPED = sorted(shipped_folder("profiles").glob("*.yaml"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


# --- writing ------------------------------------------------------------------------------------


def test_a_new_file_has_the_mode_that_the_process_gives_new_files(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(folder / "a.yaml", "text\n")
    finally:
        os.umask(before)
    assert mode_of(folder / "a.yaml") == 0o640
    assert (folder / "a.yaml").read_bytes() == b"text\n"


def test_writing_never_touches_the_mode_of_what_other_threads_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(mask: int) -> int:
        raise AssertionError("the umask belongs to the whole process")

    monkeypatch.setattr(os, "umask", forbidden)
    write_atomically(folder / "a.yaml", "text\n")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_file_keeps_its_mode_when_it_is_replaced(folder: Path, mode: int) -> None:
    target = folder / "a.yaml"
    target.write_text("old")
    target.chmod(mode)
    write_atomically(target, "new")
    assert mode_of(target) == mode
    assert target.read_text() == "new"


def test_a_file_that_only_its_owner_may_read_is_never_open_to_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder / "a.yaml"
    target.write_text("old")
    target.chmod(0o600)
    modes: list[int] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        modes.extend(mode_of(path) for path in folder.iterdir())
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(target, "new")
    assert modes == [0o600, 0o600]


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("old")
    (folder / "link.yaml").symlink_to(real)
    write_atomically(folder / "link.yaml", "new")
    assert (folder / "link.yaml").is_symlink()
    assert real.read_text() == "new"
    assert [*folder.iterdir()] == [folder / "link.yaml"]


def test_a_link_to_nothing_yet_makes_the_file(folder: Path, tmp_path: Path) -> None:
    (folder / "link.yaml").symlink_to(tmp_path / "new.yaml")
    write_atomically(folder / "link.yaml", "new")
    assert (tmp_path / "new.yaml").read_text() == "new"


def test_a_failure_leaves_the_old_content_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder / "a.yaml"
    target.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device", ".a.yaml.temporary")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        lmconf.dump(lmconf.LM("openai/x"), target)
    assert caught.value.filename == str(target)
    assert target.read_text() == "old"
    assert [*folder.iterdir()] == [target]


def test_an_interrupt_leaves_the_old_content_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder / "a.yaml"
    target.write_text("old")

    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert [*folder.iterdir()] == [target]


def test_what_cannot_be_written_is_an_error_with_the_name_that_was_asked_for(
    folder: Path,
) -> None:
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "taken").mkdir()
    for wrong in ("none/a.yaml", "circle", "taken"):
        with pytest.raises(OSError, match=wrong) as caught:
            lmconf.dump(lmconf.LM("openai/x"), wrong)
        assert caught.value.filename == wrong
    assert {path.name for path in folder.iterdir()} == {"circle", "taken"}


def test_a_reader_sees_the_old_content_or_the_new(folder: Path) -> None:
    target = folder / "a.yaml"
    texts = {letter * 50_000 for letter in "ab"}
    write_atomically(target, min(texts))
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(target.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for text in [*texts] * 10:
            write_atomically(target, text)
    finally:
        done.set()
        reader.join()
    assert seen <= texts


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("form", ["resolved", "minimal"])
def test_every_shipped_profile_comes_back_from_its_state(
    path: Path, form: str, folder: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfileWarning)
        loaded = lmconf.load(path)
        target = folder / "state.yaml"
        lmconf.dump(loaded, target, form)  # type: ignore[arg-type]
        again = lmconf.load(target)
    assert again == loaded
    assert lmconf.dumps(again, form) == target.read_text("utf-8")  # type: ignore[arg-type]
    assert [*again] == [*loaded]
    for name in loaded:
        assert again[name] == loaded[name]
        assert lmconf.load_state(loaded[name].dump_state()) == loaded[name]


def test_all_shipped_profiles_were_looked_at() -> None:
    assert {"openai", "anthropic", "azure", "ollama"} <= {path.stem for path in SHIPPED}


def test_a_state_says_neither_parents_nor_variables_nor_templates() -> None:
    loaded = lmconf.load(
        {
            "vars": {"tier": "mini"},
            "defaults": {"seed": 1},
            "lms": {
                "_base": {"model": "openai/gpt-{{ vars.tier }}"},
                "a": {"extends": "_base", "stop": ["{$value}", {"$value": "{{ kept }}"}]},
            },
        }
    )
    state = loaded.dump_state("minimal")
    assert state["lms"] == {
        "a": {"model": "openai/gpt-mini", "seed": 1, "stop": ["{$value}", {"$value": "{{ kept }}"}]}
    }
    assert {"vars", "defaults", "extends"}.isdisjoint(state)


def test_a_state_is_written_in_known_forms_alone(folder: Path) -> None:
    loaded = lmconf.load({"model": "openai/x"})
    for wrong in ("full", "dspy"):
        with pytest.raises(UsageError, match="resolved or minimal"):
            lmconf.dump(loaded, "a.yaml", wrong)  # type: ignore[arg-type]
    assert [*folder.iterdir()] == []
