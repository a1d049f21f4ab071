"""The database of the feedback log: its connections, its table, and the columns that older tables lack."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from models.errors import FeedbackUnavailable
from models.write_ahead_log import connect, write_ahead

TABLE = "makunouchi_feedback"
ATTEMPTS = 5
_BUSY_S = 15.0
# Columns that tables of version 0.1 do not have.
_ADDED = ("content",)


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL, None for another database or one in memory."""
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else ""
    return Path(path) if path and path != ":memory:" else None


def open_database(url: str) -> tuple[Any, Any, Any]:  # Any: engines and table of SQLAlchemy
    """Return an engine for writing, one for reading, and the table, which is created or extended.

    Raise FeedbackUnavailable.
    """
    import sqlalchemy as sa

    try:
        file = sqlite_file(url)
        is_sqlite = url.startswith("sqlite")
        options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}} if is_sqlite else {"pool_pre_ping": True}
        if file is not None:
            options = {"creator": partial(connect, file, timeout_s=_BUSY_S)}
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
        raise FeedbackUnavailable(f"the feedback database cannot be opened{reason_of(error)}") from error
    return writer, reader, table


def reason_of(error: Exception) -> str:
    """Return the message of the database, such as a full disk, without any data of the request."""
    import sqlalchemy as sa

    if isinstance(error, sa.exc.OperationalError):
        return f": {(str(error.orig).splitlines() or [''])[0][:200]}"
    return f": {error.strerror}" if isinstance(error, OSError) else ""


def _create(engine: Any, table: Any) -> None:  # Any: SQLAlchemy
    """Create the table, or add the columns that it lacks. Processes of an earlier version can continue to use it."""
    import sqlalchemy as sa

    for attempt in range(ATTEMPTS):
        try:
            with engine.begin() as connection:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                present = {column["name"] for column in sa.inspect(connection).get_columns(TABLE)}
                for name in _ADDED:
                    if name not in present:
                        type_ = table.c[name].type.compile(engine.dialect)
                        connection.exec_driver_sql(f"ALTER TABLE {TABLE} ADD COLUMN {name} {type_}")
                return
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
            # In PostgreSQL such concurrent statements fail for all but one connection.
            if attempt == ATTEMPTS - 1:
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
        sa.Column("content", sa.String(64)),
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
