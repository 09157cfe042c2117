"""The floors under the stores: what they come to with nothing around them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path


class Dictionary:
    """Answers as JSON in a dict, by the SHA-256 of the messages as JSON."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, messages: object, answer: object) -> None:
        self._kept[self._key(messages)] = json.dumps(answer).encode()

    def get(self, messages: object) -> list[str]:
        answer = json.loads(self._kept[self._key(messages)])
        return [choice["message"]["content"] for choice in answer["choices"]]

    def _key(self, messages: object) -> str:
        return hashlib.sha256(json.dumps(messages).encode()).hexdigest()


class Sqlite:
    """One table in WAL mode, written in batches of 100."""

    def __init__(self, folder: str) -> None:
        self._file = sqlite3.connect(Path(folder) / "floor.sqlite3", isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._file.execute("CREATE TABLE answers (key TEXT UNIQUE, value BLOB)")
        self._waiting: list[tuple[str, bytes]] = []

    def put(self, key: str, value: bytes) -> None:
        self._waiting.append((key, value))
        if len(self._waiting) >= 100:
            self.flush()

    def flush(self) -> None:
        self._file.execute("BEGIN")
        self._file.executemany("INSERT INTO answers VALUES (?, ?)", self._waiting)
        self._file.execute("COMMIT")
        self._waiting = []

    def get(self, key: str) -> bytes | None:
        row = self._file.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        self._file.close()
