"""What another program may do to the files of an open SQLite database."""

from __future__ import annotations

from pathlib import Path


def remove(file: Path) -> None:
    """Remove the database without its log."""
    file.unlink()


def remove_all(file: Path) -> None:
    """Remove the database, its log and its shared memory."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink()


def remove_log(file: Path) -> None:
    """Remove the log without the database."""
    file.with_name(f"{file.name}-wal").unlink()
