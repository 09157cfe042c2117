"""What was spent, kept in one SQLite file that the processes of a machine share."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lmconf.budgets.ledger import Amount, LedgerUnavailable, Period, SpendingLimit
from lmconf.system.paths import with_home
from lmconf.system.tracebacks import is_interrupt

__all__ = ["FILE", "DiskLedger"]

FILE = "spending.v1.sqlite3"
_VERSION = 1
_PATIENCE = 10.0
_KEPT = 400 * 86400.0  # seconds after its end for which a period can be looked up
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spending (
  account TEXT NOT NULL,
  period TEXT NOT NULL,
  ends REAL,
  cost REAL NOT NULL,
  tokens INTEGER NOT NULL,
  PRIMARY KEY (account, period)
)
"""


class DiskLedger:
    """Keeps what was spent in a file of `folder`.

    The file is opened for each of the few operations of a call and closed again: so it crosses no
    fork, and no thread waits for another one's connection.
    """

    blocks = True

    def __init__(self, folder: str | Path) -> None:
        self._path = with_home(str(folder)) / FILE

    def spend(
        self, account: str, period: Period, more: Amount, most: SpendingLimit
    ) -> Amount | None:
        """Add `more` if there is room; else return what was spent.

        Raises:
            LedgerUnavailable: the file cannot be used.
        """
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT cost, tokens FROM spending WHERE account = ? AND period = ?",
                (account, period.name),
            ).fetchone()
            spent = Amount(*row) if row is not None else Amount()
            if not most.has_room(spent, more):
                return spent
            if row is None and period.ends is not None:
                connection.execute("DELETE FROM spending WHERE ends < ?", (period.ends - _KEPT,))
            _add(connection, account, period, more)
            return None

    def add(self, account: str, period: Period, more: Amount) -> None:
        """Add `more`.

        Raises:
            LedgerUnavailable: the file cannot be used.
        """
        with self._transaction() as connection:
            _add(connection, account, period, more)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(self._open()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                _create_tables(connection)
                yield connection
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if is_interrupt(error):
                raise
            why = f"{self._path}: {error}"
        else:
            return
        raise LedgerUnavailable(why, help="repair or remove that file")

    def _open(self) -> sqlite3.Connection:
        path = self._path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)


def _create_tables(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    elif version != _VERSION:
        raise sqlite3.DatabaseError(f"it has version {version}, not {_VERSION}")


def _add(connection: sqlite3.Connection, account: str, period: Period, more: Amount) -> None:
    connection.execute(
        "INSERT INTO spending VALUES (?, ?, ?, ?, ?) ON CONFLICT (account, period)"
        " DO UPDATE SET cost = cost + excluded.cost, tokens = tokens + excluded.tokens",
        (account, period.name, period.ends, more.cost, more.tokens),
    )
