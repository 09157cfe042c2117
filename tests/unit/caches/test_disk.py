"""The store on disk: what it leaves there, how it stays within bounds, and what cannot stop it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lmconf.caches.disk import DiskCache
from lmconf.caches.sqlite_file import FILE
from lmconf.caches.store import CacheWarning
from tests.programs import run

ROOT = Path(__file__).parents[3]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def set_aside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{FILE}.corrupt-*"))


def filled(folder: Path, count: int = 50) -> None:
    """Leave a cleanly closed store with `count` answers in `folder`."""
    store = DiskCache(folder)
    for number in range(count):
        store.put(str(number), f"answer {number} ".encode() * 100, ttl=None)
    store.close()


def test_making_a_store_touches_nothing(tmp_path: Path) -> None:
    DiskCache(tmp_path / "cache").close()
    assert list(tmp_path.glob("cache*")) == []


def test_answers_outlive_the_store_and_the_process(tmp_path: Path) -> None:
    filled(tmp_path)
    assert DiskCache(tmp_path).get("7") == b"answer 7 " * 100
    code = "import sys; from lmconf.caches.disk import DiskCache; print(DiskCache(sys.argv[1]).get('7'))"
    assert run(code, tmp_path).stdout == f"{b'answer 7 ' * 100!r}\n"


def test_folder_and_files_are_the_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask says, while the store is open and after."""
    before = os.umask(0)
    try:
        folder = tmp_path / "deep" / "cache"
        store = DiskCache(folder)
        store.put("a", b"1", ttl=None)
        names = {path.name: mode(path) for path in folder.iterdir()}
        assert {FILE, f"{FILE}-wal", f"{FILE}-shm"} <= set(names)
        assert set(names.values()) == {0o600}
        assert mode(folder) == 0o700
        store.close()
        assert not (folder / f"{FILE}-wal").exists()
    finally:
        os.umask(before)


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / FILE).chmod(0o644)
    assert DiskCache(tmp_path).get("1") is not None
    assert mode(tmp_path / FILE) == 0o600


def test_an_answer_is_dropped_when_its_time_is_over(tmp_path: Path) -> None:
    now = [1000.0]
    store = DiskCache(tmp_path, clock=lambda: now[0])
    store.put("a", b"1", ttl=60)
    now[0] += 59
    found = store.find("a")
    assert found == (b"1", 1.0)
    now[0] += 1
    assert store.get("a") is None
    # The next time the house is kept, the row is gone, too.
    reopened = DiskCache(tmp_path, clock=lambda: now[0])
    reopened.put("b", b"2", ttl=None)
    assert reopened.stats()["entries"] == 1


def test_the_file_stays_within_its_size_however_much_is_put(tmp_path: Path) -> None:
    """Under a clock that stands still, too, when all answers were used at the same moment."""
    store = DiskCache(tmp_path, max_size=2**20, clock=lambda: 1000.0)
    for number in range(2000):
        store.put(str(number), os.urandom(2000), ttl=None)
    assert store.stats()["entries"] >= 300
    store.close()
    assert (tmp_path / FILE).stat().st_size <= 2**20


def test_what_was_used_least_recently_is_dropped_first(tmp_path: Path) -> None:
    now = [1000.0]
    store = DiskCache(tmp_path, max_size=2**20, clock=lambda: now[0])
    store.put("used", bytes(2000), ttl=None)
    store.put("unused", bytes(2000), ttl=None)
    for number in range(1000):
        now[0] += 10
        store.put(str(number), os.urandom(2000), ttl=None)
        assert store.get("used") is not None, number
    assert store.get("unused") is None
    assert store.get("0") is None
    assert store.get("999") is not None


def test_a_store_that_is_allowed_less_than_before_shrinks(tmp_path: Path) -> None:
    large = DiskCache(tmp_path)
    for number in range(1000):
        large.put(str(number), os.urandom(4000), ttl=None)
    large.close()
    small = DiskCache(tmp_path, max_size=2**20)
    small.put("new", b"1", ttl=None)
    assert small.get("new") == b"1"
    small.close()
    assert (tmp_path / FILE).stat().st_size <= 2**20


def test_a_row_whose_value_changed_on_disk_is_deleted_and_not_found(tmp_path: Path) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE answers SET value = replace(value, '3', '4') WHERE key = '3'")
        connection.execute("UPDATE answers SET value = 'text' WHERE key = '4'")
        connection.execute(
            "UPDATE answers SET (value, checksum) ="
            " (SELECT value, checksum FROM answers WHERE key = '6') WHERE key = '5'"
        )
        connection.execute("UPDATE answers SET value = CAST(x'ce78' AS TEXT) WHERE key = '7'")
        connection.execute("UPDATE answers SET expires = 'soon' WHERE key = '8'")
        connection.execute("UPDATE answers SET used = x'00' WHERE key = '9'")
    connection.close()
    store = DiskCache(tmp_path)
    assert len(list(store.entries())) == 44
    assert [store.get(key) for key in "345789"] == [None] * 6
    assert store.get("6") is not None
    assert store.stats()["entries"] == 44
    store.put("3", b"new", ttl=None)
    assert store.get("3") == b"new"


