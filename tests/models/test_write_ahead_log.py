"""The write-ahead log with concurrent connections."""

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
    """Yield another connection that holds an exclusive lock until it commits."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield connection


def test_it_waits_for_a_locked_file(file: Path, holder: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    has_waited = threading.Event()
    monkeypatch.setattr("models.write_ahead_log.time.sleep", lambda _: has_waited.set())
    modes = []

    def open_file() -> None:
        with closing(sqlite3.connect(file, timeout=0)) as connection:
            write_ahead(connection, patience_s=60)
            modes.extend(connection.execute("PRAGMA journal_mode").fetchone())
            modes.extend(connection.execute("PRAGMA synchronous").fetchone())

    thread = threading.Thread(target=open_file)
    thread.start()
    assert has_waited.wait(60)
    holder.execute("COMMIT")
    thread.join()
    assert modes == ["wal", 2]


def test_waiting_ends_after_the_patience(file: Path, holder: sqlite3.Connection) -> None:
    with (
        closing(sqlite3.connect(file, timeout=0)) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        write_ahead(connection, patience_s=0)


def test_a_file_of_another_format_is_refused_immediately(file: Path) -> None:
    file.write_bytes(b"no database, but long enough to look like the head of one" * 20)
    with closing(sqlite3.connect(file)) as connection, pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(connection, patience_s=60)
