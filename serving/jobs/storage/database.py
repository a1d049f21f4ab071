"""The SQLite database of the jobs: opened at first use, shared by the gateways of a host, durable at every commit.

Its write-ahead log allows reads during a write. The log requires a local disk. When the files are removed, replaced or
damaged while the database is open, `Database` opens it again and lets `restore` add what is missing.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from models.database_files import DatabaseFiles, set_apart
from models.errors import text_of
from models.write_ahead_log import connect, write_ahead
from serving.errors.exceptions import JobsUnavailable
from serving.jobs.storage.record import Job, ModelUsage

log = logging.getLogger("makunouchi.jobs")

FILE = "jobs.db"
BUSY_S = 15.0
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS jobs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, owner TEXT NOT NULL, status TEXT NOT NULL,
        total INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL, started REAL, finished REAL, expires REAL,
        options BLOB NOT NULL, models BLOB NOT NULL, fault TEXT NOT NULL DEFAULT '', fingerprint TEXT NOT NULL,
        key TEXT, size_bytes INTEGER NOT NULL, result_bytes INTEGER NOT NULL DEFAULT 0,
        token TEXT, leased_until REAL NOT NULL DEFAULT 0, turn REAL NOT NULL DEFAULT 0,
        fruitless INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_key ON jobs (owner, key) WHERE key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created, id)",
    "CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status)",
    """
    CREATE TABLE IF NOT EXISTS segments (
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, token TEXT NOT NULL,
        position INTEGER NOT NULL, size_bytes INTEGER NOT NULL, PRIMARY KEY (job, token)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS reservations (
        id TEXT PRIMARY KEY, caller TEXT NOT NULL, size_bytes INTEGER NOT NULL, until REAL NOT NULL
    )
    """,
    "CREATE TABLE IF NOT EXISTS clock (time REAL NOT NULL, boot_time REAL NOT NULL)",
)
# Columns that databases of earlier versions do not have.
_NEW_COLUMNS = {"caller": "TEXT NOT NULL DEFAULT ''", "reserved_bytes": "INTEGER NOT NULL DEFAULT 0"}
_INDEX_OF_CALLERS = "CREATE INDEX IF NOT EXISTS jobs_by_caller ON jobs (caller, turn)"
_COLUMNS = tuple(name for name in Job.__dataclass_fields__)
COLUMNS = ", ".join(_COLUMNS)
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)

# Adds jobs whose files are complete and which have no record. Called within a transaction; returns their number.
Restore = Callable[[sqlite3.Connection], int]


def _restore_nothing(connection: sqlite3.Connection) -> int:
    return 0


class Database:
    """One connection to the database, which any thread may use, one thread at a time."""

    def __init__(self, folder: Path, *, restore: Restore = _restore_nothing) -> None:
        self.folder = folder
        self._path = folder / FILE
        self._restore = restore
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._files: DatabaseFiles | None = None
        self._is_incomplete = False

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that holds the write lock from its start, so that rows read in it do not change.

        Raises JobsUnavailable after a rollback, and when the file was removed or replaced during it.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that reads one consistent snapshot. Raises JobsUnavailable."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Close the connection. The next call opens a new one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._files = None

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._reopen_if_changed()
                connection = self._connection or self._open()
                connection.execute(begin)
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                if self._reopen_if_changed() and self._is_incomplete:
                    raise sqlite3.OperationalError("the file changed during the transaction")
            except (sqlite3.Error, OSError) as error:
                # The state of the connection is unknown now. The next call opens a new one.
                self.close()
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
                    self._set_apart()
                raise JobsUnavailable(f"the database of the jobs: {text_of(error)}") from error

    def _reopen_if_changed(self) -> bool:
        """Close the connection to files that were removed, replaced or truncated. Returns whether they were."""
        if self._connection is None or self._files is None:
            return False
        change = self._files.change()
        if change is None:
            return False
        is_complete = False
        with contextlib.suppress(OSError):
            is_complete = self._files.repair(self._connection, change)
        self._is_incomplete = self._is_incomplete or not is_complete
        remedy = "its content was kept" if is_complete else "jobs are restored from their files"
        log.error("%s was %s while the service ran; %s", FILE, change, remedy)
        self.close()
        return True

    def _set_apart(self) -> None:
        """Rename a damaged database. The next call begins a new one."""
        with contextlib.suppress(OSError):
            name = set_apart(self._path)
            log.error("%s is damaged and was renamed to %s; jobs are restored from their files", FILE, name)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(FILE + suffix).unlink(missing_ok=True)
        self._is_incomplete = True

    def _open(self) -> sqlite3.Connection:
        files = DatabaseFiles(self._path)
        with files.opening():
            connection = connect(self._path, timeout_s=BUSY_S)
            try:
                connection.isolation_level = None
                write_ahead(connection, patience_s=BUSY_S)
                connection.execute("PRAGMA foreign_keys=ON")
                connection.execute("BEGIN IMMEDIATE")
                is_new = _make_tables(connection)
                restored = self._restore(connection) if is_new or self._is_incomplete else 0
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
        if restored:
            log.warning("%d jobs were restored from their files and start again", restored)
        self._is_incomplete = False
        self._connection, self._files = connection, files
        return connection


def _make_tables(connection: sqlite3.Connection) -> bool:
    """Make the tables and columns that do not exist. Returns whether the database was empty."""
    columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(jobs)")}
    for statement in _TABLES:
        connection.execute(statement)
    known = {str(row[1]) for row in connection.execute("PRAGMA table_info(jobs)")}
    for name, definition in _NEW_COLUMNS.items():
        if name not in known:
            connection.execute(f"ALTER TABLE jobs ADD COLUMN {name} {definition}")
    connection.execute(_INDEX_OF_CALLERS)
    return not columns


def job_of(row: tuple[Any, ...]) -> Job:  # Any: a row of COLUMNS
    """Return the job in a row of COLUMNS."""
    fields = dict(zip(_COLUMNS, row, strict=True))
    fields["options"] = orjson.loads(fields["options"])
    fields["models"] = tuple(ModelUsage(*values) for values in orjson.loads(fields["models"]))
    return Job(**fields)


def encode_models(models: tuple[ModelUsage, ...]) -> bytes:
    """Return `Job.models` as it is stored."""
    return orjson.dumps([[usage.name, usage.version, usage.items] for usage in models])
