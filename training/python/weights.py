"""The weights of a class: a folder or a file that runs no code when it is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from models.errors import ArtifactInvalid, DataInvalid
from models.store.file_formats import check_contents, check_formats


def copy_weights(source: Path | None, target: Path) -> None:
    """Copy a folder or a file into the folder `target`, which is made.

    Raises DataInvalid for a format that artifacts may not have, such as code and pickles.
    """
    target.mkdir()
    if source is None:
        return
    if not source.exists():
        raise DataInvalid(f"--weights {source}: no such folder or file")
    folder = source if source.is_dir() else source.parent
    files = [path.relative_to(folder).as_posix() for path in _files(source)]
    try:
        check_contents(folder, files)
        check_formats(files)
    except ArtifactInvalid as error:
        raise DataInvalid(f"--weights: {error}") from None
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target / source.name)


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    yield from (path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
