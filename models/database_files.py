"""The files of an open SQLite database, which another process can remove, replace or truncate.

SQLite does not notice: a write to a removed file succeeds and is lost. Therefore a writer compares the files before and
after each transaction, and repairs and reopens the database when they changed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from models.private_files import make_private_file, make_private_folder, private_opener
from models.write_ahead_log import connect, make_private_database

# What happened to the files: the last is a removed or replaced write-ahead log.
Change = Literal["removed", "replaced", "truncated", "separated from its log"]
_Identity = tuple[int, int]
_PATIENCE_S = 1.0
_CHECK_TIMEOUT_S = 5.0


class DatabaseFiles:
    """The files of the database at `path`. Open the first connection within `opening`, which makes the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest = path.with_name(f"{path.name}-newest")
        self._log, self._index = path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")
        self._known: dict[Path, _Identity | None] = {}
        self._sizes: dict[Path, int] = {}

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Exclude repairs by other processes within the block, and record the files that its first transaction makes.

        Raises OSError.
        """
        if self._newest.exists() and not self._path.exists():
            # A process that has the removed file open writes it again.
            time.sleep(_PATIENCE_S)
        with self._locked() as newest:
            make_private_database(self._path)
            # Not after the connection: the file may have been removed since.
            main = _identity(self._path)
            yield
            self._known = {self._path: main, self._log: _identity(self._log), self._index: _identity(self._index)}
            self._sizes = {file: _size(file) for file in (self._path, self._log)}
            self._record(newest)

    def change(self) -> Change | None:
        """Return what happened to the files since the last call."""
        main = _identity(self._path)
        if main is None:
            return "removed"
        if main != self._known[self._path]:
            return "replaced"
        if any(_identity(file) != self._known[file] for file in (self._log, self._index)):
            return "separated from its log"
        sizes = {file: _size(file) for file in self._sizes}
        has_shrunk = any(size < self._sizes[file] for file, size in sizes.items())
        self._sizes = sizes
        # VACUUM and a truncating checkpoint of another program make the files smaller too.
        return "truncated" if has_shrunk and not _is_whole(self._path) else None

    def repair(self, connection: sqlite3.Connection, change: Change) -> bool:
        """Prepare the files for a new connection, and return whether the content is complete.

        A database that was removed, or whose log was, is written again from `connection`, to a new file, so that other
        processes notice it. One that was truncated is renamed, so that the close of `connection` does not write into
        it, and the next connection begins an empty one. Raises OSError, also where another process has newer content.
        """
        with self._locked() as newest:
            main, known = _identity(self._path), self._known[self._path]
            if main is None and known is not None and newest.read() not in (b"", _encoded(known)):
                raise OSError(errno.ESTALE, "another process has newer content")
            copy = None
            if main in (None, known):
                if change == "truncated":
                    set_apart(self._path)
                else:
                    copy = _copy(connection, self._path)
            # Before the new file has its name: they do not belong to it.
            for file in (self._log, self._index):
                if _identity(file) == self._known[file]:
                    file.unlink(missing_ok=True)
            if copy is None:
                return False
            copy.replace(self._path)
            self._record(newest)
        return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """Open the file that names the newest database, under a lock that excludes repairs by other processes."""
        make_private_folder(self._path.parent)
        with open(self._newest, "a+b", opener=private_opener) as newest:
            fcntl.flock(newest, fcntl.LOCK_EX)
            newest.seek(0)
            yield newest

    def _record(self, newest: IO[bytes]) -> None:
        """Write which file is the newest database: the one that this process has opened or made."""
        main = _identity(self._path)
        if main is not None:
            newest.truncate(0)
            newest.write(_encoded(main))


def set_apart(path: Path) -> str:
    """Rename a database that cannot be read, and return its new name. Raise OSError."""
    return path.rename(path.with_name(f"{path.stem}.unreadable-{secrets.token_hex(4)}.db")).name


def _encoded(identity: _Identity) -> bytes:
    return b"%d %d" % identity


def _copy(connection: sqlite3.Connection, path: Path) -> Path | None:
    """Return a file next to `path` with the content that `connection` still reads; None where it cannot be read."""
    target = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        make_private_file(target)
        with contextlib.closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except (sqlite3.Error, OSError):
        target.unlink(missing_ok=True)
        return None
    return target


def _identity(file: Path) -> _Identity | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_whole(path: Path) -> bool:
    """Return whether a new connection, which has read nothing yet, reads the whole database."""
    if not _size(path):
        return False
    try:
        with contextlib.closing(connect(path, timeout_s=_CHECK_TIMEOUT_S)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False
