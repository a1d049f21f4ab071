"""Image files out of a folder of this machine, where a setting allows that. Copied: the job is of that moment."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.errors import InputTooLarge, InvalidInput
from serving.jobs.decoding.archives import image_item, is_passed_over
from serving.jobs.decoding.task import DecodeLimits
from serving.jobs.storage.item_file import Item

_WHERE = ("body", "folder")
_NOT_THERE = "no such folder among those that may be read"


def folder_images(source: str, roots: Sequence[str], limits: DecodeLimits) -> Iterator[Item]:
    """Every file in `source` and below, by name. Raises InvalidInput unless it lies in one of `roots`.

    Links are not followed: one could lead anywhere.
    """
    folder = _allowed(source, roots)
    total_bytes = 0
    for path in _files(folder, limits.max_items):
        name = path.relative_to(folder).as_posix()
        data = _content(path, limits.max_item_bytes)
        total_bytes += len(data or b"")
        if total_bytes > limits.max_unpacked_bytes:
            raise InputTooLarge(f"the folder holds more than {limits.max_unpacked_bytes} bytes", location=_WHERE)
        yield image_item(name, data, max_bytes=limits.max_item_bytes)


def _allowed(source: str, roots: Sequence[str]) -> Path:
    """The real path of `source`. One message for all that is wrong: the caller is not to learn what there is."""
    try:
        folder = Path(source).resolve(strict=True)
        is_below = any(folder.is_relative_to(Path(root).resolve(strict=True)) for root in roots)
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInput(_NOT_THERE, location=_WHERE) from error
    if not Path(source).is_absolute() or not is_below or not folder.is_dir():
        raise InvalidInput(_NOT_THERE, location=_WHERE)
    return folder


def _files(folder: Path, max_items: int) -> list[Path]:
    found: list[Path] = []
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(where, name)
            if not is_passed_over(name) and path.is_file() and not path.is_symlink():
                found.append(path)
        if len(found) > max_items:
            raise InputTooLarge(f"a job may have at most {max_items} items", location=_WHERE)
    return found


def _content(path: Path, max_bytes: int) -> bytes | None:
    # What was a file a moment ago may be a link or a pipe now.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        data = stream.read(max_bytes + 1)
    return data if len(data) <= max_bytes else None