def spoil_with_garbage(path: Path) -> None:
    path.write_bytes(b"this is no database " * 1000)


def spoil_by_cutting(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 - 100)


def spoil_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(8192 + 100, len(content), 4096):
        content[place - 100 : place + 100] = b"\xff" * 200
    path.write_bytes(content)


def spoil_by_emptying(path: Path) -> None:
    path.write_bytes(b"")


def spoil_by_another_database(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE things (name)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_with_garbage,
        spoil_by_cutting,
        spoil_pages,
        spoil_by_emptying,
    ],
)
def test_a_corrupt_file_is_set_aside_and_a_new_one_made(tmp_path: Path, spoil: object) -> None:
    """With one warning; the answers that were in it are lost, and no call fails."""
    filled(tmp_path)
    assert callable(spoil)
    spoil(tmp_path / FILE)
    store = DiskCache(tmp_path)
    with pytest.warns(CacheWarning, match="corrupt") as said:
        for number in range(60):
            store.get(str(number))
            store.put(f"new {number}", b"1" * 1000, ttl=None)
    assert len(said) == 1
    assert [store.get(f"new {number}") for number in range(60)] == [b"1" * 1000] * 60
    assert f"{FILE}.corrupt-1" in set_aside(tmp_path)
    store.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert DiskCache(tmp_path).get("new 3") == b"1" * 1000


def write_text(path: Path) -> None:
    path.write_text("my notes\n" * 500)


@pytest.mark.parametrize("spoil", [spoil_by_another_database, write_text])
def test_a_file_that_is_no_cache_is_left_as_it_is(tmp_path: Path, spoil: object) -> None:
    """With one warning, and calls go on without a store."""
    assert callable(spoil)
    (tmp_path / FILE).write_bytes(b"")
    spoil(tmp_path / FILE)
    before = (tmp_path / FILE).read_bytes()
    store = DiskCache(tmp_path)
    with pytest.warns(CacheWarning, match="not a cache of lmconf and was not changed") as said:
        store.put("a", b"1", ttl=None)
        assert store.get("a") is None
        store.clear()
        store.close()
    assert len(said) == 1
    assert (tmp_path / FILE).read_bytes() == before
    assert set_aside(tmp_path) == []


def test_a_file_that_becomes_corrupt_in_use_is_replaced_and_the_answer_kept(tmp_path: Path) -> None:
    filled(tmp_path)
    store = DiskCache(tmp_path)
    assert store.get("1") is not None
    spoil_pages(tmp_path / FILE)
    with pytest.warns(CacheWarning, match="corrupt"):
        for number in range(200):
            store.put(f"new {number}", bytes(5000), ttl=None)
    assert store.get("new 199") == bytes(5000)


def test_only_the_last_two_corrupt_files_are_kept(tmp_path: Path) -> None:
    for _ in range(4):
        filled(tmp_path)
        spoil_with_garbage(tmp_path / FILE)
        with pytest.warns(CacheWarning):
            DiskCache(tmp_path).put("a", b"1", ttl=None)
    assert set_aside(tmp_path) == [f"{FILE}.corrupt-3", f"{FILE}.corrupt-4"]


HOLD = """
import sys, time
from lmconf.caches.disk import DiskCache
store = DiskCache(sys.argv[1])
store.get("1")
print("open", flush=True)
sys.stdin.read()
"""


