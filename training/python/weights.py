"""The weights of a class: a folder or a file that runs no code when it is loaded."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from models.errors import DataInvalid

_CODE: Final = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".exe"})
_PICKLES: Final = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"})


def copy_weights(source: Path | None, target: Path) -> None:
    """Copy a folder or a file into the folder `target`, which is made. Raises DataInvalid for code and pickles."""
    target.mkdir()
    if source is None:
        return
    if not source.exists():
        raise DataInvalid(f"--weights {source}: no such folder or file")
    for path in _files(source):
        if fault := _fault(path):
            raise DataInvalid(f"--weights: {path.name} {fault}")
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target / source.name)


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    yield from (path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _fault(path: Path) -> str:
    """Return why a file must not be in an artifact, or an empty text."""
    if path.suffix.lower() in _CODE:
        return "is code; an artifact holds weights, and code ships with the service"
    if path.suffix.lower() in _PICKLES or _is_pickle(path):
        return "is a pickle, which runs code when it is loaded; save it as safetensors, npy, ONNX, JSON or parquet"
    return ""


def _is_pickle(path: Path) -> bool:
    """Return whether the content is a pickle: of protocol 2 and later, or in the archive that `torch.save` writes."""
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(max(0, path.stat().st_size - 1))
        if len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5 and file.read(1) == b".":
            return True
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).suffix in _PICKLES for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
