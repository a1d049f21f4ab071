"""The file of the desired state: `{"schema": 1, "revision": 7, "models": {"tabular": {...}}}`.

It is written under a lock and replaced by one rename.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from models.errors import PlatformError
from models.private_files import make_private_folder, private_opener
from serving.versions.state_migration import remove_first_edition

SCHEMA: Final = 1

# Modification time, size and inode: a rename changes at least one of them.
Signature = tuple[int, int, int]


class StateInvalid(PlatformError, ValueError):
    """Content that is not a desired state of a known schema."""


class StateFile:
    """`deployment.json` in `folder`, and the lock file next to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "deployment.json"

    def signature(self) -> Signature | None:
        """Return what differs between two versions of the file, or None when there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def read(self) -> dict[str, Any]:  # Any: JSON
        """Return the entries by model name. Raises OSError and StateInvalid."""
        return dict(self._document()["models"])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that every writer of this host takes. Raises OSError where the folder cannot be written."""
        make_private_folder(self.folder)
        path, is_locked = self.folder / "deployment.lock", False
        while not is_locked:
            with open(path, "ab", opener=private_opener) as lock:
                # Closing the file releases the lock, also when the process is killed.
                fcntl.flock(lock, fcntl.LOCK_EX)
                # A file that was removed since it was opened excludes no other writer.
                is_locked = path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno()))
                if is_locked:
                    yield

    def write(self, entries: Mapping[str, object]) -> None:
        """Replace the file, with the entries in their order. Call it inside `locked`. Raises OSError."""
        try:
            revision = int(self._document().get("revision", 0))
        except (OSError, ValueError, TypeError):
            revision = 0
        document = {"schema": SCHEMA, "revision": revision + 1, "models": entries}
        temporary = self.path.with_suffix(f".{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "wb", opener=private_opener) as file:
                file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        remove_first_edition(self.folder)

    def set_apart(self) -> None:
        """Rename a file that cannot be read to `deployment.unreadable.json`, so that a write does not destroy it."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".unreadable.json"))

    def _document(self) -> dict[str, Any]:  # Any: JSON
        document = orjson.loads(self.path.read_bytes())
        if not isinstance(document, dict) or not isinstance(document.get("models"), dict):
            raise StateInvalid("the content is not an object with models")
        if document.get("schema") != SCHEMA:
            raise StateInvalid(f"schema {document.get('schema')} is not {SCHEMA}")
        return document