def test_a_corrupt_file_stays_while_another_process_has_it_open(tmp_path: Path) -> None:
    """Renaming it then could mix the two files' logs; calls continue without a store."""
    filled(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        spoil_with_garbage(tmp_path / FILE)
        store = DiskCache(tmp_path)
        with pytest.warns(CacheWarning, match="corrupt; calls continue without it"):
            assert store.get("1") is None
        store.put("1", b"2", ttl=None)
        assert store.get("1") is None
        assert set_aside(tmp_path) == []
    healed = DiskCache(tmp_path)
    with pytest.warns(CacheWarning, match="renamed"):
        healed.put("1", b"2", ttl=None)
    assert healed.get("1") == b"2"


def test_a_store_that_cannot_be_opened_warns_once_and_calls_go_on(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    store = DiskCache(blocked / "cache")
    with pytest.warns(CacheWarning) as said:
        for _ in range(3):
            store.put("a", b"1", ttl=None)
            assert store.get("a") is None
            assert store.stats() == {"entries": 0, "bytes": 0}
            store.clear()
            store.close()
    assert len(said) == 1


def test_a_store_that_could_not_be_opened_is_tried_again_later(tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("no folder")
    store = DiskCache(blocked)
    with pytest.warns(CacheWarning):
        store.put("a", b"1", ttl=None)
    blocked.unlink()
    store.put("a", b"1", ttl=None)
    assert store.get("a") is None
    store._opening.record_success()  # the minute is over
    store.put("a", b"1", ttl=None)
    assert store.get("a") == b"1"


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    store = DiskCache(folder, max_size=2**20)
    store.put("a", b"1", ttl=None)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    for number in range(100):
        store.put(str(number), bytes(2000), ttl=None)
    store.close()
    assert DiskCache(folder).get("99") == bytes(2000)


def test_a_file_that_another_process_holds_costs_a_wait_and_a_warning(tmp_path: Path) -> None:
    filled(tmp_path)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = DiskCache(tmp_path, patience=0.05)
    with pytest.warns(CacheWarning, match="another process") as said:
        store.put("a", b"1", ttl=None)
        store.put("b", b"1", ttl=None)
    assert len(said) == 1
    assert store.get("7") is not None
    other.execute("ROLLBACK")
    other.close()
    assert store.get("a") is None
    later = DiskCache(tmp_path)
    later.put("a", b"2", ttl=None)
    assert store.get("a") == b"2"


# The kernel refuses to let files grow past a limit: the closest thing to a full disk that needs
# no privileges. (A log has to be shorter than the limit, so reading goes on.)
FULL = """
import resource, sys, warnings
from lmconf.caches.store import CacheWarning
from lmconf.caches.disk import DiskCache
store = DiskCache(sys.argv[1])
store.put("before", b"1", ttl=None)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for number in range(500):
        store.put(str(number), bytes(5000), ttl=None)
        store.get(str(number))
print(len(said), said[0].category.__name__, store.get("before"), store.get("0") == bytes(5000))
"""


def test_a_full_disk_fails_no_call_and_reading_goes_on(tmp_path: Path) -> None:
    done = run(FULL, tmp_path)
    assert done.stdout == "1 CacheWarning b'1' True\n", done.stderr
    store = DiskCache(tmp_path)
    assert store.get("before") == b"1"
    store.put("after", b"2", ttl=None)
    assert store.get("after") == b"2"


# A folder that may not be written, seen by a user who is not root.
READ_ONLY = """
import os, sys, warnings
from lmconf.caches.disk import DiskCache
folder, how = sys.argv[1:]
for name in os.listdir(folder):
    os.chown(os.path.join(folder, name), 65534, 65534) if os.getuid() == 0 else None
    os.chmod(os.path.join(folder, name), 0o400)
os.chown(folder, 65534, 65534) if os.getuid() == 0 else None
os.chmod(folder, 0o500)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = DiskCache(folder)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    answer = store.get("7")
    print(answer == b"answer 7 " * 100, len(said))
    store.put("new", b"1", ttl=None)
    store.put("new", b"1", ttl=None)
    print(store.get("new"), len(said), store.get("7") == answer, "read-only" in str(said[0].message))
store.close()
os.chmod(folder, 0o700)
"""
CRASH = """
import os, sys
from lmconf.caches.disk import DiskCache
store = DiskCache(sys.argv[1])
for number in range(50):
    store.put(str(number), f"answer {number} ".encode() * 100, ttl=None)
os._exit(1)
"""


@pytest.fixture
def open_to_all() -> object:
    """A folder that another user can reach, which pytest's own folders are not."""
    import shutil
    import tempfile

    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    (top / "cache").mkdir()
    yield top / "cache"
    shutil.rmtree(top)


@pytest.mark.parametrize("crashed", [False, True], ids=["closed cleanly", "crashed"])
def test_a_read_only_store_answers_and_keeps_nothing(open_to_all: Path, crashed: bool) -> None:
    """After a crash the last answers are in the log beside the file, and are found all the same."""
    run(CRASH, open_to_all) if crashed else filled(open_to_all)
    assert (open_to_all / f"{FILE}-wal").exists() == crashed
    done = run(READ_ONLY, open_to_all, "")
    assert done.stdout == "True 0\nNone 1 True True\n", done.stderr


WRITE = """
import sys
from lmconf.caches.disk import DiskCache
store = DiskCache(sys.argv[1], patience=10)
number = 0
while sys.argv[3] == "on" or number < int(sys.argv[3]):
    store.put(f"{sys.argv[2]}-{number}", f"{sys.argv[2]} {number} ".encode() * 300, ttl=None)
    print(number, flush=True)
    number += 1
"""


def test_nothing_that_was_kept_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path), "a", "on"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        for _ in range(200):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read()
    last = 199 + rest.count(b"\n")
    store = DiskCache(tmp_path)
    for number in range(last + 1):
        assert store.get(f"a-{number}") == f"a {number} ".encode() * 300


def test_many_processes_may_begin_and_write_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITE, str(folder), str(number), "150"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for writer in writers:
        assert writer.communicate(timeout=120)[1] == ""
        assert writer.returncode == 0
    store = DiskCache(folder)
    for name in range(4):
        for number in range(150):
            assert store.get(f"{name}-{number}") == f"{name} {number} ".encode() * 300
    store.close()
    connection = sqlite3.connect(folder / FILE)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
