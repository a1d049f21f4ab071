"""Folders and files that no other user of the machine may read: modes 0700 and 0600."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private_folder(folder: Path) -> None:
    """Create `folder` with mode 0700, unless it exists. Raise OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_private_file(file: Path) -> None:
    """Create `file` empty with mode 0600, unless it exists: then withdraw the permissions of other users.

    Raise OSError when it cannot be created.
    """
    # An existing file is not opened: closing it would end the locks that SQLite holds on it in this process.
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        withdraw_permissions(file)


def withdraw_permissions(path: Path) -> None:
    """Withdraw the permissions of other users from a file or folder. One that has another owner keeps its mode."""
    with suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=private_opener)`: a new one has mode 0600."""
    return os.open(path, flags, 0o600)
