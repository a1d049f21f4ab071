"""The write-ahead log of SQLite, which permits concurrent readers while one connection writes."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from models.private_files import make_private_file, make_private_folder, withdraw_permissions

_PAUSE_S: Final = 0.01


def make_private_database(file: Path) -> None:
    """Create the file and its folder for the user of this process alone, and restrict an existing file. Raise OSError.

    SQLite gives its log and its shared memory the mode of the file.
    """
    make_private_folder(file.parent)
    make_private_file(file)
    for suffix in ("-wal", "-shm"):
        withdraw_permissions(file.with_name(file.name + suffix))


def connect(file: Path, *, timeout_s: float) -> sqlite3.Connection:
    """Connect to an existing file, for any thread: a file that was removed is not made again. Raise sqlite3.Error."""
    return sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=timeout_s, check_same_thread=False)


def write_ahead(connection: sqlite3.Connection, *, patience_s: float) -> None:
    """Switch the file of `connection` to a write-ahead log, synced at every commit to survive a power loss.

    When several connections open a new file at the same time, SQLite reports "busy" despite the timeout of the
    connection: retry for `patience_s`. Raise sqlite3.OperationalError.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_S)
    connection.execute("PRAGMA synchronous=FULL")
