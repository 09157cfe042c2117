"""Answers kept in a Redis server, shared by the machines of a team.

A server that is gone costs one call a twentieth of a second at most: only the first waits for a
connection. While there is none, nothing is found and nothing kept.
"""

from __future__ import annotations

import itertools
import math
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from lmconf.caches.store import Entry, Stats, StoredAnswer, StoredHit, WarnsOnce
from lmconf.system.redis import RedisLink, RedisUnreachable

if TYPE_CHECKING:
    import redis

__all__ = ["RedisCache"]

T = TypeVar("T")

_PATIENCE = 0.05
"""Seconds that a call waits for the server."""
_WRITING = 2.0
"""Seconds that whoever writes or counts waits for it, which holds up no call."""
_LONGEST_REST = 60.0
"""Seconds for which a server that keeps failing is left alone."""
_LARGEST = 16 * 2**20
_PIECE = 2**18
_FOR_EVER = 10 * 365 * 86400.0
# What stands before a value: a mark, when it was made, the checksum of key and value.
_HEAD = struct.Struct(">4sd16s")
_MARK = b"LMc1"


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
        self._prefix = f"lmconf:1:{quote(namespace, safe='')}:"
        self._clock = clock
        self._warn = WarnsOnce(f"cache in Redis under {namespace}")
        self._link = RedisLink(
            url,
            (_PATIENCE, _WRITING),
            longest_rest=_LONGEST_REST,
            failed=lambda why: self._warn(f"{why}; calls continue without it"),
        )

    def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, or None."""
        found = self.find(key)
        return None if found is None else found.value

    def find(self, key: str) -> StoredHit | None:
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
        self._link.close()

    def stats(self) -> Stats:
        """Return how many answers are kept under the namespace, and their bytes."""
        return self._do(self._stats, _WRITING) or {"entries": 0, "bytes": 0}

    def entries(self) -> Iterator[StoredAnswer]:
        """Return everything that is kept; damaged values are left out."""
        names = self._do(lambda client: [*itertools.chain(*self._names(client))], _WRITING) or []
        for begin in range(0, len(names), 200):
            page = names[begin : begin + 200]
            found = self._do(lambda client, page=page: _values(client, page), _WRITING) or []  # type: ignore[misc]
            now = self._clock()
            for name, kept, left in zip(page, found[::2], found[1::2], strict=False):
                key = name.decode("utf-8", "surrogatepass").removeprefix(self._prefix)
                value = _decode_value(key, kept) if kept is not None else None
                if value is not None:
                    made = _HEAD.unpack_from(kept)[1]
                    yield StoredAnswer(
                        key, value, made, None if left < 0 else now + left / 1000, made
                    )

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

    def _do(self, work: Callable[[redis.Redis], T], patience: float) -> T | None:
        try:
            # Only the first call waits for a connection: after a failure calls go on at once.
            return self._link.do(work, patience, waits_once=patience == _PATIENCE)
        except RedisUnreachable:
            return None

    # --- what is done with the server ---

    def _find(self, client: redis.Redis, key: str) -> StoredHit | None:
        name = self._prefix + key
        with client.pipeline(transaction=False) as pipeline:
            pipeline.get(name)
            pipeline.pttl(name)
            kept, left = pipeline.execute()
        if kept is None or left == -2:
            return None
        value = _decode_value(key, kept)
        if value is None:
            client.unlink(name)
            return None
        return StoredHit(value, None if left < 0 else left / 1000)

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
                    pipeline.set(name, _encode_value(entry), px=lives)
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


def _encode_value(entry: Entry) -> bytes:
    return _HEAD.pack(_MARK, entry.created, _checksum(entry.key, entry.value)) + entry.value


def _decode_value(key: str, kept: bytes) -> bytes | None:
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
