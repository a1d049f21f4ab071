"""Read the files of a folder of this machine as items, where a setting allows it. The job keeps copies of the files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.errors import InputTooLarge, InvalidInput
from serving.jobs.decoding.archives import file_item, is_system_file
from serving.jobs.decoding.task import DecodeLimits
from serving.jobs.storage.item_file import JobItem

_LOCATION = ("body", "folder")
_NOT_FOUND = "no such folder among those that may be read"


def folder_files(source: str, roots: Sequence[str], limits: DecodeLimits) -> Iterator[JobItem]:
    """Yield every file in `source` and its subfolders, sorted by name. Links are not followed.

    Raises InvalidInput unless `source` is inside one of `roots`, InputTooLarge.
    """
    folder = _allowed_folder(source, roots)
    total_bytes = 0
    for path in _files(folder, limits.max_items):
        name = path.relative_to(folder).as_posix()
        data = _content(path, limits.max_item_bytes)
        total_bytes += len(data or b"")
        if total_bytes > limits.max_unpacked_bytes:
            raise InputTooLarge(f"the folder holds more than {limits.max_unpacked_bytes} bytes", location=_LOCATION)
        yield file_item(name, data, max_bytes=limits.max_item_bytes)


def _allowed_folder(source: str, roots: Sequence[str]) -> Path:
    """Return the real path of `source`. Every error has the same message, so that callers cannot probe for files."""
    try:
        folder = Path(source).resolve(strict=True)
        is_below = any(folder.is_relative_to(Path(root).resolve(strict=True)) for root in roots)
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInput(_NOT_FOUND, location=_LOCATION) from error
    if not Path(source).is_absolute() or not is_below or not folder.is_dir():
        raise InvalidInput(_NOT_FOUND, location=_LOCATION)
    return folder


def _files(folder: Path, max_items: int) -> list[Path]:
    paths: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            if not is_system_file(name) and path.is_file() and not path.is_symlink():
                paths.append(path)
        if len(paths) > max_items:
            raise InputTooLarge(f"a job may have at most {max_items} items", location=_LOCATION)
    return paths


def _content(path: Path, max_bytes: int) -> bytes | None:
    # The file may have been replaced by a link or a pipe since it was listed.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        data = stream.read(max_bytes + 1)
    return data if len(data) <= max_bytes else None
