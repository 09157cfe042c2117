"""From specs to stores: kinds, sharing, the folder that is meant, and the switch for a process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lmconf.caches import (
    default_folder,
    live_store,
    open_store,
    override_from_environment,
)
from lmconf.caches.specs import DiskStore, MemoryStore, RedisStore
from lmconf.caches.sqlite_file import FILE
from lmconf.errors import ProfileError, UsageError
from lmconf.secrets.references import Env
from tests.programs import run

ROOT = Path(__file__).parents[3]


def test_a_store_without_its_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    redis = RedisStore(backend="redis", url=Env(name="REDIS_URL"), namespace="n")
    with pytest.raises(UsageError, match=r"pip install 'lmconf-runtime\[redis\]'"):
        open_store(redis)


def test_one_folder_is_not_declared_in_two_ways_at_once(tmp_path: Path) -> None:
    """Once nobody has the one any more, the other takes its place."""
    one, other = (DiskStore(path=str(tmp_path), max_size=size) for size in (2**20, 2**21))
    store = live_store(one)
    store.put("a", b"1", ttl=None)
    with pytest.raises(ProfileError, match="same store, declared differently"):
        live_store(other)
    assert live_store(one) is store
    del store
    assert live_store(other).get("a") == b"1"


def test_equal_specs_share_one_store_and_different_ones_do_not(tmp_path: Path) -> None:
    one = live_store(MemoryStore(max_entries=17))
    assert live_store(MemoryStore(max_entries=17)) is one
    assert live_store(MemoryStore(max_entries=18)) is not one
    disk = live_store(DiskStore(path=str(tmp_path)))
    assert live_store(DiskStore(path=str(tmp_path))) is disk
    assert open_store(MemoryStore(max_entries=17)) is not one


def test_a_store_without_a_path_lies_in_the_users_cache_folder(machine: Path) -> None:
    store = open_store(DiskStore())
    store.put("a", b"1", ttl=None)
    store.close()
    assert default_folder() == str(machine / ".cache/lmconf")
    assert (machine / ".cache/lmconf" / FILE).exists()


def test_the_environment_names_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores that were made for the folder named before stay where they are."""
    before = live_store(DiskStore())
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "other"))
    store = live_store(DiskStore())
    assert store is not before
    store.put("a", b"1", ttl=None)
    store.close()
    assert (tmp_path / "other" / FILE).exists()


def test_a_path_may_begin_with_the_home_folder(machine: Path) -> None:
    store = open_store(DiskStore(path="~/answers"))
    store.put("a", b"1", ttl=None)
    store.close()
    assert (machine / "answers" / FILE).exists()


@pytest.mark.parametrize("said", ["disabled", "memory", "disk"])
def test_the_environment_overrules_for_a_process(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMCONF_CACHE", said)
    assert override_from_environment() == said


@pytest.mark.parametrize("said", [None, ""])
def test_without_a_word_nothing_is_overruled(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said is not None:
        monkeypatch.setenv("LMCONF_CACHE", said)
    assert override_from_environment() is None


def test_a_word_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCONF_CACHE", "disable")
    with pytest.raises(UsageError, match="not `disable`; did you mean `disabled`"):
        override_from_environment()


def test_live_stores_are_closed_when_the_process_ends(tmp_path: Path) -> None:
    """A file that was closed cleanly has no log beside it."""
    done = run(
        "import sys; from lmconf.caches import live_store; from lmconf.caches.specs import *\n"
        "live_store(DiskStore(path=sys.argv[1])).put('a', b'1', ttl=None)",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / FILE).exists()
    assert not (tmp_path / f"{FILE}-wal").exists()


def test_specs_and_keys_need_no_database() -> None:
    code = "import lmconf.caches, sys; print({'sqlite3', 'platformdirs', 'structlog'} & {*sys.modules})"
    assert run(code).stdout == "set()\n"
