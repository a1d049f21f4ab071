"""The SQLite database of the jobs: opened at first use, shared by the gateways of a host, durable at every commit.

Its write-ahead log allows reads during a write. The log requires a local disk.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from models.write_ahead_log import make_private_database, write_ahead
from serving.errors.exceptions import JobsUnavailable
from serving.jobs.storage.record import Job, ModelUsage

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
)
_COLUMNS = tuple(name for name in Job.__dataclass_fields__)
COLUMNS = ", ".join(_COLUMNS)


class Database:
    """One connection to the database, which any thread may use, one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that holds the write lock from its start, so that rows read in it do not change.

        Raises JobsUnavailable after a rollback.
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
                self._connection = None

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._connection or self._open()
                connection.execute(begin)
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                # The state of the connection is unknown now. The next call opens a new one.
                self.close()
                raise JobsUnavailable(f"the database of the jobs: {error}") from error

    def _open(self) -> sqlite3.Connection:
        make_private_database(self._folder / FILE)
        connection = sqlite3.connect(self._folder / FILE, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            write_ahead(connection, patience_s=BUSY_S)
            connection.execute("PRAGMA foreign_keys=ON")
            for statement in _TABLES:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection


def job_of(row: tuple[Any, ...]) -> Job:  # Any: a row of COLUMNS
    """Return the job in a row of COLUMNS."""
    fields = dict(zip(_COLUMNS, row, strict=True))
    fields["options"] = orjson.loads(fields["options"])
    fields["models"] = tuple(ModelUsage(*values) for values in orjson.loads(fields["models"]))
    return Job(**fields)


def encode_models(models: tuple[ModelUsage, ...]) -> bytes:
    """Return `Job.models` as it is stored."""
    return orjson.dumps([[usage.name, usage.version, usage.items] for usage in models])
