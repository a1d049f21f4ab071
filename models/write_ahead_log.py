"""SQLite files with a write-ahead log, which lets others read while one writes. Knows a connection, no tables."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

_PAUSE_S: Final = 0.01


def write_ahead(connection: sqlite3.Connection, *, patience_s: float) -> None:
    """Give the file of `connection` a write-ahead log, synced at every commit: what is committed outlives the power.

    SQLite does not wait for those who open a new file at the same moment, whatever the timeout of the connection is:
    it is asked again for `patience_s`. Raises sqlite3.OperationalError.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)
    connection.execute("PRAGMA synchronous=FULL")
