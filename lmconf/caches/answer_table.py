"""The table of answers in an open file: its statements, and what a row must look like."""

from __future__ import annotations

import contextlib
import sqlite3
from hashlib import blake2b
from typing import Any

from lmconf.caches.sqlite_file import OpenFile, transaction
from lmconf.caches.store import Stats

__all__ = [
    "DELETE",
    "DROP",
    "EXPIRE",
    "FIND",
    "OLDEST",
    "ROW_SIZE",
    "checksum_of",
    "delete_keys",
    "is_whole",
    "occupied_bytes",
    "page_after",
    "page_size",
    "shrink",
    "stats_of",
    "try_statement",
    "write_rows",
]

FIND = "SELECT id, value, checksum, expires, used FROM answers WHERE key = ?"
_PUT = """
INSERT INTO answers (key, created, expires, used, checksum, value) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET created = excluded.created, expires = excluded.expires,
  used = excluded.used, checksum = excluded.checksum, value = excluded.value
"""
EXPIRE = """
DELETE FROM answers WHERE id IN
  (SELECT id FROM answers WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT 256)
"""
OLDEST = "SELECT id, length(value) FROM answers ORDER BY used LIMIT 256"
DELETE = "DELETE FROM answers WHERE id = ?"
DROP = "DELETE FROM answers WHERE key = ?"
_PAGE = """
SELECT id, key, value, checksum, created, expires, used FROM answers WHERE id > ?
ORDER BY id LIMIT 200
"""
ROW_SIZE = 250
"""What a row occupies beside its value, in bytes, with its entries in the indexes."""


def write_rows(file: OpenFile, rows: list[tuple[object, ...]]) -> None:
    if len(rows) == 1:
        file.connection.execute(_PUT, rows[0])
        return
    with transaction(file.connection):
        file.connection.executemany(_PUT, rows)


def page_after(file: OpenFile, last: int) -> list[tuple[Any, ...]]:
    return file.connection.execute(_PAGE, (last,)).fetchall()


def delete_keys(file: OpenFile, rows: list[tuple[object, ...]]) -> None:
    with transaction(file.connection):
        file.connection.executemany(DROP, rows)


def is_whole(key: str, value: Any, checksum: Any, expires: Any, used: Any) -> bool:
    """Say whether a row is as it was written, by the types that its columns have and its checksum."""
    return (
        type(value) is bytes
        and checksum == checksum_of(key, value)
        and (expires is None or type(expires) is float)
        and type(used) is float
    )


def checksum_of(key: str, value: bytes) -> bytes:
    digest = blake2b(value, digest_size=16)
    digest.update(key.encode("utf-8", "surrogatepass"))
    return digest.digest()


def try_statement(file: OpenFile, statement: str, rows: list[tuple[object, ...]]) -> None:
    """Carry out what no answer depends on: it is worth neither a warning nor a lost answer."""
    if rows and file.writable:
        with contextlib.suppress(sqlite3.Error), transaction(file.connection):
            file.connection.executemany(statement, rows)


def shrink(file: OpenFile) -> None:
    # Other processes may be reading; then the room stays in the file, and is used again.
    with contextlib.suppress(sqlite3.OperationalError):
        file.connection.execute("VACUUM")
        file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def page_size(file: OpenFile) -> int:
    (size,) = file.connection.execute("PRAGMA page_size").fetchone()
    return int(size)


def occupied_bytes(file: OpenFile) -> int:
    (pages,) = file.connection.execute("PRAGMA page_count").fetchone()
    (free,) = file.connection.execute("PRAGMA freelist_count").fetchone()
    return (int(pages) - int(free)) * page_size(file)


def stats_of(file: OpenFile) -> Stats:
    (entries,) = file.connection.execute("SELECT count(*) FROM answers").fetchone()
    return {"entries": int(entries), "bytes": occupied_bytes(file)}
