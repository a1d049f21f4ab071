"""Find the images of each class: one folder per class, or one per class in each part of a split, as train and val."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataInvalid
from training.report import note

_TRAIN = ("train", "training")
# In order: the part that is validated on is the first that exists.
_HELD_OUT = ("val", "valid", "validation", "dev", "test", "testing")
# What desktops, archives and file servers leave behind.
_LITTER = frozenset(
    {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """The images of each class, to train on and to validate on. `held_out` is None where training has to split them."""

    seen: dict[str, list[Path]]
    held_out: dict[str, list[Path]] | None = None


def find_class_folders(root: Path) -> ClassFolders:
    """List the images below `root`, at any depth of their class. Hidden files and those of desktops are ignored.

    A link to a folder is followed, unless the folder is read anyway: links that are left out are named. Raises
    DataInvalid when there is no folder, or the parts of a split have different classes.
    """
    reader = _Reader(root)
    folders = reader.folders(root)
    parts = {folder.name.lower(): folder for folder in folders}
    if not parts.keys() & set(_TRAIN) or parts.keys() - {*_TRAIN, *_HELD_OUT}:
        found = ClassFolders(reader.classes(root))
    else:
        found = _parts_of_split(reader, parts)
    reader.print_left_out()
    return found


def _parts_of_split(reader: _Reader, parts: dict[str, Path]) -> ClassFolders:
    train = next(parts[name] for name in _TRAIN if name in parts)
    others = [parts[name] for name in _HELD_OUT if name in parts]
    seen = reader.classes(train)
    if not others:
        return ClassFolders(seen)
    held_out = reader.classes(others[0])
    if different := sorted(seen.keys() ^ held_out.keys()):
        having, lacking = (train, others[0]) if different[0] in seen else (others[0], train)
        raise DataInvalid(
            f"'{train.name}' and '{others[0].name}' are the parts of a split, and class '{different[0]}' is in "
            f"'{having.name}' and not in '{lacking.name}': give both the same folders"
        )
    unread = f"; not read: {', '.join(repr(folder.name) for folder in others[1:])}" if others[1:] else ""
    note(f"'{train.name}' is trained on and '{others[0].name}' is validated on, without --validation{unread}")
    return ClassFolders(seen, held_out)


class _Reader:
    """A reader of folders that follows each link once, and remembers those that it left out."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Folders that are read without a link.
        self._read = {_identity(Path(folder)) for folder, _, _ in os.walk(root)}
        self._repeated: list[str] = []
        self._broken: list[str] = []

    def folders(self, parent: Path) -> list[Path]:
        """Return the folders in `parent` that are not litter, by name."""
        return sorted(path for path in parent.iterdir() if path.is_dir() and not _is_litter(path.name))

    def classes(self, parent: Path) -> dict[str, list[Path]]:
        """Return the images of each folder in `parent`. Raises DataInvalid without one."""
        folders = self.folders(parent)
        if not folders:
            raise DataInvalid(f"'{parent.name}' holds no folder; one folder per class is expected, with images in it")
        return {folder.name: sorted(self._images(folder)) for folder in folders}

    def print_left_out(self) -> None:
        """Print the links that were left out."""
        for links, why in ((self._repeated, "to folders that are read already"), (self._broken, "that lead nowhere")):
            if links:
                more = f" and {len(links) - _SHOWN:,} more" if len(links) > _SHOWN else ""
                note(f"links {why} are left out: {', '.join(map(repr, links[:_SHOWN]))}{more}")

    def _images(self, folder: Path) -> Iterator[Path]:
        if folder.is_symlink() and not self._is_first(folder):
            return
        for current, names, files in os.walk(folder, followlinks=True):
            names[:] = [name for name in sorted(names) if not _is_litter(name) and self._is_first(Path(current, name))]
            for path in (Path(current, name) for name in files if not _is_litter(name)):
                if path.is_file():
                    yield path
                else:
                    self._broken.append(self._name(path))

    def _is_first(self, folder: Path) -> bool:
        """Return whether a folder below the root, or behind a link, has not been read."""
        identity = _identity(folder)
        if folder.is_symlink() and identity in self._read:
            self._repeated.append(self._name(folder))
            return False
        self._read.add(identity)
        return True

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER
