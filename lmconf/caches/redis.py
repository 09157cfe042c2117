"""Answers kept in a Redis server, shared by the machines of a team.

A server that is gone costs one call a twentieth of a second at most: connections are made by a
thread of their own, and only the first is waited for. While there is none, nothing is found and
nothing kept. No message repeats what the client says: it may hold the address's password.
"""

from __future__ import annotations

import itertools
import math
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from lmconf.caches.contract import Entry, Found, Kept, Stats, WarnsOnce
from lmconf.errors import Error, UsageError
from lmconf.forking import stand_still_at_forks

if TYPE_CHECKING:
    import redis

__all__ = ["RedisCache", "see_that_redis_is_installed"]

T = TypeVar("T")

_PATIENCE = 0.05
"""Seconds that a call waits for the server."""
_WRITING = 2.0
"""Seconds that whoever writes or counts waits for it, which holds up no call."""
_FIRST_REST, _LAST_REST = 1.0, 60.0
_LARGEST = 16 * 2**20
_PIECE = 2**18
_FOR_EVER = 10 * 365 * 86400.0
# What stands before a value: a mark, when it was made, the checksum of key and value.
_HEAD = struct.Struct(">4sd16s")
_MARK = b"LMc1"


class _Clients(NamedTuple):
    """Two clients of one server: one waits as long as a call may, the other as writing may."""

    calling: redis.Redis
    writing: redis.Redis


