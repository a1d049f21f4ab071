"""What is remembered of a source: which local versions came from it, and its partial files.

All is in the folder `.sources` next to the model store. Losing it costs a second fetch and nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import ArtifactError, ArtifactMissing
from models.store.artifacts import default_store, find
from models.store.atomic_file import write_atomically
from models.store.sources.source import label_of

log = logging.getLogger("makunouchi.sources")

_ABANDONED_S: Final = 7 * 24 * 3600.0
_MAX_VERSIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Record:
    """The revision of a source when it was read last, and the local versions that it held, the last one first."""

    revision: str = ""
    versions: tuple[str, ...] = ()

    @property
    def current(self) -> tuple[str, str]:
        """The revision, and the version that it held."""
        return self.revision, self.versions[0] if self.versions else ""


def last_version(source: str, *, name: str, store: Path | None = None) -> str:
    """Return the newest version in the store that came from the source. Read the disk only. Raise ArtifactMissing."""
    store = store or default_store()
    for version in SourceFolder(store, name=name, source=source).read().versions:
        with suppress(ArtifactError):
            return find(f"{name}:{version}", store=store).version
    label = label_of(source)
    raise ArtifactMissing(
        f"no version of '{name}' came from source '{label}'; run: python -m models.store fetch {label} --name {name}"
    )


class SourceFolder:
    """The folder of one source, as the artifact `name` of `store`. Secrets of the source have no part in it."""

    def __init__(self, store: Path, *, name: str, source: str) -> None:
        self._home = store.parent / ".sources"
        self._label = label_of(source)
        self._name = name
        key = hashlib.sha256(f"{name}\0{self._label}".encode()).hexdigest()[:24]
        self._record = self._home / f"{key}.json"
        self._lock = self._home / f"{key}.lock"
        self._partial = self._home / key

    def read(self) -> Record:
        """Return the record; an empty one when there is none, or it is not readable."""
        try:
            entry = json.loads(self._record.read_bytes())
            return Record(str(entry["revision"]), tuple(str(version) for version in entry["versions"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Record()

    def write(self, revision: str, version: str) -> None:
        """Record that the source holds `version` at `revision`. Raise OSError."""
        earlier = [each for each in self.read().versions if each != version]
        entry = {
            "source": self._label,
            "name": self._name,
            "revision": revision,
            "versions": [version, *earlier][:_MAX_VERSIONS],
        }
        write_atomically(self._record, json.dumps(entry, indent=2).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the source: one process fetches, the others wait and find the version. Raise OSError."""
        self._home.mkdir(parents=True, exist_ok=True)
        with open(self._lock, "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("source '%s' is being fetched by another process; waiting for it", self._label)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def partial(self, content: str) -> Path:
        """Return the folder for partial files of `content`, with those of an earlier fetch. Others are removed."""
        folder = self._partial / hashlib.sha256(content.encode()).hexdigest()[:24]
        if self._partial.is_dir():
            for path in self._partial.iterdir():
                if path != folder:
                    shutil.rmtree(path, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(self._partial)
        self._clear_abandoned()
        return folder

    def clear(self) -> None:
        """Remove the partial files."""
        shutil.rmtree(self._partial, ignore_errors=True)

    def _clear_abandoned(self) -> None:
        """Remove partial files of other sources that no fetch has continued for a week."""
        for path in self._home.iterdir():
            with suppress(FileNotFoundError):
                if path.is_dir() and time.time() - path.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(path, ignore_errors=True)
