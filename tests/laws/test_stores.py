"""A store on disk is a dictionary that may forget, and never lies: through whatever befalls it.

With LMCONF_NIGHTLY=1 writers are killed 500 times in place of a few, and every single write of a
store is made to fail.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lmconf.caches import answer_table, disk
from lmconf.caches.disk import DiskCache
from lmconf.caches.sqlite_file import FILE
from lmconf.caches.store import CacheWarning
from lmconf.caches.write_behind import WriteBehindStore

ROOT = Path(__file__).parents[2]
CYCLES = 500 if os.environ.get("LMCONF_NIGHTLY") else 6
SIZE = 512 * 1024

# What befalls a store is told by a warning; that calls go on is what is looked at here.
pytestmark = pytest.mark.filterwarnings("ignore::lmconf.caches.store.CacheWarning")

KEYS = [
    f"{number:064x}" for number in range(4)
]  # few, so that what befalls one befalls what is kept
keys = st.sampled_from(KEYS)
values = st.binary(max_size=40).flatmap(lambda b: st.sampled_from([b, b * 50]))

# Puts and flushes what it is told, says so, puts more, and waits to be killed.
WRITER = """
import sys
from lmconf.caches.write_behind import WriteBehindStore
from lmconf.caches.disk import DiskCache
folder, size, now, key, value = sys.argv[1:]
clock = lambda: float(now)
store = WriteBehindStore(lambda: DiskCache(folder, int(size), clock=clock), clock=clock)
store.put(key, bytes.fromhex(value), ttl=None)
store.flush()
for number in range(20):
    store.put(f"{number + 100:064x}", b"lost, perhaps", ttl=None)
print("flushed", flush=True)
sys.stdin.read()
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class StoreMachine(RuleBasedStateMachine):
    """Puts, gets and disasters against a dictionary.

    `kept` says what must be found under a key, and until when; of the keys in `doubtful` the
    answer may be gone, and is right where it is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1000.0
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.doubtful: set[str] = set()
        self.kills = 0
        self.tight = False  # as much is kept as fits: whatever is put may drop something
        self.store = self.opened()

    def opened(self) -> WriteBehindStore:
        def clock() -> float:
            return self.now

        made = DiskCache(self.folder, SIZE, clock=clock)
        return WriteBehindStore(lambda: made, most=SIZE // 8, clock=clock)

    @rule(key=keys, value=values, ttl=st.none() | st.sampled_from([0.0, 5.0, 50.0]))
    def put(self, key: str, value: bytes, ttl: float | None) -> None:
        self.store.put(key, value, ttl=ttl)
        self.kept[key] = (value, float("inf") if ttl is None else self.now + ttl)
        self.doubtful.discard(key)

    @rule(key=keys)
    def get(self, key: str) -> None:
        self.agrees(key, self.store)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=keys)
    def drop(self, key: str) -> None:
        self.store.flush()
        self.store.store.drop([key])
        self.kept.pop(key, None)

    @rule()
    def expire(self) -> None:
        self.store.flush()
        self.store.store.expire()

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.kept.clear()
        self.tight = False

    @rule()
    def evict(self) -> None:
        """More is put than fits: what is left is right."""
        for number in range(30):
            self.store.put(f"{number + 1000:064x}", os.urandom(20_000), ttl=None)
        self.tight = True

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.opened()

    @rule()
    def look_from_another(self) -> None:
        """What was flushed is there for whoever opens the file."""
        self.store.flush()
        other = self.opened()
        for key in self.kept:
            self.agrees(key, other)
        other.close()

    @precondition(lambda self: self.kills < 2)
    @rule(key=keys, value=values)
    def kill_a_writer(self, key: str, value: bytes) -> None:
        self.kills += 1
        self.store.flush()  # what waits here would be written after the other's
        with python(WRITER, self.folder, SIZE, self.now, key, value.hex()) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "flushed\n"
            os.kill(writer.pid, signal.SIGKILL)
        self.kept[key] = (value, float("inf"))
        self.doubtful.discard(key)

    @rule(key=keys)
    def corrupt_a_row(self, key: str) -> None:
        self.store.flush()
        connection = sqlite3.connect(self.folder / FILE)
        try:
            connection.execute("UPDATE answers SET value = value || 'x' WHERE key = ?", (key,))
            connection.commit()
        except sqlite3.OperationalError:
            pass  # nothing was ever written
        finally:
            connection.close()
        if self.store.get(key) is None:
            self.kept.pop(key, None)

    @rule(how=st.sampled_from(["header", "cut", "pages"]))
    def corrupt_the_file(self, how: str) -> None:
        self.store.close()
        path = self.folder / FILE
        if path.exists():
            content = bytearray(path.read_bytes())
            if how == "header":
                content[:64] = os.urandom(64)
            elif how == "cut":
                del content[len(content) // 2 :]
            else:
                for place in range(8192, len(content), 8192):
                    content[place : place + 64] = os.urandom(64)
            path.write_bytes(content)
        self.store = self.opened()
        self.doubtful |= set(self.kept)
        # The first to meet the damage heals it.
        for key in list(self.kept):
            self.agrees(key, self.store)
        self.store.put("f" * 64, b"", ttl=None)
        self.store.flush()

    @invariant()
    def everything_found_is_right(self) -> None:
        for key in KEYS:
            self.agrees(key, self.store)

    def agrees(self, key: str, store: WriteBehindStore) -> None:
        found = store.get(key)
        value, until = self.kept.get(key, (None, 0.0))
        if found is None and (self.tight or key in self.doubtful):
            return
        assert found == (value if self.now < until else None)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=400 if CYCLES > 100 else 12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


# Writers that flush after every few puts, and say what was flushed.
ACKNOWLEDGING = """
import sys
from lmconf.caches.write_behind import WriteBehindStore
from lmconf.caches.disk import DiskCache
store = WriteBehindStore(lambda: DiskCache(sys.argv[1], patience=20))
number = 0
while True:
    for _ in range(5):
        store.put(f"{sys.argv[2]}-{number}", f"{sys.argv[2]} {number} ".encode() * 100, ttl=None)
        number += 1
    store.flush()
    print(number, flush=True)
