"""Feedback of users in a database: written durably, each event once, read by position. Knows SQL, no models, no HTTP.

    log = FeedbackLog(default_url())
    log.append(events)          # durable when it returns
    tail = Tail(log)
    tail.read()                 # what has come since the last time

Any URL of SQLAlchemy will do. SQLite runs with a write-ahead log that is synced at every commit, so that what was
acknowledged outlives the process, and the machine's power.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.errors import FeedbackUnavailable
from models.write_ahead_log import write_ahead

TABLE = "makunouchi_feedback"
_CHUNK = 500
_READ_ROWS = 10_000
_ATTEMPTS = 5
_BUSY_S = 15.0
# A transaction of another process can become visible after one that took its number later.
_LATE_S = 5.0


class Event(Protocol):
    """One thing that a user did. `key` names it: a second event of the same key is the same event."""

    @property
    def user_id(self) -> str: ...

    @property
    def item_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def value(self) -> float | None: ...

    @property
    def time(self) -> float: ...

    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as it is in the log. Times are Unix seconds; `received` is when it was written."""

    position: int
    user_id: str
    item_id: str
    kind: str
    value: float | None
    time: float
    key: str
    received: float


def default_url() -> str:
    """A SQLite file beside the model store."""
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    return f"sqlite:///{home / 'makunouchi' / 'feedback.db'}"


def default_file(url: str) -> Path | None:
    """The file of a SQLite URL, None for another one or for a database in memory."""
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else ""
    return Path(path) if path and path != ":memory:" else None


class FeedbackLog:
    """The log behind `url`. Connects at the first call; several processes may share one log."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: tuple[Any, Any, Any] | None = None  # Any: engines and table of SQLAlchemy, imported late

    @property
    def late_s(self) -> float:
        """How long after its position was given an event may become visible: SQLite has one writer at a time."""
        return 0.0 if self._url.startswith("sqlite") else _LATE_S

    def append(self, events: Sequence[Event]) -> list[bool]:
        """Write events in one transaction; True for each that is new. Durable when it returns.

        Raises FeedbackUnavailable; then nothing was written.
        """
        import sqlalchemy as sa

        writer, _, table = self._open()
        for attempt in range(_ATTEMPTS):
            try:
                with writer.begin() as connection:
                    return self._insert(connection, table, events)
            except sa.exc.IntegrityError as error:
                # Another process wrote one of the keys between looking and inserting: look again.
                if attempt == _ATTEMPTS - 1:
                    raise FeedbackUnavailable("the feedback could not be written") from error
            except sa.exc.SQLAlchemyError as error:
                raise FeedbackUnavailable(f"the feedback could not be written{_why(error)}") from error
        raise FeedbackUnavailable("the feedback could not be written")

    def read(self, after: int = 0, *, limit: int = _READ_ROWS) -> list[Logged]:
        """Up to `limit` events with a higher position, in order. Raises FeedbackUnavailable."""
        import sqlalchemy as sa

        _, reader, table = self._open()
        wanted = [table.c[name] for name in Logged.__dataclass_fields__]
        query = sa.select(*wanted).where(table.c.position > after).order_by(table.c.position).limit(limit)
        try:
            with reader.begin() as connection:
                return [Logged(*row) for row in connection.execute(query)]
        except sa.exc.SQLAlchemyError as error:
            raise FeedbackUnavailable(f"the feedback could not be read{_why(error)}") from error

    def all(self) -> Iterator[Logged]:
        """Every event, in order. Raises FeedbackUnavailable."""
        after = 0
        while rows := self.read(after):
            yield from rows
            after = rows[-1].position

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._opened is not None:
                for engine in self._opened[:2]:
                    engine.dispose()
                self._opened = None

    def _insert(self, connection: Any, table: Any, events: Sequence[Event]) -> list[bool]:  # Any: SQLAlchemy
        import sqlalchemy as sa

        keys = [event.key for event in events]
        known: set[str] = set()
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            known.update(connection.scalars(sa.select(table.c.key).where(table.c.key.in_(part))))
        rows, is_new, now = [], [], self._clock()
        for event in events:
            is_new.append(event.key not in known)
            if is_new[-1]:
                known.add(event.key)
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
            if self._opened is None:
                self._opened = _opened(self._url)
            return self._opened


class Tail:
    """Reads a log as it grows; each event once. For one thread."""

    def __init__(self, log: FeedbackLog, *, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._after = 0
        # Positions read already of those above `_after`.
        self._read: set[int] = set()

    def read(self) -> list[Logged]:
        """The events that have come since the last time. Raises FeedbackUnavailable."""
        found: list[Logged] = []
        after = self._after
        while True:
            rows = self._log.read(after)
            found += [row for row in rows if row.position not in self._read]
            if not rows:
                break
            after = rows[-1].position
            settled = [row.position for row in rows if row.received <= self._clock() - self._log.late_s]
            self._read.update(row.position for row in rows)
            self._after = max([self._after, *settled])
            if len(rows) < _READ_ROWS:
                break
        self._read = {position for position in self._read if position > self._after}
        return found


def _opened(url: str) -> tuple[Any, Any, Any]:  # Any: engines and table of SQLAlchemy
    import sqlalchemy as sa

    try:
        file = default_file(url)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        is_sqlite = url.startswith("sqlite")
        options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}} if is_sqlite else {"pool_pre_ping": True}
        if url.startswith("postgresql"):
            # A database made without a locale would answer bytes instead of text.
            options["connect_args"] = {"client_encoding": "utf8"}
        writer, reader = sa.create_engine(url, **options), sa.create_engine(url, **options)
        if is_sqlite:
            # Taking the write lock at once: a transaction that reads first and writes then can fail half-way.
            _for_sqlite(writer, "BEGIN IMMEDIATE")
            _for_sqlite(reader, "BEGIN")
        table = _table()
        _create(writer, table)
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        # PostgreSQL's and SQLite's are there; another database brings its own.
        raise FeedbackUnavailable("the driver of the feedback's database is not installed") from error
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise FeedbackUnavailable(f"the database of the feedback cannot be opened{_why(error)}") from error
    return writer, reader, table


def _why(error: Exception) -> str:
    """What the database says of itself, such as that its disk is full; nothing that could hold what was sent."""
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
            # PostgreSQL's IF NOT EXISTS fails for all but one of those who create the table at the same time.
            if attempt == _ATTEMPTS - 1:
                raise


def _table() -> Any:  # Any: sqlalchemy.Table
    import sqlalchemy as sa

    # SQLite numbers rows by itself only in a column that is exactly INTEGER.
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


def _for_sqlite(engine: Any, begin: str) -> None:  # Any: sqlalchemy.Engine
    import sqlalchemy as sa

    def on_connect(connection: Any, _: Any) -> None:  # Any: sqlite3.Connection
        # The driver's own transactions begin too late and not at all for reads.
        connection.isolation_level = None
        write_ahead(connection, patience_s=_BUSY_S)

    def on_begin(connection: Any) -> None:  # Any: sqlalchemy.Connection
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)
