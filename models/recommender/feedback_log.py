"""A durable log of feedback events in an SQL database. Events are unique by key and read by position.

    log = FeedbackLog(default_url())
    log.append(events)          # durable when it returns
    tail = LogTail(log)
    tail.read()                 # the events since the last read

The log accepts any URL of SQLAlchemy. SQLite uses a write-ahead log that is synced at every commit, so that
acknowledged events survive a crash of the process or a power loss.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from models.errors import FeedbackUnavailable
from models.recommender.events import Event, LoggedEvent
from models.write_ahead_log import write_ahead

TABLE = "makunouchi_feedback"
_CHUNK = 500
_READ_ROWS = 10_000
_ATTEMPTS = 5
_BUSY_S = 15.0
# A transaction of another process can become visible after one with a higher position.
_VISIBILITY_DELAY_S = 5.0


def default_url() -> str:
    """Return the URL of a SQLite file next to the model store."""
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    return f"sqlite:///{home / 'makunouchi' / 'feedback.db'}"


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL, None for another database or one in memory."""
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else ""
    return Path(path) if path and path != ":memory:" else None


class FeedbackLog:
    """The feedback log at `url`. Connects at the first call; several processes may share one log."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._database: tuple[Any, Any, Any] | None = None  # Any: engines and table of SQLAlchemy, imported late

    @property
    def visibility_delay_s(self) -> float:
        """The maximum time between the assignment of a position and its visibility. 0 for SQLite: one writer."""
        return 0.0 if self._url.startswith("sqlite") else _VISIBILITY_DELAY_S

    def append(self, events: Sequence[Event]) -> list[bool]:
        """Write events durably in one transaction. Return for each event whether it is new.

        Raise FeedbackUnavailable when nothing was written.
        """
        import sqlalchemy as sa

        writer, _, table = self._open()
        for attempt in range(_ATTEMPTS):
            try:
                with writer.begin() as connection:
                    return self._insert(connection, table, events)
            except sa.exc.IntegrityError as error:
                # Another process inserted one of the keys after the query: retry.
                if attempt == _ATTEMPTS - 1:
                    raise FeedbackUnavailable("the feedback could not be written") from error
            except sa.exc.SQLAlchemyError as error:
                raise FeedbackUnavailable(f"the feedback could not be written{_reason(error)}") from error
        raise FeedbackUnavailable("the feedback could not be written")

    def read(self, after: int = 0, *, limit: int = _READ_ROWS) -> list[LoggedEvent]:
        """Read up to `limit` events with a position above `after`, in order. Raise FeedbackUnavailable."""
        import sqlalchemy as sa

        _, reader, table = self._open()
        columns = [table.c[name] for name in LoggedEvent.__dataclass_fields__]
        query = sa.select(*columns).where(table.c.position > after).order_by(table.c.position).limit(limit)
        try:
            with reader.begin() as connection:
                return [LoggedEvent(*row) for row in connection.execute(query)]
        except sa.exc.SQLAlchemyError as error:
            raise FeedbackUnavailable(f"the feedback could not be read{_reason(error)}") from error

    def read_all(self) -> Iterator[LoggedEvent]:
        """Read all events in order. Raise FeedbackUnavailable."""
        after = 0
        while rows := self.read(after):
            yield from rows
            after = rows[-1].position

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._database is not None:
                for engine in self._database[:2]:
                    engine.dispose()
                self._database = None

    def _insert(self, connection: Any, table: Any, events: Sequence[Event]) -> list[bool]:  # Any: SQLAlchemy
        import sqlalchemy as sa

        keys = [event.key for event in events]
        existing: set[str] = set()
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            existing.update(connection.scalars(sa.select(table.c.key).where(table.c.key.in_(part))))
        rows, is_new, now = [], [], self._clock()
        for event in events:
            is_new.append(event.key not in existing)
            if is_new[-1]:
                existing.add(event.key)
                rows.append(
                    {
                        "user_id": event.user_id,
                        "item_id": event.item_id,
                        "kind": event.kind,
                        "value": event.value,
                        "time": event.time,
                        "key": event.key,
                        "received": now,
                    }
                )
        if rows:
            connection.execute(sa.insert(table), rows)
        return is_new

    def _open(self) -> tuple[Any, Any, Any]:  # Any: engines and table of SQLAlchemy
        with self._lock:
            if self._database is None:
                self._database = _open_database(self._url)
            return self._database


class LogTail:
    """A reader that follows a growing log and returns each event once. Not thread-safe."""

    def __init__(self, log: FeedbackLog, *, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._after = 0
        # The positions above `_after` that were read already.
        self._read_positions: set[int] = set()

    def read(self) -> list[LoggedEvent]:
        """Read the events since the last read. Raise FeedbackUnavailable."""
        events: list[LoggedEvent] = []
        after = self._after
        while True:
            rows = self._log.read(after)
            events += [row for row in rows if row.position not in self._read_positions]
            if not rows:
                break
            after = rows[-1].position
            settled = [row.position for row in rows if row.received <= self._clock() - self._log.visibility_delay_s]
            self._read_positions.update(row.position for row in rows)
            self._after = max([self._after, *settled])
            if len(rows) < _READ_ROWS:
                break
        self._read_positions = {position for position in self._read_positions if position > self._after}
        return events


def _open_database(url: str) -> tuple[Any, Any, Any]:  # Any: engines and table of SQLAlchemy
    import sqlalchemy as sa

    try:
        file = sqlite_file(url)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        is_sqlite = url.startswith("sqlite")
        options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}} if is_sqlite else {"pool_pre_ping": True}
        if url.startswith("postgresql"):
            # A database without a locale returns bytes instead of text.
            options["connect_args"] = {"client_encoding": "utf8"}
        writer, reader = sa.create_engine(url, **options), sa.create_engine(url, **options)
        if is_sqlite:
            # Take the write lock at the start: a transaction that reads and then writes can fail at the write.
            _configure_sqlite(writer, "BEGIN IMMEDIATE")
            _configure_sqlite(reader, "BEGIN")
        table = _table()
        _create(writer, table)
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        # The drivers of PostgreSQL and SQLite are installed; other databases need their own.
        raise FeedbackUnavailable("the driver of the feedback database is not installed") from error
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise FeedbackUnavailable(f"the feedback database cannot be opened{_reason(error)}") from error
    return writer, reader, table


def _reason(error: Exception) -> str:
    """Return the message of the database, such as a full disk, without any data of the request."""
    import sqlalchemy as sa

    if isinstance(error, sa.exc.OperationalError):
        return f": {(str(error.orig).splitlines() or [''])[0][:200]}"
    return f": {error.strerror}" if isinstance(error, OSError) else ""


def _create(engine: Any, table: Any) -> None:  # Any: SQLAlchemy
    import sqlalchemy as sa

    for attempt in range(_ATTEMPTS):
        try:
            with engine.begin() as connection:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                return
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
            # In PostgreSQL concurrent CREATE TABLE IF NOT EXISTS statements fail for all but one connection.
            if attempt == _ATTEMPTS - 1:
                raise


def _table() -> Any:  # Any: sqlalchemy.Table
    import sqlalchemy as sa

    # SQLite numbers rows automatically only in a column of type INTEGER.
    position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Table(
        TABLE,
        sa.MetaData(),
        sa.Column("position", position, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("user_id", sa.String(256), nullable=False),
        sa.Column("item_id", sa.String(256), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("received", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )


def _configure_sqlite(engine: Any, begin: str) -> None:  # Any: sqlalchemy.Engine
    import sqlalchemy as sa

    def on_connect(connection: Any, _: Any) -> None:  # Any: sqlite3.Connection
        # The driver begins transactions late, and never for reads.
        connection.isolation_level = None
        write_ahead(connection, patience_s=_BUSY_S)

    def on_begin(connection: Any) -> None:  # Any: sqlalchemy.Connection
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)
