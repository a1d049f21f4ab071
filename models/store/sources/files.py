"""The source `file:///folder` or `file:///folder/artifact.tar`: a folder of this machine, or one that is mounted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from models.errors import ArtifactInvalid, ArtifactMissing, SettingsInvalid, SourceUnavailable
from models.store.sources.source import CHUNK_BYTES, Source, Stream


class FileSource(Source):
    """An artifact in a folder or tar. Links inside of the folder are not followed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
            raise SettingsInvalid("a file:// source names an absolute path of this machine: file:///folder")
        self._path = Path(path)

    def revision(self) -> str:
        if not self.is_archive:
            return ""
        with self._open("") as file:
            status = os.fstat(file.fileno())
            return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"

    def close(self) -> None:
        """Nothing is open between reads."""

    @contextmanager
    def stream(self, file: str, *, start: int = 0) -> Iterator[Stream]:
        with self._open(file) as opened:
            size_bytes = os.fstat(opened.fileno()).st_size
            start = min(start, size_bytes)
            opened.seek(start)
            yield Stream(start, size_bytes, self._chunks(opened, file))

    def _chunks(self, opened: BinaryIO, file: str) -> Iterator[bytes]:
        try:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk
        except OSError as error:
            raise self._fault(file, error) from error

    def _open(self, file: str) -> BinaryIO:
        path = self._path
        for part in file.split("/") if file else ():
            path = path / part
            if path.is_symlink():
                raise ArtifactInvalid(f"'{file}' of source '{self.label}' is a link; links are not followed")
        try:
            # Not blocking: a pipe would wait for a writer.
            opened = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
        except OSError as error:
            raise self._fault(file, error) from error
        if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            return opened
        opened.close()
        raise ArtifactInvalid(f"'{file}' of source '{self.label}' is not a regular file")

    def _fault(self, file: str, error: OSError) -> ArtifactMissing | SourceUnavailable:
        named = f"'{file}' of source '{self.label}'" if file else f"source '{self.label}'"
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return ArtifactMissing(f"there is no {named}")
        return SourceUnavailable(f"{named} cannot be read: {error.strerror}")
