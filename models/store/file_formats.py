"""The file formats that an artifact may hold: those that run no code when they are loaded.

`pickle`, which torch, joblib and scikit-learn write, does run code, so none of its formats is in the list.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Final

from models.errors import ArtifactInvalid

FILE_FORMATS: Final = (
    *(".safetensors", ".npy", ".npz", ".onnx", ".xml", ".gguf"),
    *(".parquet", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md"),
)
# The weights of OpenVINO are a `.bin` next to its `.xml`. A `.bin` alone is often a pickle of torch.
_OPENVINO_WEIGHTS: Final = ".bin"
_PICKLE_SUFFIXES: Final = (".pkl", ".pickle", ".joblib")


def check_formats(files: Collection[str]) -> None:
    """Raise ArtifactInvalid with the name of a file whose format may run code, or is unknown. Read suffixes only."""
    for file in files:
        path = PurePosixPath(file)
        suffix = path.suffix.lower()
        if suffix == _OPENVINO_WEIGHTS and path.with_suffix(".xml").as_posix() in files:
            continue
        if suffix not in FILE_FORMATS:
            known = ", ".join((*FILE_FORMATS, ".bin next to its .xml"))
            raise ArtifactInvalid(f"file '{file}' has a format that artifacts may not have; accepted: {known}")


def check_contents(folder: Path, files: Collection[str]) -> None:
    """Raise ArtifactInvalid with the name of a file that is a pickle under another name. Read a few bytes of each."""
    for file in files:
        if _is_pickle(folder / file):
            raise ArtifactInvalid(
                f"file '{file}' is a pickle, which runs code when it is loaded; save it as safetensors, npy, ONNX, "
                "JSON or parquet"
            )


def _is_pickle(path: Path) -> bool:
    """Return whether the content is a pickle: of protocol 2 and later, or in the archive that `torch.save` writes."""
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(max(0, path.stat().st_size - 1))
        if len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5 and file.read(1) == b".":
            return True
    if start != b"PK":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).suffix in _PICKLE_SUFFIXES for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
