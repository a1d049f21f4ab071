"""The files of an open SQLite database, which another process can remove, replace or truncate.

SQLite does not notice: a write to a removed file succeeds and is lost. Therefore a writer compares the files before and
after each transaction, and repairs and reopens the database when they changed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path
from typing import Literal

from models.private_files import make_private_file, make_private_folder

# What happened to the files: the last is a removed or replaced write-ahead log.
Change = Literal["removed", "replaced", "truncated", "separated from its log"]
_Identity = tuple[int, int]


class DatabaseFiles:
    """The files of the database at `path`. Create it after the first transaction of a connection, which makes them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log, self._index = path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")
        self._known = {file: _identity(file) for file in (path, self._log, self._index)}
        self._sizes = {file: _size(file) for file in (path, self._log)}

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
        it, and the next connection begins an empty one. Raises OSError.
        """
        is_complete = False
        if change in ("removed", "separated from its log"):
            is_complete = _write_again(connection, self._path, is_removed=change == "removed")
        if change == "truncated":
            self._path.rename(self._path.with_name(f"{self._path.stem}.unreadable-{secrets.token_hex(4)}.db"))
        for file in (self._log, self._index):
            if _identity(file) == self._known[file]:
                file.unlink(missing_ok=True)
        return is_complete


def _write_again(connection: sqlite3.Connection, path: Path, *, is_removed: bool) -> bool:
    """Write the content that `connection` still reads to `path`; not where another process has made a removed file."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        make_private_folder(path.parent)
        make_private_file(temporary)
        with contextlib.closing(sqlite3.connect(temporary)) as copy:
            connection.backup(copy)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if is_removed:
            os.link(temporary, path)
        else:
            temporary.replace(path)
    except (sqlite3.Error, OSError):
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


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
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False
