"""Files that no artifact may hold: each way into the store is tried with each of them."""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from models.errors import PlatformError
from models.store.artifacts import versions
from tests.models.store.sources.conftest import write_manifest


class _Runs:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("the pickle was loaded",)


def _joblib() -> bytes:
    # scikit-learn brings it.
    target = io.BytesIO()
    importlib.import_module("joblib").dump({"weights": np.zeros(3), "runs": _Runs()}, target)
    return target.getvalue()


def _torch() -> bytes:
    target = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, target)
    return target.getvalue()


_PICKLE: Final = pickle.dumps(_Runs())

# By the names of the files.
BY_NAME: Final = {
    "model.pkl": _PICKLE,
    "model.PICKLE": _PICKLE,
    "model.joblib": _joblib(),
    "model.cloudpickle": _PICKLE,
    "model.dill": _PICKLE,
    "model.pt": _torch(),
    "model.pth": _torch(),
    "model.ckpt": _torch(),
    "model.bin": _torch(),
    "model.h5": b"\x89HDF\r\n\x1a\n",
    "model.keras": b"PK",
    "model": b"x",
    "model.json.py": b"print('loaded')",
    "library.so": b"\x7fELF",
}
# By their content alone.
DISGUISED: Final = {"weights2.npy": _PICKLE, "weights2.safetensors": _joblib(), "weights2.npz": _torch()}
FORBIDDEN: Final = BY_NAME | DISGUISED


def spoil(folder: Path, file: str) -> None:
    """Add a forbidden file to an artifact, in the place of the one before, and list it in the manifest."""
    for earlier in FORBIDDEN:
        (folder / "more" / earlier).unlink(missing_ok=True)
    (folder / "weights.npy").unlink(missing_ok=True)  # only takes time
    (folder / "more" / file).write_bytes(FORBIDDEN[file])
    write_manifest(folder)


@contextlib.contextmanager
def refused(store: Path, file: str) -> Iterator[None]:
    """Expect a refusal that names the file, and nothing in the store afterwards."""
    with pytest.raises(PlatformError) as caught:
        yield
    assert file in str(caught.value)
    assert "has a format that artifacts may not have" in str(caught.value) or "is a pickle" in str(caught.value)
    assert [path for path in store.glob("*/*/*") if path.is_file()] == []
    assert [found for name in ("churn", "tiny") for found in versions(name, store=store)] == []
