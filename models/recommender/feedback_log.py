"""A durable log of feedback events in an SQL database. Events are unique by key and read by position.

    log = FeedbackLog(default_url())
    log.append([events])        # durable when it returns
    tail = LogTail(log)
    tail.read()                 # the events since the last read

The log accepts any URL of SQLAlchemy. SQLite uses a write-ahead log that is synced at every commit, so that
acknowledged events survive a crash of the process or a power loss.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.database_files import DatabaseFiles
from models.errors import FeedbackUnavailable
from models.recommender.events import LoggedEvent, NewEvent
from models.recommender.feedback_database import ATTEMPTS, open_database, reason_of, sqlite_file

log = logging.getLogger("makunouchi.feedback")

_CHUNK = 500
_READ_ROWS = 10_000
_STORED = ("user_id", "item_id", "kind", "value", "time", "key")
# A transaction of another process can become visible after one with a higher position.
_VISIBILITY_DELAY_S = 5.0


def default_url(model: str = "") -> str:
    """Return the URL of a SQLite file next to the model store, of one model where there are several."""
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    file = f"feedback-{model}.db" if model else "feedback.db"
    return f"sqlite:///{home / 'makunouchi' / file}"


class FeedbackLog:
    """The feedback log at `url`. Connects at the first call; several processes may share one log."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._file = sqlite_file(url)
        self._files: DatabaseFiles | None = None
        # How often the file was replaced by one with other content.
        self.replaced = 0
        self._database: tuple[Any, Any, Any] | None = None  # Any: engines and table of SQLAlchemy, imported late

    @property
    def visibility_delay_s(self) -> float:
        """The maximum time between the assignment of a position and its visibility. 0 for SQLite: one writer."""
        return 0.0 if self._url.startswith("sqlite") else _VISIBILITY_DELAY_S

    def append(self, requests: Sequence[Sequence[NewEvent]]) -> list[list[bool] | None]:
        """Write the events of several requests durably in one transaction.

        Return for each request whether each of its events is new. None: one of its keys has other content; nothing of
        the request was written. Raise FeedbackUnavailable when nothing at all was written.
        """
        import sqlalchemy as sa

        for attempt in range(ATTEMPTS):
            writer, _, table = self._open()
            try:
                with writer.begin() as connection:
                    outcomes = self._insert(connection, table, requests)
                if self._has_lost_file():
                    raise FeedbackUnavailable("the file of the feedback was replaced while it was written")
                return outcomes
            except sa.exc.IntegrityError as error:
                # Another process inserted one of the keys after the query: retry.
                if attempt == ATTEMPTS - 1:
                    raise FeedbackUnavailable("the feedback could not be written") from error
            except sa.exc.SQLAlchemyError as error:
                raise FeedbackUnavailable(f"the feedback could not be written{reason_of(error)}") from error
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
            raise FeedbackUnavailable(f"the feedback could not be read{reason_of(error)}") from error

    def read_all(self) -> Iterator[LoggedEvent]:
        """Read all events in order. Raise FeedbackUnavailable."""
        after = 0
        while rows := self.read(after):
            yield from rows
            after = rows[-1].position

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._database is not None:
            for engine in self._database[:2]:
                engine.dispose()
        self._database = self._files = None

    def _insert(
        self,
        connection: Any,  # Any: SQLAlchemy
        table: Any,
        requests: Sequence[Sequence[NewEvent]],
    ) -> list[list[bool] | None]:
        import sqlalchemy as sa

        keys = [key for events in requests for event in events for key in (event.key, event.earlier_key) if key]
        columns = [table.c[name] for name in ("key", *_Known.__dataclass_fields__)]
        known: dict[str, _Known] = {}
        for start in range(0, len(keys), _CHUNK):
            query = sa.select(*columns).where(table.c.key.in_(keys[start : start + _CHUNK]))
            known |= {key: _Known(*row) for key, *row in connection.execute(query)}
        rows: list[dict[str, Any]] = []
        now = self._clock()
        outcomes = [_sort_out(events, known, rows, now) for events in requests]
        if rows:
            connection.execute(sa.insert(table), rows)
        return outcomes

    def _open(self) -> tuple[Any, Any, Any]:  # Any: engines and table of SQLAlchemy
        self._has_lost_file()
        with self._lock:
            if self._database is None:
                self._database = self._open_file(self._file) if self._file is not None else open_database(self._url)
            return self._database

    def _open_file(self, file: Path) -> tuple[Any, Any, Any]:  # Any: engines and table of SQLAlchemy
        try:
            files = DatabaseFiles(file)
            with files.opening():
                database = open_database(self._url)
        except OSError as error:
            raise FeedbackUnavailable(f"the feedback database cannot be opened: {error.strerror}") from error
        self._files = files
        return database

    def _has_lost_file(self) -> bool:
        """Close the connections to a SQLite file that was removed, replaced or truncated.

        Returns whether the next connections have other content. That of a removed file is written again.
        """
        import sqlalchemy as sa

        with self._lock:
            if self._database is None or self._files is None:
                return False
            change = self._files.change()
            if change is None:
                return False
            writer, is_complete = self._database[0], False
            try:
                # Without an open connection the content is lost.
                with (
                    contextlib.suppress(sa.exc.SQLAlchemyError),
                    contextlib.closing(writer.raw_connection()) as connection,
                ):
                    is_complete = self._files.repair(connection.driver_connection, change)
            except OSError as error:
                raise FeedbackUnavailable(f"the file of the feedback was {change}{reason_of(error)}") from error
            self._close()
            effect = "its content was kept" if is_complete else "it continues with the file that is there now"
            log.error("the file of the feedback was %s while it was open; %s", change, effect)
            self.replaced += not is_complete
            return not is_complete


