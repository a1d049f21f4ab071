"""SQLite files that others open at the same moment."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from models.write_ahead_log import write_ahead


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def holder(file: Path) -> Iterator[sqlite3.Connection]:
    """Another connection, which has the file for itself until it commits."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield connection


def test_a_file_that_somebody_else_has_is_waited_for(
    file: Path, holder: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_waited = threading.Event()
    monkeypatch.setattr("models.write_ahead_log.time.sleep", lambda _: has_waited.set())
    modes = []

    def open_it() -> None:
        with closing(sqlite3.connect(file, timeout=0)) as connection:
            write_ahead(connection, patience_s=60)
            modes.extend(connection.execute("PRAGMA journal_mode").fetchone())
            modes.extend(connection.execute("PRAGMA synchronous").fetchone())

    thread = threading.Thread(target=open_it)
    thread.start()
    assert has_waited.wait(60)
    holder.execute("COMMIT")
    thread.join()
    assert modes == ["wal", 2]


def test_it_is_not_waited_for_for_ever(file: Path, holder: sqlite3.Connection) -> None:
    with (
        closing(sqlite3.connect(file, timeout=0)) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        write_ahead(connection, patience_s=0)


def test_what_is_no_database_is_said_at_once(file: Path) -> None:
    file.write_bytes(b"no database, but long enough to look like the head of one" * 20)
    with closing(sqlite3.connect(file)) as connection, pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(connection, patience_s=60)
