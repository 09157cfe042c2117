"""Adds up what calls use and cost, in a file that the processes of one machine share."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lmconf.callbacks.events import End, Failure, Fallback, Retry
from lmconf.callbacks.meter_totals import Totals, bucket_of, merge
from lmconf.system.fork import Mutex

__all__ = ["MeterCallback", "default_path", "read"]

_BETWEEN = 0.5  # seconds from one writing to the next
_VERSION = 1


class _File(msgspec.Struct):
    version: int = _VERSION
    lms: dict[str, Totals] = msgspec.field(default_factory=dict)


class MeterCallback:
    """Counts calls LM by LM; `by_lm` are the totals of this callback alone.

    The file at `path` (left out: `default_path()`) holds those of every process that counts into
    it. It is replaced as a whole, with mode 0600, twice a second at most and when the LM is closed
    or the program ends; what cannot be written is tried again with the next call.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._ledger = _Ledger(None if path is None else os.path.expanduser(path))  # noqa: PTH111
        # Also at the end of the program, after what callbacks have yet to hear.
        weakref.finalize(self, self._ledger.end)

    @property
    def by_lm(self) -> dict[str, Totals]:
        """What the calls heard of so far have come to."""
        return self._ledger.all

    def on_retry(self, event: Retry) -> None:
        """Count an attempt that is made again."""
        self._ledger.add(event.lm, Totals(retries=1))

    def on_fallback(self, event: Fallback) -> None:
        """Count a call that another LM is asked to answer."""
        self._ledger.add(event.lm, Totals(fallbacks=1))

    def on_end(self, event: End) -> None:
        """Count an answer."""
        usage = event.usage or {}
        hit = event.cache_hit
        self._ledger.add(
            event.lm,
            Totals(
                model=event.model,
                calls=1,
                cache_hits=int(hit),
                attempts=event.attempts,
                input_tokens=_count(usage.get("prompt_tokens")),
                output_tokens=_count(usage.get("completion_tokens")),
                cost=event.cost or 0.0,
                unpriced=int(event.cost is None and not hit),
                seconds={} if hit else {bucket_of(event.duration): 1},
            ),
        )
        self._ledger.write()

    def on_error(self, event: Failure) -> None:
        """Count a failure by its class."""
        failed = Totals(
            model=event.model,
            attempts=event.attempts,
            failures={type(event.error).__name__: 1},
        )
        self._ledger.add(event.lm, failed)
        self._ledger.write()

    def close(self) -> None:
        """Write what was not written yet."""
        self._ledger.write(late=True)


class _Ledger:
    """The totals, and what of them the file does not hold yet."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._process = os.getpid()
        self._lock = Mutex()
        self._written = -_BETWEEN
        self._all: dict[str, Totals] = {}
        self._unwritten: dict[str, Totals] = {}

    @property
    def all(self) -> dict[str, Totals]:
        with self._lock:
            copied: dict[str, Totals] = {}
            merge(copied, self._all)
            return copied

    def add(self, lm: str, totals: Totals) -> None:
        with self._lock:
            self._leave_to_parent()
            merge(self._all, {lm: totals})
            merge(self._unwritten, {lm: totals})

    def write(self, *, late: bool = False) -> None:
        now = time.monotonic()
        with self._lock:
            self._leave_to_parent()
            if not self._unwritten or (not late and now - self._written < _BETWEEN):
                return
            more, self._unwritten = self._unwritten, {}
            self._written = now
        try:
            _add_to(self._path or default_path(), more)
        except BaseException:
            with self._lock:
                merge(self._unwritten, more)
            raise

    def end(self) -> None:
        with contextlib.suppress(OSError):  # nobody is left who could be warned
            self.write(late=True)

    def _leave_to_parent(self) -> None:
        """In a forked child, forget what the parent has yet to write."""
        if self._process != os.getpid():
            self._process, self._unwritten = os.getpid(), {}


def default_path() -> str:
    """Return the file of a meter that names none."""
    import platformdirs

    return str(Path(platformdirs.user_state_path("lmconf", appauthor=False)) / "meter.json")


def read(path: str | Path) -> dict[str, Totals]:
    """Return the totals that the file at `path` holds, LM by LM.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    return _decode_file(Path(path).read_bytes()).lms


def _decode_file(text: bytes) -> _File:
    found = msgspec.json.decode(text, type=_File)
    if found.version != _VERSION:
        raise ValueError(f"its version is {found.version}, and this lmconf reads {_VERSION}")
    return found


def _add_to(path: str, more: dict[str, Totals]) -> None:
    place = Path(path)
    if not place.parent.is_dir():
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _hold_lock(f"{path}.lock"):
        try:
            found = _decode_file(place.read_bytes())
        except FileNotFoundError:
            found = _File()
        except ValueError:
            place.replace(f"{path}.broken")
            found = _File()
        merge(found.lms, more)
        fresh = Path(f"{path}.new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(found))
        fresh.replace(place)


@contextlib.contextmanager
def _hold_lock(path: str) -> Iterator[None]:
    import fcntl

    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
                raise
        yield
    finally:
        os.close(handle)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