"""


def check_flushed(folder: Path, flushed: dict[str, int]) -> None:
    store = DiskCache(folder)
    for name, count in flushed.items():
        for number in range(count):
            assert store.get(f"{name}-{number}") == f"{name} {number} ".encode() * 100
    store.close()


def test_what_four_writers_flushed_is_there_whenever_they_are_killed(tmp_path: Path) -> None:
    seed = random.Random(7)
    every: dict[str, int] = {}
    for cycle in range(CYCLES):
        writers = {f"{cycle}.{name}": python(ACKNOWLEDGING, tmp_path, f"{cycle}.{name}")
                   for name in range(4)}  # fmt: skip
        flushed, last = {}, {}
        for name, writer in writers.items():
            assert writer.stdout is not None
            for _ in range(seed.randrange(1, 20)):
                last[name] = writer.stdout.readline()
        for writer in writers.values():
            os.kill(writer.pid, signal.SIGKILL)
        for name, writer in writers.items():
            said = writer.communicate()[0].split()
            flushed[name] = int(said[-1]) if said else int(last[name])
        check_flushed(tmp_path, flushed)
        every |= flushed
    check_flushed(tmp_path, every)
    connection = sqlite3.connect(tmp_path / FILE)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


FAULTS = [
    sqlite3.OperationalError("disk I/O error"),
    sqlite3.OperationalError("database or disk is full"),
    sqlite3.OperationalError("attempt to write a readonly database"),
    sqlite3.OperationalError("database is locked"),
    sqlite3.DatabaseError("database disk image is malformed"),
    OSError(28, "No space left on device"),
    OSError(5, "Input/output error"),
]


@pytest.mark.parametrize("where", ["write_rows", "occupied_bytes", "page_size", "open_file"])
@given(
    fault=st.sampled_from(FAULTS),
    fails=st.lists(st.booleans(), min_size=20, max_size=20),
    sizes=st.lists(st.integers(0, 30_000), min_size=5, max_size=20),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_fails_below_no_call_fails_and_nothing_wrong_is_found(
    where: str, fault: Exception, fails: list[bool], sizes: list[int]
) -> None:
    """A fault that comes and goes in one function below; afterwards the store works as before."""
    module = disk if where == "open_file" else answer_table
    real = getattr(module, where)
    left = list(fails)

    def failing(*arguments: object) -> object:
        if left and left.pop():
            raise fault
        return real(*arguments)

    folder = Path(tempfile.mkdtemp())
    try:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            patch.setattr(module, where, failing)
            store = DiskCache(folder, SIZE)
            for number, size in enumerate(sizes):
                store.put(str(number), bytes([number]) * size, ttl=None)
                found = store.get(str(number))
                assert found is None or found == bytes([number]) * size
            store.close()
        healed = DiskCache(folder, SIZE)
        healed.put("after", b"1", ttl=None)
        assert healed.get("after") == b"1"
        healed.close()
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="it stands between SQLite and glibc")
def test_whichever_write_fails_no_call_fails_and_nothing_that_was_kept_is_lost(
    tmp_path: Path,
) -> None:
    """With ENOSPC and EIO, once and for good, in the middle of a write and instead of it."""
    compiler = shutil.which("cc")
    if compiler is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("there is no C compiler: install `cc`")
    shim = tmp_path / "failing_writes.so"
    source = ROOT / "tests/failing_writes.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source], check=True)
    share = "1" if CYCLES > 100 else "16"
    ran = subprocess.run(
        [sys.executable, "-m", "tests.laws.failing_writes", shim, tmp_path, share],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "the disk is full" in ran.stdout
    assert "disk I/O error" in ran.stdout