@dataclass(frozen=True, slots=True)
class _Known:
    """A stored event under some key. `content` is None for one of version 0.1."""

    user_id: str
    item_id: str
    kind: str
    value: float | None
    content: str | None

    @classmethod
    def of(cls, event: NewEvent) -> _Known:
        return cls(event.user_id, event.item_id, event.kind, event.value, event.content or None)

    def is_same(self, event: NewEvent) -> bool:
        """Whether `event` has the content of this one, as far as it is known."""
        if self.content and event.content:
            return self.content == event.content
        return _Known.of(event) == replace(self, content=event.content or None)


def _sort_out(
    events: Sequence[NewEvent], known: dict[str, _Known], rows: list[dict[str, Any]], now: float
) -> list[bool] | None:
    """Add the new events of one request to `known` and `rows`, and return for each whether it is new.

    Return None, and add nothing, when one of them has the key of an event with other content.
    """
    added: dict[str, NewEvent] = {}
    is_new = []
    for event in events:
        stored = _Known.of(added[event.key]) if event.key in added else known.get(event.key)
        if stored is not None and event.content and not stored.is_same(event):
            return None
        # An event of version 0.1 may be another caller's: only the same content makes it the same event.
        earlier = known.get(event.earlier_key)
        is_new.append(stored is None and not (earlier is not None and earlier.is_same(event)))
        if is_new[-1]:
            added[event.key] = event
    known |= {key: _Known.of(event) for key, event in added.items()}
    rows += [
        {name: getattr(event, name) for name in _STORED} | {"content": event.content or None, "received": now}
        for event in added.values()
    ]
    return is_new


class LogTail:
    """A reader that follows a growing log and returns each event once. Not thread-safe."""

    def __init__(self, log: FeedbackLog, *, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._after = 0
        self._replaced = log.replaced
        # The positions above `_after` that were read already.
        self._read_positions: set[int] = set()

    def read(self) -> list[LoggedEvent]:
        """Read the events since the last read. Raise FeedbackUnavailable."""
        events: list[LoggedEvent] = []
        after = self._after
        while True:
            rows = self._log.read(after)
            if self._log.replaced != self._replaced:
                # Positions of another file. Events that are read again change nothing.
                self._replaced, self._after, self._read_positions = self._log.replaced, 0, set()
                return self.read()
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
