"""The file formats that an artifact may hold: those that run no code when they are loaded.

`pickle`, which torch, joblib and scikit-learn write, does run code, so none of its formats is in the list.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Final

from models.errors import ArtifactInvalid

FILE_FORMATS: Final = (
    *(".safetensors", ".npy", ".npz", ".onnx", ".xml", ".gguf"),
    *(".parquet", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md"),
)
# The weights of OpenVINO are a `.bin` next to its `.xml`. A `.bin` alone is often a pickle of torch.
_OPENVINO_WEIGHTS: Final = ".bin"


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