class RedisCache:
    """The answers under `namespace` of the server at the address that `url` returns.

    `url` is asked anew for each connection; it may raise an `Error`. `clock` returns seconds since
    1970.
    """

    far = True

    def __init__(
        self,
        url: Callable[[], str],
        namespace: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._prefix = f"lmconf:1:{quote(namespace, safe='')}:"
        self._clock = clock
        self._warn = WarnsOnce(f"cache in Redis under {namespace}")
        self._clients: _Clients | None = None
        self._rest = _FIRST_REST
        self._rest_until = -math.inf
        self._waited = False
        self._connecting: threading.Event | None = None
        self._lock = threading.RLock()
        stand_still_at_forks(self)

    def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, or None."""
        found = self.find(key)
        return None if found is None else found.value

    def find(self, key: str) -> Found | None:
        """Return what was put under `key` with its remaining time, or None."""
        return self._do(lambda client: self._find(client, key), _PATIENCE)

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        """Keep `value` under `key` for `ttl` seconds (None: for ever)."""
        now = self._clock()
        # max() also makes 0 of NaN, which would otherwise never expire.
        self.put_all((Entry(key, value, now, None if ttl is None else now + max(0.0, ttl)),))

    def put_all(self, entries: Iterable[Entry]) -> None:
        """Keep `entries`; when it returns, the server has them, or they are given up."""
        for piece in _pieces(entries):
            self._do(lambda client, piece=piece: self._put(client, piece), _WRITING)  # type: ignore[misc]

    def fits(self, size: int) -> bool:
        """Say whether a value of `size` bytes would be kept."""
        return size <= _LARGEST

    def close(self) -> None:
        """Close the connections; a later call opens them again."""
        with self._lock:
            clients, self._clients = self._clients, None
        for client in clients or ():
            client.close()

    def stats(self) -> Stats:
        """Return how many answers are kept under the namespace, and their bytes."""
        return self._do(self._stats, _WRITING) or {"entries": 0, "bytes": 0}

    def entries(self) -> Iterator[Kept]:
        """Return everything that is kept; damaged values are left out."""
        names = self._do(lambda client: [*itertools.chain(*self._names(client))], _WRITING) or []
        for begin in range(0, len(names), 200):
            page = names[begin : begin + 200]
            found = self._do(lambda client, page=page: _values(client, page), _WRITING) or []  # type: ignore[misc]
            now = self._clock()
            for name, kept, left in zip(page, found[::2], found[1::2], strict=False):
                key = name.decode("utf-8", "surrogatepass").removeprefix(self._prefix)
                value = _opened(key, kept) if kept is not None else None
                if value is not None:
                    made = _HEAD.unpack_from(kept)[1]
                    yield Kept(key, value, made, None if left < 0 else now + left / 1000, made)

    def drop(self, keys: Iterable[str]) -> None:
        """Drop what is kept under `keys`."""
        names = [self._prefix + key for key in keys]
        for begin in range(0, len(names), 1000):
            page = names[begin : begin + 1000]
            self._do(lambda client, page=page: client.unlink(*page), _WRITING)  # type: ignore[misc]

    def expire(self) -> None:
        """Do nothing: the server drops what has expired by itself."""

    def clear(self) -> None:
        """Drop everything under the namespace."""
        self._do(self._clear, _WRITING)

    # --- the connection ---

    def _do(self, work: Callable[[redis.Redis], T], patience: float) -> T | None:
        clients = self._clients or self._connected(patience)
        if clients is None:
            return None
        from redis.exceptions import RedisError

        try:
            return work(clients.calling if patience == _PATIENCE else clients.writing)
        except (RedisError, OSError) as error:
            self._lost(error, clients)
            return None

    def _connected(self, patience: float) -> _Clients | None:
        """Return the clients once they are connected, None if that takes long or just failed."""
        import redis  # noqa: F401 - what loading it takes is no fault of the server's

        with self._lock:
            if self._clients is not None:
                return self._clients
            made = self._connecting
            if made is None:
                if time.monotonic() < self._rest_until:
                    return None
                made = self._connecting = threading.Event()
                connect = threading.Thread(
                    target=self._begin, args=(made,), name="lmconf redis", daemon=True
                )
                try:
                    connect.start()
                except RuntimeError:  # the process ends
                    self._connecting = None
                    return None
            # Only the first is worth waiting for: after a failure calls go on at once.
            wait = patience if patience > _PATIENCE or not self._waited else 0.0
            self._waited = True
        made.wait(wait)
        return self._clients

    def _begin(self, made: threading.Event) -> None:
        clients: _Clients | None = None
        failure: Exception | None = None
        try:
            clients = _connect(self._url())
        except Exception as error:  # noqa: BLE001 - whatever is wrong, calls go on
            failure = error
        with self._lock:
            self._connecting = None
            if failure is None:
                self._clients, self._rest = clients, _FIRST_REST
                self._waited = False
            else:
                self._take_rest()
        try:
            if failure is not None:
                self._say(failure)
        finally:
            made.set()

    def _lost(self, error: Exception, clients: _Clients) -> None:
        from redis.exceptions import ConnectionError as Lost
        from redis.exceptions import TimeoutError as Late

        with self._lock:
            if isinstance(error, Lost | Late | OSError) and self._clients is clients:
                self._clients, self._waited = None, True
            self._take_rest()
        self._say(error)

    def _take_rest(self) -> None:
        self._rest_until = time.monotonic() + self._rest
        self._rest = min(2 * self._rest, _LAST_REST)

    def _say(self, error: Exception) -> None:
        if isinstance(error, Error):
            why = str(error)
        elif isinstance(error, ValueError):
            why = "the address is none of a Redis server"
        else:
            why = f"the server cannot be used ({type(error).__name__})"
        self._warn(f"{why}; calls go on without it")

    # --- what is done with the server ---

    def _find(self, client: redis.Redis, key: str) -> Found | None:
        name = self._prefix + key
        with client.pipeline(transaction=False) as pipeline:
            pipeline.get(name)
            pipeline.pttl(name)
            kept, left = pipeline.execute()
        if kept is None or left == -2:
            return None
        value = _opened(key, kept)
        if value is None:
            client.unlink(name)
            return None
        return Found(value, None if left < 0 else left / 1000)

    def _put(self, client: redis.Redis, entries: list[Entry]) -> None:
        now = self._clock()
        with client.pipeline(transaction=False) as pipeline:
            for entry in entries:
                name = self._prefix + entry.key
                left = _FOR_EVER if entry.expires is None else entry.expires - now
                if left <= 0 or not self.fits(len(entry.value)):
                    pipeline.unlink(name)
                else:
                    lives = None if left >= _FOR_EVER else max(1, math.ceil(left * 1000))
                    pipeline.set(name, _closed(entry), px=lives)
            pipeline.execute()

    def _stats(self, client: redis.Redis) -> Stats:
        entries = size = 0
        for names in self._names(client):
            with client.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.strlen(name)
                size += sum(pipeline.execute())
            entries += len(names)
        return {"entries": entries, "bytes": size}

    def _clear(self, client: redis.Redis) -> None:
        for names in self._names(client):
            client.unlink(*names)

    def _names(self, client: redis.Redis) -> Iterator[list[bytes]]:
        found: list[bytes] = []
        for name in client.scan_iter(match=f"{self._prefix}*", count=1000):
            found.append(name)
            if len(found) == 1000:
                yield found
                found = []
        if found:
            yield found

    # --- forks ---

    def before_fork(self) -> None:
        """Keep every thread from connecting."""
        self._lock.acquire()

    def after_fork(self, in_child: bool) -> None:
        """Go on; the child makes connections of its own."""
        if in_child:
            self._lock = threading.RLock()
            self._clients, self._connecting = None, None
        else:
            self._lock.release()


def _connect(url: str) -> _Clients:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    def client(patience: float) -> redis.Redis:
        made = redis.Redis.from_url(
            url,
            socket_connect_timeout=_WRITING,
            socket_timeout=patience,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        made.ping()
        # The first connection may take its time, as no call waits for it; those that follow are
        # made while a call waits.
        made.connection_pool.connection_kwargs["socket_connect_timeout"] = patience
        return made

    return _Clients(client(_PATIENCE), client(_WRITING))


def see_that_redis_is_installed() -> None:
    """Raise where the client for Redis is missing.

    Raises:
        UsageError: it is; the message says what to install.
    """
    from importlib.util import find_spec

    if find_spec("redis") is None:
        raise UsageError("a store with `backend: redis` needs the client: install `lmconf[redis]`")


def _closed(entry: Entry) -> bytes:
    return _HEAD.pack(_MARK, entry.created, _checksum(entry.key, entry.value)) + entry.value


def _opened(key: str, kept: bytes) -> bytes | None:
    """Return the value that `kept` holds; None where it is not what was put under `key`."""
    if len(kept) < _HEAD.size:
        return None
    mark, _, checksum = _HEAD.unpack_from(kept)
    value = kept[_HEAD.size :]
    return value if mark == _MARK and checksum == _checksum(key, value) else None


def _checksum(key: str, value: bytes) -> bytes:
    digest = blake2b(value, digest_size=16)
    digest.update(key.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _values(client: redis.Redis, names: list[bytes]) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.get(name)
            pipeline.pttl(name)
        return list(pipeline.execute())


def _pieces(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += len(entry.value)
        if size >= _PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
